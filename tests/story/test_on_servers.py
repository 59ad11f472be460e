"""The whole story with the data on PostgreSQL and on MariaDB servers, with a client throughout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.moments import Moments
from tests.testbed.servers import KINDS, UNFOLLOWED, Pair, make_pair
from tests.testbed.site import Site, eventually
from tests.testbed.traces import differences

from crossfade.model import Side

Make = Callable[..., Site]

HAVE = {"old: database", "old: role", "old: user", "old: right", "old: table"}
"""Kinds of what belongs to the old database itself."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """postgres and mysql, one after the other."""
    return str(request.param)


@pytest.fixture
def unfollowed(kind: str, tmp_path: Path) -> Iterator[Pair]:
    """Servers as a distribution ships them: their changes cannot be followed."""
    with make_pair(kind, tmp_path, old=UNFOLLOWED[kind], new=UNFOLLOWED[kind]) as pair:
        yield pair


def step_of(account: dict[str, Any], name: str) -> dict[str, Any]:
    """A step of the last run of an account."""
    (step,) = (s for s in account["runs"][-1]["steps"] if s["name"] == name)
    return dict(step)


def nothing_new_but(site: Site, before: Any, *but: str) -> None:
    """Both servers' catalogues are as before, but for what of the new one has such a word in it."""
    assert site.left(before, *but) == {}


def test_forward_back_and_forward_again(make_site: Make, kind: str) -> None:
    """Rehearse, cut over, roll back without loss, cut over again, retire: nothing is left."""
    site = make_site(database=kind)
    before = site.stand()
    name = site.databases[Side.NEW].user  # also in the name of the new database
    with Client(site.gate) as client:
        site.run("rehearse")
        assert site.version() == "1.0"
        nothing_new_but(site, before, *site.account())

        first = site.run("cutover", "--yes", "--json").json
        assert (first["outcome"], first["live"], site.version()) == ("done", "new", "2.0")
        assert first["requests"]["served_by_old_after_drain"] == 0
        assert step_of(first, "backup")["details"]["strategies"] == {"main": "stream"}
        parts = [p for s in first["runs"][-1]["steps"] if s["in_pause"] for p in s["parts"]]
        assert {"drain", "stop", "fence", "start", "commit", "switch"} <= {p["name"] for p in parts}
        assert 0 < first["pause"]["seconds"] < first["pause"]["limit"]
        eventually(lambda: len(client.acknowledged) > 30)
        price = site.run("status", "--json").json["going_back"]
        assert price.startswith("a restart: "), price
        assert "go along to the old side" in price

        back = site.run("rollback", "--yes", "--json").json
        assert (back["outcome"], back["live"], site.version()) == ("rolled-back", "old", "1.0")
    assert client.failures == []
    assert client.lost(site.gate) == set(), "what the new side acknowledged is on the old one"
    nothing_new_but(site, before, name)
    entries = site.sql(Side.OLD, "select count(distinct note) from entry")
    assert entries == [(len(client.acknowledged),)]

    with Client(site.gate, name="second") as client:
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()

    retired = site.run("retire", "--yes", "--json").json
    assert (retired["outcome"], retired["live"]) == ("retired", "new")
    assert site.version() == "2.0"
    left = site.left(before, name)
    gone = {kind for kind, (was, _) in left.items() if was}
    assert {kind for kind, (_, now) in left.items() if now} == set(), left
    assert "old: database" in gone, "the old database is removed"
    assert all(kind.startswith("old: ") and (name in kind or kind in HAVE) for kind in gone), gone
    archives = list((site.directory / "state").rglob("archive/*main*"))
    assert archives, "the old database is archived"


@pytest.mark.whole
def test_one_upgrade_after_another(make_site: Make, kind: str) -> None:
    """The new side's database is the old one of the next upgrade; its way back loses nothing."""
    site = make_site(database=kind)
    site.run("rehearse")
    site.run("cutover", "--yes")
    site.run("retire", "--yes")
    before = site.stand()
    with Client(site.gate) as client:
        site.next_upgrade()
        assert site.run("status", "--json").json["outcome"] == "planned"
        site.run("rehearse")
        site.run("cutover", "--yes")
        assert site.version() == "3.0"
        have = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > have + 10)
        site.run("rollback", "--yes")
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    swapped = {Side.OLD: before[Side.NEW], Side.NEW: before[Side.OLD]}
    nothing_new_but(site, swapped, site.databases[Side.NEW].user)


def test_plan_tells_what_it_touches(make_site: Make, kind: str) -> None:
    """While the new side follows, nothing stands on the old side's server that the plan does not
    name as a touch."""
    site = make_site(database=kind)
    plan = site.run("plan", "--json").json["rehearsal"]
    assert not [w for w in plan["warnings"] if "carried by dump" in w]
    (backup,) = (step for step in plan["steps"] if step["name"] == "backup")
    told = " ".join(backup["touches"])
    assert "touches the old side" in site.run("plan").out
    before = site.stand()
    now: dict[Any, Any] = {}
    deed = {"rehearsal.restore.after-record": lambda: now.update(site.stand())}
    with Moments(site.directory, deed) as moments:
        site.run("rehearse", env=moments.environment)
    found = differences({**before, Side.NEW: {}}, {**now, Side.NEW: {}})
    found.pop("old: session of ours", None)
    for what, (gone, new) in found.items():
        assert not gone, what
        assert all(str(row[0]) in told for row in new), (what, new, told)


@pytest.mark.parametrize("kind", KINDS if WHOLE else KINDS[:1], indirect=True)
def test_dry_run_changes_nothing(make_site: Make, kind: str) -> None:
    """--dry-run and plan write nothing at all on either server, not even a log record."""
    site = make_site(database=kind)
    assert site.pair
    for server in (site.pair.old, site.pair.new):
        if kind == "postgres":  # it takes transaction ids, too
            server.sql("alter system set autovacuum = off")
            server.sql("select pg_reload_conf()")
    before, written = site.stand(), log_marks(site.pair)
    for words in (("rehearse", "--dry-run"), ("cutover", "--dry-run"), ("plan",)):
        assert "going back after it costs" in site.run(*words).out
    assert site.left(before) == {}
    assert log_marks(site.pair) == written
    for server in (site.pair.old, site.pair.new):
        if kind == "postgres":
            server.sql("alter system reset autovacuum")
            server.sql("select pg_reload_conf()")
    assert not (site.directory / "app2").exists()
    assert site.run("status", "--json").json["runs"] == []


def log_marks(pair: Pair) -> list[object]:
    """A mark for each server that changes with every transaction that writes."""
    mark = "show master status"
    if pair.kind == "postgres":
        mark = "select pg_snapshot_xmax(pg_current_snapshot())"
    return [server.sql(mark) for server in (pair.old, pair.new)]


@pytest.mark.one_kind
def test_dump_where_changes_cannot_be_followed(
    unfollowed: Pair, make_site: Make, kind: str
) -> None:
    """Servers that do not log enough: the plan says so, and the database is copied in the pause."""
    site = make_site(database=kind, pair=unfollowed)
    before = site.stand()
    plan = site.run("plan", "--json").json["cutover"]
    (why,) = [w for w in plan["warnings"] if "database main is carried by dump" in w]
    assert ("wal_level" if kind == "postgres" else "log_bin") in why
    assert "restart" in why
    with Client(site.gate) as client:
        site.run("rehearse")
        nothing_new_but(site, before, *site.account())
        done = site.run("cutover", "--yes", "--json").json
        assert step_of(done, "backup")["details"]["strategies"] == {"main": "dump"}
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    with Client(site.gate, name="late") as late:
        eventually(lambda: len(late.acknowledged) > 5)
    refused = site.run("rollback", "--yes", ok=False)
    assert (refused.code, "--accept-loss" in refused.err) == (4, True), refused.err
    assert "would stay behind" in site.run("status", "--json").json["going_back"]
    site.run("rollback", "--yes", "--accept-loss")
    assert site.version() == "1.0"
    behind = late.lost(site.gate)
    assert behind == late.acknowledged
    assert behind <= exported(site), "what stays behind is exported"
    assert client.lost(site.gate) <= exported(site)
    nothing_new_but(site, before, site.databases[Side.NEW].user)


def exported(site: Site) -> set[str]:
    """Ids of all notes that rollbacks exported."""
    found: set[str] = set()
    for path in (site.directory / "state").rglob("left-behind/main/*note.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        found |= {row.get("row", row)["id"] for row in rows}
    return found
