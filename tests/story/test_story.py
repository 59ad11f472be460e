"""The whole story: rehearse, cut over, roll back, cut over again, retire; with a client."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from tests.testbed.client import Client
from tests.testbed.moments import Moments
from tests.testbed.site import Site, eventually, tree_bytes

Make = Callable[..., Site]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_forward_back_and_forward_again(make_site: Make, journal: str) -> None:
    """Rehearse, cut over, check, roll back, find old as at the fence, cut over again, retire."""
    site = make_site(journal=journal)
    before = {path: (path.stat().st_mode, path.stat().st_uid) for path in site.data.rglob("*")}
    with Client(site.gate) as client:
        site.run("rehearse")
        assert site.version() == "1.0"
        assert not (site.directory / "try").exists(), "a rehearsal leaves nothing behind"
        first = site.run("cutover", "--yes", "--json").json
        assert (first["outcome"], first["live"], site.version()) == ("done", "new", "2.0")
        assert first["requests"]["served_by_old_after_drain"] == 0
    assert client.failures == []
    assert client.lost(site.gate) == set()

    fenced = tree_bytes(site.data)
    status = site.run("status", "--json").json
    assert "writes" in status["going_back"]
    refused = site.run("rollback", "--yes", ok=False)
    assert refused.code == 4
    assert "--accept-loss" in refused.err
    assert fenced == tree_bytes(site.data), "a refused rollback touches nothing"

    back = site.run("rollback", "--yes", "--accept-loss", "--json").json
    assert (back["outcome"], back["live"], site.version()) == ("rolled-back", "old", "1.0")
    findings = {f["claim"]: f for f in back["runs"][-1]["steps"][0]["findings"]}
    assert findings["old side's database main is as at the fence"]["holds"]
    assert findings["old side's tree uploads is as at the fence"]["holds"]
    left = Path(back["runs"][-1]["steps"][0]["details"]["at"])
    lines = (left / "main" / "note.jsonl").read_text(encoding="utf-8").splitlines()
    exported = {json.loads(line)["id"] for line in lines}
    behind = client.lost(site.old)
    assert behind <= exported, "what stays behind is exported"

    with Client(site.gate, name="second") as client:
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    after = {path: (path.stat().st_mode, path.stat().st_uid) for path in site.data.rglob("*")}
    assert {p: before[p] for p in before if p in after} == {
        p: after[p] for p in before if p in after
    }

    retired = site.run("retire", "--yes", "--json").json
    assert (retired["outcome"], retired["live"]) == ("retired", "new")
    assert retired["going_back"]["price"] == "impossible"
    assert not site.data.exists()
    assert not (site.directory / "app1").exists()
    assert site.version() == "2.0"
    assert list((site.directory / "state").rglob("old.tar.gz")), "the old side is archived"


def test_one_upgrade_after_another(make_site: Make) -> None:
    """What was the new side is the old side of the next upgrade, and serves through all of it."""
    site = make_site()
    site.run("rehearse")
    site.run("cutover", "--yes")
    site.run("retire", "--yes")
    with Client(site.gate) as client:
        site.next_upgrade()
        status = site.run("status", "--json").json
        assert (status["live"], status["outcome"]) == ("old", "planned")
        site.run("rehearse")
        assert site.version() == "2.0"
        site.run("cutover", "--yes")
        assert site.version() == "3.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    site.run("rollback", "--yes", "--accept-loss")
    assert site.version() == "2.0"


def test_old_side_is_as_at_the_fence(make_site: Make) -> None:
    """From the fence until the old side is started again not one byte of it changes."""
    site = make_site()
    site.run("rehearse")
    site.run("cutover", "--yes")
    at_switch = tree_bytes(site.data)
    assert "notes.db" in at_switch
    assert not [name for name in at_switch if name.endswith(("-wal", "-shm"))]
    with Client(site.gate) as client:
        eventually(lambda: len(client.acknowledged) > 20)
    assert tree_bytes(site.data) == at_switch


def test_rollback_without_writes_needs_no_acceptance(make_site: Make) -> None:
    """When nobody wrote since the switch, going back costs a restart and nothing else."""
    site = make_site()
    site.run("rehearse")
    site.run("cutover", "--yes")
    assert site.run("status", "--json").json["going_back"].startswith("a restart")
    site.run("rollback", "--yes")
    assert site.version() == "1.0"


def test_rehearsing_again_and_again(make_site: Make) -> None:
    """A rehearsal can be repeated at will, with a client writing, and leaves nothing behind."""
    site = make_site()
    with Client(site.gate) as client:
        for _ in range(3):
            site.run("rehearse")
            assert not (site.directory / "try").exists()
    assert client.failures == []
    listing = sorted(path.name for path in site.directory.iterdir())
    assert listing == ["app1", "app2", "app2-wheel", "crossfade.yaml", "notes.yaml", "old", "state"]


def test_dry_run_changes_nothing(make_site: Make) -> None:
    """--dry-run prints the plan and makes no run, no file, no process."""
    site = make_site()
    for words in (("rehearse",), ("cutover",), ("plan",)):
        extra = () if words == ("plan",) else ("--dry-run",)
        assert "going back after it costs" in site.run(*words, *extra).out
    assert not (site.directory / "app2").exists()
    assert site.run("status", "--json").json["runs"] == []


def test_late_files_come_before_the_pause(make_site: Make) -> None:
    """What was uploaded since the first copy comes over before requests are held."""
    site = make_site(uploads=2)
    site.run("rehearse")

    def upload() -> None:
        for number in range(100):
            (site.data / "uploads" / f"late-{number}").write_bytes(b"late" * 1000)

    with Moments(site.directory, {"cutover.stop.before-act": upload}) as moments:
        site.run("cutover", "--yes", env=moments.environment)
    with closing(site.wired().journal) as journal:
        stop = [e for e in journal.entries(kind="step-done") if e["name"] == "stop"][-1]
    payload = cast("dict[str, Any]", stop["payload"])
    (nearer,) = (part for part in payload["parts"] if part["name"] == "nearer uploads")
    assert nearer["began"] + nearer["seconds"] <= payload["details"]["pause_began"]
    assert len(list((site.directory / "new" / "uploads").glob("late-*"))) == 100
