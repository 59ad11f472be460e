"""From container to container: killed in the pause, with nobody there to run a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.test_matrix import killed, whole
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.contained import ContainedSite, contained_site_at
from tests.testbed.engine import Engine

_POINTS = ["cutover.sync.start.after-act", "cutover.switch.commit.after-act"]
_MORE = ["cutover.stop.drain.before-act", "cutover.stop.stop.after-act"]


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[ContainedSite]:
    """A site that was rehearsed."""
    with contained_site_at(tmp_path / "site", engine, notes=20, uploads=2) as made:
        made.run("rehearse")
        yield made


@pytest.mark.parametrize("point", [*_POINTS, *(_MORE if WHOLE else [])])
def test_nobody_comes_back(site: ContainedSite, point: str) -> None:
    """Without any further command one container serves, and only that one runs; nothing is lost,
    and the next command ends what was begun."""
    with Client(site.gate, name=point) as client:
        killed(site, point, "cutover", "--yes")
        serves = site.version()  # held until the switch and the gate have done their work
    assert serves == ("2.0" if ".commit.after" in point else "1.0")
    whole(client, site, point)
    running = site.engine.docker("ps", "--format", "{{.Names}}").split()
    applications = [name for name in running if name.startswith(site.name) and "helper" not in name]
    assert applications == [f"{site.name}-2" if serves == "2.0" else site.name]
    site.run("cutover", "--yes")
    assert site.version() == "2.0"
    assert client.lost(site.gate) == set()
