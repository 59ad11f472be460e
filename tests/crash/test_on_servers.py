"""The crash matrix with the data on servers: killed at many points in a row, under one load.

Each point is one killed command, and the next one (killed at the next point) settles what it left.
So a group ends with a command that runs through.  Nothing may be lost, no request may fail, and
neither server may be left with anything of ours.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.points import ON_SERVERS
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.servers import KINDS
from tests.testbed.site import Site, eventually

from crossfade.model import Side

Make = Callable[..., Site]

ONLY_A_REHEARSAL = '[ "$1" = rehearsal ]'


OTHERS = (
    *(".install.", ".configure.", "files-uploads", "digest-uploads", "undo-install"),
    *("rehearsal.backup.", "rehearsal.restore.", "cutover.switch.after-"),
)
"""What no database has a part in is killed in the matrix on SQLite.  A rehearsal's copy is made as
a cutover's is, and after the watch nothing is left to be done."""


def telling(points: list[str]) -> list[str]:
    """Right after each deed and each record: what is before a deed is after the one before it."""
    return [
        point
        for point in points
        if not point.endswith("before-act") and not any(text in point for text in OTHERS)
    ]


def groups(what: str, size: int) -> list[tuple[str, list[str]]]:
    """Points of both kinds of server in groups; a group is one test.

    What is asked once for each fence comes first, since later no fence is new.  Unless everything
    is wanted, each kind is killed at every eighth point, and the two at different ones."""
    found = []
    for number, kind in enumerate(KINDS):
        points = telling(getattr(ON_SERVERS[kind], what))
        if not WHOLE:
            points = points[4 * number :: 8]
        points.sort(key=lambda point: ".old-side-since-fence." not in point)
        found += [(kind, points[i : i + size]) for i in range(0, len(points), size)]
    return found


def name(value: object) -> str:
    """A group's name: its kind, and its first point."""
    return str(value[0]) if isinstance(value, list) else str(value)


def killed(site: Site, point: str, *words: str) -> None:
    """Run a command that is killed at a point."""
    crashed = site.run(*words, env={"CROSSFADE_CRASH_AT": point}, ok=False)
    assert crashed.code == -signal.SIGKILL, f"{point} was not passed:\n{crashed.err}"


def old_log(site: Site) -> str:
    """What the old side said last."""
    wired = site.wired()
    return "\n".join(wired.side(wired.manifest.old, Side.OLD).service.log_tail(40))


def whole(client: Client, site: Site) -> None:
    """No request failed, and the side that serves has every acknowledged write."""
    assert client.failures == [], old_log(site)
    assert client.lost(site.gate) == set()


@pytest.mark.parametrize(("kind", "points"), groups("rehearsal", 12), ids=name)
def test_rehearsal(make_site: Make, kind: str, points: list[str]) -> None:
    """Rehearsals killed anywhere: the last one is done, and nothing is left on either server."""
    site = make_site(database=kind, notes=20, uploads=2)
    before = site.stand()
    with Client(site.gate) as client:
        for point in points:
            killed(site, point, "rehearse")
            assert site.version() == "1.0", point
        site.run("rehearse")
    whole(client, site)
    assert site.left(before, *site.account()) == {}
    assert not (site.directory / "try").exists()


@pytest.mark.parametrize(("kind", "points"), groups("uncommitted", 10), ids=name)
def test_cutover_before_its_commit(make_site: Make, kind: str, points: list[str]) -> None:
    """Cutovers killed anywhere before the commit point: the old side serves, the last is done."""
    site = make_site(database=kind, notes=20, uploads=2)
    before = site.stand()
    site.run("rehearse")
    with Client(site.gate) as client:
        for point in points:
            killed(site, point, "cutover", "--yes")
            assert site.version() == "1.0", point
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
        site.run("rollback", "--yes")
    whole(client, site)
    assert site.left(before, site.databases[Side.NEW].user) == {}


@pytest.mark.parametrize(("kind", "points"), groups("committed", 5), ids=name)
def test_cutover_after_its_commit(make_site: Make, kind: str, points: list[str]) -> None:
    """Killed after the commit point, the same command goes on; the way back loses nothing."""
    site = make_site(database=kind, notes=20, uploads=2)
    before = site.stand()
    site.run("rehearse")
    with Client(site.gate) as client:
        for point in points:
            killed(site, point, "cutover", "--yes")
            site.run("cutover", "--yes")
            assert site.version() == "2.0", point
            site.run("rollback", "--yes")
            assert site.version() == "1.0", point
    whole(client, site)
    assert site.left(before, site.databases[Side.NEW].user) == {}


@pytest.mark.parametrize(("kind", "points"), groups("rollback", 8), ids=name)
def test_rollback(make_site: Make, kind: str, points: list[str]) -> None:
    """Rollbacks killed anywhere: in the end the old side serves with every write of the new one."""
    site = make_site(database=kind, notes=20, uploads=2)
    before = site.stand()
    site.run("rehearse")
    site.run("cutover", "--yes")
    with Client(site.gate) as client:
        for point in points:
            if site.run("status", "--json").json["live"] == "old":
                site.run("cutover", "--yes")
            killed(site, point, "rollback", "--yes")
            if ".commit." in point:  # from there it only goes forward
                site.run("rollback", "--yes")
        if site.run("status", "--json").json["live"] == "new":
            site.run("rollback", "--yes")
    whole(client, site)
    assert site.version() == "1.0"
    assert site.left(before, site.databases[Side.NEW].user) == {}


@pytest.mark.parametrize(("kind", "points"), groups("going_back", 18), ids=name)
def test_going_back(make_site: Make, kind: str, points: list[str]) -> None:
    """Killed while it goes back: the old side serves, and the servers are clean in the end."""
    site = make_site(database=kind, notes=20, uploads=2)
    before = site.stand()
    site.write_manifest(extra=site.check(ONLY_A_REHEARSAL))
    site.run("rehearse")
    with Client(site.gate) as client:
        for point in points:
            killed(site, point, "cutover", "--yes")
            assert site.version() == "1.0", point
        assert site.run("cutover", "--yes", ok=False).code == 5
    whole(client, site)
    assert site.version() == "1.0"
    assert site.left(before, *site.account()) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "point",
    ["cutover.stop.fence.after-act", "cutover.sync.start.after-act", "cutover.switch.after-act"],
)
def test_nobody_comes_back(make_site: Make, kind: str, point: str) -> None:
    """Without any further command somebody serves again within the lease, and can write."""
    site = make_site(database=kind, notes=20, uploads=2)
    site.run("rehearse")
    with Client(site.gate) as client:
        killed(site, point, "cutover", "--yes")
        serves = (
            site.version()
        )  # held until the dead-man's switch and the gate have done their work
        have = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > have + 5)
        assert serves == ("2.0" if ".switch." in point else "1.0")
    whole(client, site)
    site.run("cutover", "--yes")
    assert site.version() == "2.0"
    assert client.lost(site.gate) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_is_complete(make_site: Make, tmp_path: Path, kind: str) -> None:
    """An undisturbed upgrade passes exactly the points that are listed for this database."""
    site = make_site(database=kind, notes=20, uploads=2)
    trace = tmp_path / "trace"
    env = {"CROSSFADE_CRASH_TRACE": str(trace)}
    site.run("rehearse", env=env)
    site.run("cutover", "--yes", env=env)
    site.run("rollback", "--yes", env=env)
    points = ON_SERVERS[kind]
    passed = set(trace.read_text(encoding="utf-8").split())
    assert passed == {*points.rehearsal, *points.cutover, *points.rollback}
    site.write_manifest(extra=site.check(ONLY_A_REHEARSAL))
    trace.unlink()
    site.run("rehearse")
    assert site.run("cutover", "--yes", env=env, ok=False).code == 5
    undone = {p for p in trace.read_text(encoding="utf-8").split() if ".undo-" in p}
    assert undone == set(points.going_back)
