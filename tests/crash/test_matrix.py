"""The crash matrix: killed anywhere, the same command again ends as if undisturbed.

Several points share one site, one after the other, and every one of them has a client that writes
and reads throughout: no request of it fails, and no acknowledged write is lost.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.points import ON_SQLITE
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.site import Site

Make = Callable[..., Site]

ONLY_A_REHEARSAL = '[ "$1" = rehearsal ]'


def chunks(points: list[str], size: int) -> list[list[str]]:
    """The points in groups; a group is one test.

    Unless everything is wanted, what is right before a part of a step is left out (it is after
    the part before it, where there is a point as well), and of the others every fifth one."""
    if not WHOLE:
        points = [p for p in points if not p.endswith(".before-act") or p.count(".") == 2][::5]
    return [points[i : i + size] for i in range(0, len(points), size)]


def name(points: object) -> str:
    """A group's name: its first point."""
    assert isinstance(points, list)
    return str(points[0])


def killed(site: Site, point: str, *words: str) -> None:
    """Run a command that is killed at a point."""
    crashed = site.run(*words, env={"CROSSFADE_CRASH_AT": point}, ok=False)
    assert crashed.code == -signal.SIGKILL, f"{point} was not passed:\n{crashed.err}"


def whole(client: Client, site: Site, point: str) -> None:
    """No request failed, and the side that serves has every acknowledged write."""
    assert client.failures == [], point
    assert client.lost(site.gate) == set(), point


@pytest.mark.parametrize("points", chunks(ON_SQLITE.rehearsal, 9), ids=name)
def test_rehearsal(make_site: Make, points: list[str]) -> None:
    """A rehearsal killed anywhere is done by the next one, and leaves nothing behind."""
    site = make_site(notes=20, uploads=2)
    for point in points:
        if ".install." in point:
            (site.directory / "app2" / ".crossfade-installed").unlink(missing_ok=True)
        with Client(site.gate, name=point) as client:
            killed(site, point, "rehearse")
            site.run("rehearse")
        whole(client, site, point)
        assert site.version() == "1.0", point
        assert not (site.directory / "try").exists(), point
        assert site.run("status", "--json").json["outcome"] == "rehearsed", point


@pytest.mark.parametrize("points", chunks(ON_SQLITE.cutover, 6), ids=name)
def test_cutover(make_site: Make, points: list[str]) -> None:
    """A cutover killed anywhere is done by the next one."""
    site = make_site(notes=20, uploads=2)
    site.run("rehearse")
    for point in points:
        with Client(site.gate, name=point) as client:
            killed(site, point, "cutover", "--yes")
            site.run("cutover", "--yes")
        whole(client, site, point)
        assert site.version() == "2.0", point
        status = site.run("status", "--json").json
        assert (status["outcome"], status["live"]) == ("done", "new"), point
        site.run("rollback", "--yes", "--accept-loss")


@pytest.mark.parametrize("points", chunks(ON_SQLITE.rollback, 5), ids=name)
def test_rollback(make_site: Make, points: list[str]) -> None:
    """A rollback killed anywhere is done by the next one; what stays behind is exported."""
    site = make_site(notes=20, uploads=2)
    site.run("rehearse")
    for point in points:
        site.run("cutover", "--yes")
        with Client(site.gate, name=point, stays_behind=True) as client:
            killed(site, point, "rollback", "--yes", "--accept-loss")
            site.run("rollback", "--yes", "--accept-loss")
        assert client.failures == [], point
        assert site.version() == "1.0", point
        assert client.lost(site.gate) <= exported(site), point
        status = site.run("status", "--json").json
        assert (status["outcome"], status["live"]) == ("rolled-back", "old"), point


def exported(site: Site) -> set[str]:
    """Ids of all notes that rollbacks exported."""
    found: set[str] = set()
    for path in (site.directory / "state").rglob("left-behind/main/note.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        found |= {json.loads(line)["id"] for line in lines}
    return found


@pytest.mark.parametrize("points", chunks(ON_SQLITE.going_back, 6), ids=name)
def test_going_back(make_site: Make, points: list[str]) -> None:
    """Killed while it goes back, the next run ends with the old side serving, nothing lost."""
    site = make_site(notes=20, uploads=2)
    site.run("rehearse")
    site.write_manifest(extra=site.check(ONLY_A_REHEARSAL))
    site.run("rehearse")
    for point in points:
        with Client(site.gate, name=point) as client:
            killed(site, point, "cutover", "--yes")
            again = site.run("cutover", "--yes", ok=False)
        assert again.code == 5, (point, again.err)
        whole(client, site, point)
        assert site.version() == "1.0", point


@pytest.mark.parametrize(
    "point",
    [
        "cutover.stop.drain.before-act",
        "cutover.stop.stop.after-act",
        "cutover.sync.start.after-act",
        "cutover.switch.commit.before-act",
        "cutover.switch.commit.after-act",
        "cutover.switch.switch.after-act",
    ],
)
def test_nobody_comes_back(make_site: Make, point: str) -> None:
    """Without any further command somebody serves again within the lease, and nothing is lost."""
    site = make_site(notes=20, uploads=2)
    site.run("rehearse")
    with Client(site.gate, name=point) as client:
        killed(site, point, "cutover", "--yes")
        # this request is held, until the dead-man's switch and the gate have done their work
        serves = site.version()
    assert serves == ("2.0" if ".commit.after" in point or "switch.switch" in point else "1.0")
    whole(client, site, point)
    site.run("cutover", "--yes")
    assert site.version() == "2.0"
    assert client.lost(site.gate) == set()


def test_the_list_is_complete(make_site: Make, tmp_path: Path) -> None:
    """An undisturbed upgrade passes exactly the points that the matrix kills at."""
    site = make_site(notes=20, uploads=2)
    trace = tmp_path / "trace"
    env = {"CROSSFADE_CRASH_TRACE": str(trace)}
    site.run("rehearse", env=env)
    site.run("cutover", "--yes", env=env)
    site.run("rollback", "--yes", "--accept-loss", env=env)
    passed = set(trace.read_text(encoding="utf-8").split())
    assert passed == {*ON_SQLITE.rehearsal, *ON_SQLITE.cutover, *ON_SQLITE.rollback}
    site.write_manifest(extra=site.check(ONLY_A_REHEARSAL))
    trace.unlink()
    site.run("rehearse")
    assert site.run("cutover", "--yes", env=env, ok=False).code == 5
    undone = {p for p in trace.read_text(encoding="utf-8").split() if ".undo-" in p}
    assert undone == set(ON_SQLITE.going_back)
