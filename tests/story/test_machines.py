"""The whole story between machines, with a client throughout; and what is left of it on them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.far import FarSite
from tests.testbed.machines import Machine, added, leavings
from tests.testbed.site import eventually, recipe_with_defaults

from crossfade.model import Side

Make = Callable[..., FarSite]
Pair = tuple[Machine, Machine]

ALL_JOBS = {"timer", "table", "script"}


def _exactly_one(site: FarSite, live: Side) -> None:
    """Jobs work for the side that serves and not for the other one, and never did at one time."""
    idle = Side.NEW if live is Side.OLD else Side.OLD
    assert (site.jobs_on(live), site.jobs_on(idle)) == (ALL_JOBS, set())
    last = max((at for at, _ in site.beats(idle)), default=0.0)
    eventually(lambda: max((at for at, _ in site.beats(live)), default=0.0) > last)
    assert max((at for at, _ in site.beats(idle)), default=0.0) == last
    ran = [*site.beats(Side.OLD), *site.beats(Side.NEW)]
    assert {place for _, place in site.beats(Side.NEW)} <= {"/srv/notes/new"}
    changes = [place for _, place in sorted(ran)]
    turns = sum(one != other for one, other in pairwise(changes))
    assert turns <= 3, "the two sides' jobs ran in turns"


@pytest.fixture(
    params=["local to ssh", "ssh to ssh", pytest.param("ssh to local", marks=pytest.mark.whole)]
)
def sides(request: pytest.FixtureRequest, machines: Pair) -> tuple[Machine | None, Machine | None]:
    """Where the old side is, and the new one; None is this machine."""
    here, there = request.param.split(" to ")
    return (machines[0] if here == "ssh" else None, machines[1] if there == "ssh" else None)


def unlisted(left: dict[str, set[str]], there: Machine, stands: list[str]) -> dict[str, set[str]]:
    """Of what is left on a machine, what the report does not list; and what it lists in vain."""
    said = [one.removesuffix(f" on {there.name}").partition(" ")[::2] for one in stands]
    units = {name for kind, name in said if kind == "unit"}
    places = {name for kind, name in said if kind in ("program", "configuration", "data")}
    places |= {f"/etc/systemd/system/{unit}{end}" for unit in units for end in ("", ".d")}
    jobs = {name for kind, name in said if kind == "job"}
    timed = {j.removesuffix(".timer") for j in jobs if j.endswith(".timer")}
    timed = {f"{stem}{kind}" for stem in timed for kind in (".timer", ".service")}
    units |= timed
    places |= {j for j in jobs if j.startswith("/")} | {f"/etc/systemd/system/{u}" for u in timed}
    left["crontabs"] = {
        line for line in left.get("crontabs", ()) if line.partition(":")[0] not in jobs
    }
    wants = ("multi-user.target.wants", "timers.target.wants")
    at_boot = {f"/etc/systemd/system/{place}/{unit} l" for place in wants for unit in units}
    files = left.pop("files", set())
    owned = {line: {p for p in places if re.match(rf"{re.escape(p)}[/ ]", line)} for line in files}
    told = {
        "unlisted files": {line for line, by in owned.items() if not by} - at_boot,
        "listed in vain": places - {place for by in owned.values() for place in by},
        **{
            kind: {line for line in lines if line.split()[0] not in units}
            for kind, lines in left.items()
        },
    }
    return {kind: lines for kind, lines in told.items() if lines}


def test_forward_back_and_forward_again(
    make_far_site: Make, sides: tuple[Machine | None, Machine | None]
) -> None:
    """Rehearse, cut over, roll back, cut over again, retire: no request fails, nothing is lost,
    and nothing of ours stays on a machine but what is said."""
    site = make_far_site(*sides)
    old, new = sides
    before = {one.name: leavings(one) for one in sides if one}
    both = old is not None and new is not None
    if old and both:
        site.add_jobs()
        before[old.name] = leavings(old)
    with Client(site.gate) as client:
        site.run("rehearse")
        assert site.version() == "1.0"
        if new:
            left = added(before[new.name], leavings(new))
            assert set(left) <= {"files"}, left
            assert all("/srv/notes/app2" in line for line in left.get("files", ()))
        first = site.run("cutover", "--yes", "--json").json
        assert (first["outcome"], first["live"], site.version()) == ("done", "new", "2.0")
        assert first["requests"]["served_by_old_after_drain"] == 0
        eventually(lambda: len(client.acknowledged) > 30)
    if both:
        _exactly_one(site, Side.NEW)
    assert client.failures == []
    assert client.lost(site.gate) == set()
    if old:
        assert old.run("sh", "-c", "systemctl is-enabled notes.service || :").strip() == "disabled"
    if new:
        assert new.run("systemctl", "is-enabled", "notes.service").strip() == "enabled"

    with Client(site.gate, name="second", stays_behind=True) as client:
        back = site.run("rollback", "--yes", "--accept-loss", "--json").json
        assert (back["outcome"], back["live"], site.version()) == ("rolled-back", "old", "1.0")
    if both and new:
        _exactly_one(site, Side.OLD)
        left = added(before[new.name], leavings(new))
        assert "crontabs" not in left
        assert not any(
            "beat" in line
            for lines in left.values()
            for line in lines
            if "journal" not in line and "/run/" not in line
        ), left
    assert client.failures == []
    if old:
        assert old.run("systemctl", "is-enabled", "notes.service").strip() == "enabled"
        known = {line.partition(" ")[0] for line in before[old.name]["files"]}
        left = added(before[old.name], leavings(old))
        left["files"] = {f for f in left.get("files", ()) if f.partition(" ")[0] not in known}
        left.pop("processes", None)  # a job may run just now
        left["files"] = {f for f in left["files"] if "/beats" not in f}
        assert left == {"files": set()}, "its own files may have grown"
    if new:
        left = added(before[new.name], leavings(new))
        assert unlisted(left, new, site.run("report", "--json").json["stands"]) == {}

    with Client(site.gate, name="third") as client:
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    if both:
        _exactly_one(site, Side.NEW)
    retired = site.run("retire", "--yes", "--json").json
    assert (retired["outcome"], retired["live"]) == ("retired", "new")
    assert site.version() == "2.0"
    if old:
        assert added(before[old.name], leavings(old)) == {}
    if new:
        left = added(before[new.name], leavings(new))
        del left["processes"]  # it serves
        assert unlisted(left, new, site.run("report", "--json").json["stands"]) == {}


def test_the_unit_comes_along(make_far_site: Make, machines: Pair) -> None:
    """What the operator had set in the old unit and its drop-ins holds for the new one, with the
    new side's paths; what it ran does not."""
    recipe = recipe_with_defaults({"NOTES_COLOUR": "grey", "NOTES_POOL": "5"})
    site = make_far_site(*machines, recipe=recipe)
    job = Path("/etc/cron.d/notes-purge")
    line = b"1 4 * * * notes /srv/notes/old/purge --at :8108\n"
    site.host(Side.OLD).write(job, line, mode=0o644)
    said = site.run("plan").out
    site.host(Side.OLD).remove(job)
    why = "it names the old side's port 8108"
    assert f"cron job in {job} ({why}) works for the old side and is not handed over" in said
    told = [v for v in site.run("config", "plan", "--json").json if "NOTES_COLOUR" in v["setting"]]
    assert [one["verdict"] for one in told] == ["carried"]
    site.run("rehearse")
    site.run("cutover", "--yes")
    (pid, *_) = machines[1].run("systemctl", "show", "-P", "MainPID", "notes.service").split()
    has = machines[1].run("cat", f"/proc/{pid}/environ").split("\0")
    assert {"NOTES_COLOUR=/var/cache", "NOTES_POOL=5"} <= {*has}, "a default yields to the unit"
    shown = machines[1].run(
        *("systemctl", "show", "notes.service", "--property"),
        "User,LimitNOFILE,ReadWritePaths,ExecStart,ExecStartPre,WorkingDirectory,Restart",
    )
    assert "User=notes\n" in shown
    assert "LimitNOFILE=4321\n" in shown
    assert "ReadWritePaths=/srv/notes/new\n" in shown
    assert "Restart=on-failure\n" in shown
    assert "WorkingDirectory=/srv/notes/new\n" in shown
    assert "app1" not in shown
    assert "/usr/bin/test" not in shown, "what ran before the old program is not carried"


def test_the_tool_dies_in_the_pause(make_far_site: Make, machines: Pair) -> None:
    """Killed in the pause, the tool's switch starts the old unit again by a connection of its
    own."""
    site = make_far_site(*machines)
    site.add_jobs()
    site.run("rehearse")
    parts = ("stop.jobs.before-act", "stop.jobs.after-act", "sync.start.before-act")
    with Client(site.gate) as client:
        for point in parts if WHOLE else parts[1:2]:
            crash = {"CROSSFADE_CRASH_AT": f"cutover.{point}"}
            site.run("cutover", "--yes", env=crash, ok=False)
            assert site.jobs_on(Side.NEW) == set()
            eventually(
                lambda: site.wired().side(site.wired().manifest.old, Side.OLD).health.run().holds
            )
            eventually(lambda: site.jobs_on(Side.OLD) == ALL_JOBS)
        crash = {"CROSSFADE_CRASH_AT": "cutover.switch.commit.after-act"}
        site.run("cutover", "--yes", env=crash, ok=False)
        assert site.jobs_on(Side.OLD) == site.jobs_on(Side.NEW) == set()
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
        _exactly_one(site, Side.NEW)
    assert client.failures == []
    assert client.lost(site.gate) == set()
