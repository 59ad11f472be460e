"""An upgrade from one machine to another, whose uploads go straight; and what is seen of that."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.testbed.far import HOME, FarSite
from tests.testbed.machines import Machine
from tests.testbed.site import eventually

from crossfade.model import Side

Make = Callable[..., FarSite]
Pair = tuple[Machine, Machine]
WAYS = "ls -d /run/crossfade-way-*%s 2>/dev/null || :"


@pytest.fixture
def site(make_far_site: Make, machines: Pair) -> FarSite:
    """Old and new side on machines, with much to copy."""
    made = make_far_site(*machines)
    more = "head -c 40000000 /dev/urandom >more && chown notes: more"
    made.host(Side.OLD).run(("sh", "-c", more), cwd=HOME / "old/uploads")
    return made


def ways(machines: Pair, inside: str = "") -> list[str]:
    """What there is of straight ways, or of one file in them."""
    return [line for one in machines for line in one.run("sh", "-c", WAYS % inside).split()]


def test_told_and_done(site: FarSite, machines: Pair) -> None:
    """The plan lists it, the rehearsal says so, and nothing stays; it can be switched off."""
    plan = json.loads(site.run("plan", "--json").out)["cutover"]
    (restore,) = (step for step in plan["steps"] if step["name"] == "restore")
    assert any("crossfade-way-*" in touch for touch in restore["touches"])
    assert "came straight from" in site.run("rehearse").err
    assert ways(machines) == []
    site.write_manifest(extra="copy: {straight: false}\n")
    assert "crossfade-way-" not in site.run("plan").out


def test_killed_in_the_middle(site: FarSite, machines: Pair) -> None:
    """Everything of the way ends by itself, the journal has no key, and the rehearsal can be
    repeated; what a machine kept of it is found and removed."""
    host = site.host(Side.OLD)
    host.run(("sh", "-c", "truncate -s 900M zeros"), cwd=HOME / "old/uploads")
    with machines[1].slow(300):
        process = site.popen("rehearse")
        eventually(lambda: len(ways(machines, "/ready")) == 2, 120)
        key = machines[0].run("sh", "-c", "cat /run/crossfade-way-*/key").splitlines()[1]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        eventually(lambda: ways(machines) == [])
    host.run(("rm", str(HOME / "old/uploads/zeros")))
    tag = site.wired().machines._ways
    assert tag is not None
    stale = f"/run/crossfade-way-{tag.tag}-0000-1"
    machines[1].run("mkdir", stale)
    assert stale in site.run("doctor", ok=False).out
    site.run("doctor", "--fix")
    assert ways(machines) == []
    machines[0].run("mkdir", stale)
    assert "came straight from" in site.run("rehearse").err
    assert ways(machines) == []
    kept = [p.read_bytes() for p in Path(site.directory / "state").rglob("*") if p.is_file()]
    assert not any(key.encode() in content for content in kept)
    with closing(sqlite3.connect(site.directory / "state/journal.db")) as journal:
        assert "came" in str(journal.execute("select payload from entry").fetchall())
