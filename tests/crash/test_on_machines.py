"""The crash matrix from one machine to another: killed anywhere, the same command ends it.

``make test`` takes a few points of each list, ``make test-whole`` all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.crash.points import ON_SQLITE
from tests.crash.test_matrix import ONLY_A_REHEARSAL, exported, killed, whole
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.far import HOME, FarSite
from tests.testbed.machines import Machine

from crossfade.model import Side

Make = Callable[..., FarSite]
Pair = tuple[Machine, Machine]

pytestmark = pytest.mark.timeout(3600 if WHOLE else 900)

_PARTS = 6 if WHOLE else 1
"""All points of a cutover take about an hour."""


def some(points: list[str], every: int) -> list[str]:
    """All points, or one in so many."""
    return points if WHOLE else points[every // 2 :: every]


@pytest.fixture
def site(make_far_site: Make, machines: Pair) -> FarSite:
    """A site that was rehearsed."""
    made = make_far_site(*machines, notes=20, uploads=2)
    made.run("rehearse")
    return made


def test_rehearsal(site: FarSite, machines: Pair) -> None:
    """A rehearsal killed anywhere is done by the next one, and leaves nothing behind."""
    for point in some(ON_SQLITE.rehearsal, 48):
        if ".install." in point:
            site.host(Side.NEW).remove(HOME / "app2" / ".crossfade-installed")
        with Client(site.gate, name=point) as client:
            killed(site, point, "rehearse")
            site.run("rehearse")
        whole(client, site, point)
        assert site.version() == "1.0", point
        units = machines[1].run("sh", "-c", "ls /etc/systemd/system | grep rehearsal || :")
        assert units == "", point
        assert "try" not in machines[1].run("ls", "/srv/notes"), point


@pytest.mark.parametrize("part", range(_PARTS))
def test_cutover(site: FarSite, part: int) -> None:
    """A cutover killed anywhere is done by the next one."""
    points = some(ON_SQLITE.cutover, 30)
    for point in points[part * len(points) // _PARTS : (part + 1) * len(points) // _PARTS]:
        with Client(site.gate, name=point) as client:
            killed(site, point, "cutover", "--yes")
            site.run("cutover", "--yes")
        whole(client, site, point)
        assert site.version() == "2.0", point
        site.run("rollback", "--yes", "--accept-loss")


def test_rollback(site: FarSite) -> None:
    """A rollback killed anywhere is done by the next one; what stays behind is exported."""
    for point in some(ON_SQLITE.rollback, 20):
        site.run("cutover", "--yes")
        with Client(site.gate, name=point, stays_behind=True) as client:
            killed(site, point, "rollback", "--yes", "--accept-loss")
            site.run("rollback", "--yes", "--accept-loss")
        assert client.failures == [], point
        assert site.version() == "1.0", point
        assert client.lost(site.gate) <= exported(site), point


def test_going_back(site: FarSite) -> None:
    """Killed while it goes back, the next run ends with the old side serving, nothing lost."""
    site.write_manifest(extra=site.check(ONLY_A_REHEARSAL))
    site.run("rehearse")
    for point in some(ON_SQLITE.going_back, 18):
        with Client(site.gate, name=point) as client:
            killed(site, point, "cutover", "--yes")
            assert site.run("cutover", "--yes", ok=False).code == 5, point
        whole(client, site, point)
        assert site.version() == "1.0", point


@pytest.mark.parametrize(
    "point",
    [
        *(["cutover.stop.stop.after-act"] if WHOLE else []),
        "cutover.sync.start.after-act",
        "cutover.switch.commit.after-act",
    ],
)
def test_nobody_comes_back(site: FarSite, point: str) -> None:
    """Without any further command somebody serves again, and nothing is lost."""
    with Client(site.gate, name=point) as client:
        killed(site, point, "cutover", "--yes")
        serves = site.version()  # held until the switch and the gate have done their work
    assert serves == ("2.0" if ".commit.after" in point else "1.0")
    whole(client, site, point)
    site.run("cutover", "--yes")
    assert site.version() == "2.0"
    assert client.lost(site.gate) == set()
