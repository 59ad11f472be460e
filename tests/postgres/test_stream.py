"""Strategy ``stream``: the copy is proven, the old side is followed, nothing is lost or left."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres.feeding import EVERYTHING, SETTINGS, TAG, Doing, Site, Writer, until

from crossfade.drivers.databases.postgres import feed, slots, stream, subscription
from crossfade.drivers.databases.postgres.carrier import PostgresCarrier
from crossfade.drivers.databases.postgres.connect import Conn, connect
from crossfade.drivers.databases.postgres.digests import digest_tables
from crossfade.drivers.databases.postgres.fence import Fence
from crossfade.drivers.databases.postgres.following import Keeper
from crossfade.drivers.databases.postgres.living import living
from crossfade.drivers.databases.postgres.stream import StreamWay
from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.testing.servers import PostgresServer, majors


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """The old server of the oldest major, the new one of the newest."""
    place = tmp_path_factory.mktemp("stream")
    with (
        PostgresServer(place / "old", majors()[0], settings=SETTINGS) as old,
        PostgresServer(place / "new", majors()[-1], settings=SETTINGS) as new,
    ):
        yield old, new


@pytest.fixture
def site(servers: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> Iterator[Site]:
    """Two servers; whatever a test leaves is removed."""
    made = Site.make(*servers, tmp_path)
    yield made
    clean(made)


def clean(site: Site) -> None:
    """Remove a feed, if there is one."""
    stream.let_go(site.old, site.new, site.way().names, site.directory / TAG)


def good(findings: list[Finding]) -> None:
    """All hold."""
    assert findings
    assert [finding for finding in findings if not finding.holds] == []


def begun(site: Site, on: Doing) -> StreamWay:
    """A way that follows."""
    way = site.way()
    good(way.back_up(on))
    good(way.restore(on))
    return way


def test_every_kind_of_change_arrives_and_nothing_is_left(site: Site) -> None:
    """Under load, with every kind of table: equal digests, all tokens, no trace, one copy each."""
    on = Doing()
    with Writer(site.old, *EVERYTHING) as writer:
        way = begun(site, on)
        until(lambda: len(writer.acknowledged) > 60)
    assert writer.error is None
    good(way.bring_last(on, still=True))
    assert {"last changes app", "proof app", "sequences app"} <= set(on.parts)
    tokens = {row[0] for row in site.on_new("select token from public.writes")}
    assert tokens >= set(writer.acknowledged)
    tables = way.inventory.with_data
    assert digest_tables(site.old, tables) == digest_tables(site.new, tables)
    assert way.written_since() == 0
    site.on_new("insert into public.writes (token) values ('mine')")
    site.on_old("insert into public.writes (token) values ('late')")
    assert way.written_since() == 1
    assert site.on_new("select 1 from public.writes where token = 'late'") == []
    way.let_go()
    assert site.traces() == []


def test_a_rehearsal_leaves_out_what_is_in_use(site: Site) -> None:
    """The old side works on; the same is done and measured, and the new side is free."""
    on = Doing()
    with Writer(site.old, *EVERYTHING, pause=0.0) as writer:
        way = begun(site, on)
        good(way.bring_last(on, still=False))
        until(lambda: len(writer.acknowledged) > 20)
    assert writer.error is None
    assert {"last changes app", "proof app", "sequences app"} <= set(on.parts)
    site.on_new("insert into public.parent (v) values ('mine')")
    way.let_go()
    assert site.traces() == []


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("update public.parent set v = 'other' where id = 7", "public.parent (id) = 7"),
        ("delete from public.parent where id = 7", "public.parent (id) = 7"),
        ("insert into public.keyless values (99, 'more')", "public.keyless"),
        ("truncate public.parent cascade", "public.parent (id) = "),
    ],
)
def test_a_row_that_differs_is_found_and_named(
    site: Site, monkeypatch: pytest.MonkeyPatch, harm: str, told: str
) -> None:
    """A change that was lost on the new side is found among those that the old side made."""
    monkeypatch.setattr(Keeper, "_run", lambda keeper: None)
    on = Doing()
    way = begun(site, on)
    site.on_old("update public.parent set v = v || 'y' where id between 5 and 9")
    site.on_old("update public.keyless set b = 'zz'")
    with connect(site.old) as conn:
        end = subscription.flushed(conn)
        until(lambda: confirmed(conn, way) >= end)
    site.on_new(harm)
    findings = way.bring_last(on, still=True)
    bad = [finding for finding in findings if not finding.holds]
    assert bad
    assert told in bad[0].observed
    assert subscribed(site, way), "a new database that differs is not let go"


def confirmed(conn: Conn, way: StreamWay) -> int:
    """How far the new side has confirmed."""
    slot = slots.look(conn, way.names.feed)
    assert slot is not None
    return slot.confirmed


def subscribed(site: Site, way: StreamWay) -> bool:
    """Whether the new side still follows."""
    with connect(site.new) as conn:
        return subscription.subscribed(conn, way.names)


def test_a_snapshot_that_was_copied_wrongly_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that got lost in the copy stop the run before anything is fed."""
    way = site.way()
    good(way.back_up(Doing()))
    finish = way.base.finish

    def lossy(*given: object) -> None:
        finish(*given)  # type: ignore[arg-type]
        site.on_new("delete from public.part where id = 17")

    monkeypatch.setattr(way.base, "finish", lossy)
    findings = way.restore(Doing())
    bad = [finding for finding in findings if not finding.holds]
    assert len(bad) == 1
    assert "public.part" in bad[0].observed


def test_another_process_goes_on_where_we_ended(site: Site) -> None:
    """A second way finds the proven copy, follows it, and ends it; nothing is copied again."""
    first = begun(site, Doing())
    living(first._place).close()
    site.on_old("update public.parent set v = 'meanwhile' where id = 3")
    second, on = site.way(), Doing()
    good(second.back_up(on))
    good(second.restore(on))
    assert "copy app" not in on.parts
    third = site.way()
    good(third.bring_last(Doing(), still=True))
    assert site.on_new("select v from public.parent where id = 3") == [("meanwhile",)]
    again = site.way().bring_last(Doing(), still=True)
    good(again)


def test_a_copy_that_was_broken_off_begins_again(site: Site) -> None:
    """The snapshot died with its process: slots are made anew, the half copy is replaced."""
    code = """
        import os, pickle, sys
        from tests.postgres.feeding import Doing
        site = pickle.loads(bytes.fromhex(sys.argv[1]))
        way = site.way()
        way.back_up(Doing())
        way.base.finish = lambda *_: os._exit(9)
        way.restore(Doing())
    """
    ended = subprocess.run(
        (
            sys.executable,
            "-c",
            textwrap.dedent(code),
            pickle.dumps(Site(None, None, site.directory, site.old, site.new)).hex(),
        ),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        timeout=120,
    )
    assert ended.returncode == 9
    assert site.traces(), "the other process left its feed"
    site.on_old("update public.parent set v = 'later' where id = 3")
    way = begun(site, Doing())
    good(way.bring_last(Doing(), still=True))
    assert site.on_new("select v from public.parent where id = 3") == [("later",)]


def test_old_and_new_in_one_cluster(
    servers: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    """Both databases of one server: nothing waits for itself."""
    server = servers[0]
    site = Site.make(server, server, tmp_path)
    on = Doing()
    try:
        with Writer(site.old, *EVERYTHING) as writer:
            way = begun(site, on)
            until(lambda: len(writer.acknowledged) > 20)
        assert writer.error is None
        good(way.bring_last(on, still=True))
        tables = way.inventory.with_data
        assert digest_tables(site.old, tables) == digest_tables(site.new, tables)
    finally:
        clean(site)
    assert site.traces() == []


def test_two_databases_of_one_attempt_do_not_meet(
    servers: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    """The tag is the same, the names of slots and roles are not."""
    sites = [Site.make(*servers, tmp_path) for _ in range(2)]
    try:
        ways = [begun(site, Doing()) for site in sites]
        assert ways[0].names != ways[1].names
        for way in ways:
            good(way.bring_last(Doing(), still=True))
    finally:
        for site in sites:
            clean(site)


def test_the_feeds_password_is_nowhere_to_be_seen(site: Site) -> None:
    """Not in either log, not for the application's role, not in the files of the attempt."""
    seen: list[str] = []
    make = feed.make_role

    def spy(*given: object) -> str:
        seen.append(make(*given))  # type: ignore[arg-type]
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "make_role", spy)
        way = begun(site, Doing())
    texts = [
        site.old_server.log.read_text(encoding="utf-8"),
        site.new_server.log.read_text(encoding="utf-8"),
        *(p.read_text(errors="replace") for p in (site.directory / TAG).rglob("*") if p.is_file()),
    ]
    assert seen
    assert all(password not in text for password in seen for text in texts)
    assert "SCRAM-SHA-256$" not in texts[0]
    with connect(site.new, as_app=True) as app, pytest.raises(Exception, match="denied"):
        app.execute("select subconninfo from pg_catalog.pg_subscription")
    modes = {p.stat().st_mode & 0o077 for p in (site.directory / TAG).rglob("*") if p.is_file()}
    assert modes == {0}
    way.let_go()


def test_letting_go_names_what_it_cannot_reach(site: Site) -> None:
    """The server that answers is cleaned; for the other one there is the SQL that helps."""
    way = begun(site, Doing())
    way.let_go()
    way = begun(site, Doing())
    names = way.names
    site.new_server.stop()
    try:
        with pytest.raises(Failed) as caught:
            way.let_go()
    finally:
        site.new_server.start()
    assert caught.value.code == "feed-left-behind"
    assert f'DROP SUBSCRIPTION "{names.feed}"' in caught.value.what
    assert site.old_server.sql("select slot_name from pg_replication_slots") == []
    assert any("subscription" in removed for removed in site.way().let_go())
    assert site.way().let_go() == []
    assert site.traces() == []


def test_a_carrier_from_the_first_step_to_the_last(site: Site) -> None:
    """Backup, restore, fence, last changes, way back, commit, going back, and again; retire."""
    on = Doing()

    def carrier(attempt: str) -> PostgresCarrier:
        return PostgresCarrier("app", site.old, site.new, site.directory / attempt, TAG)

    assert carrier("plan").preview().strategy == "stream"
    for attempt in ("cutover-1", "cutover-2"):
        mine = carrier(attempt)
        with Writer(site.old, *EVERYTHING) as writer:
            good(mine.back_up(on))
            good(mine.restore(on))
            until(lambda writer=writer: len(writer.acknowledged) > 5)  # type: ignore[misc]
        assert writer.error is None
        fence = Fence.take(site.old)
        mark = mine.mark()
        good(mine.bring_last(on, still=True))
        good(mine.keep_way_back(on))
        assert mine.mark() == mark
        fence.keep()
        fence.close()
        assert any("slot" in left for left in mine.leavings())
        good(mine.after_commit(on))
        until(lambda: carrier("status").way_back().lossless)
        site.on_new("insert into public.writes (token) values (%s)", f"new {attempt}")
        if attempt == "cutover-1":
            findings, behind = carrier("rollback-1").bring_back(on, site.directory / "left")
            good(findings)
            assert behind == 0
            assert site.on_old("select 1 from public.writes where token = 'new cutover-1'")
            mine.let_go()
            assert site.traces() == []
            site.on_old("insert into public.writes (token) values ('old again')")
    good(carrier("retire").let_go())
    assert carrier("retire").leavings() == ()
    good(carrier("retire").retire(on, site.directory / "archive"))
    good(carrier("retire").retire(on, site.directory / "archive"))
    assert (
        site.old_server.sql("select 1 from pg_database where datname = %s", (site.old.database,))
        == []
    )
    tokens = {row[0] for row in site.on_new("select token from public.writes")}
    assert tokens >= {"new cutover-1", "old again", "new cutover-2"}
    # what the fixture removes afterwards reads the old database
    site.old_server.create(site.old.database, user="O'wner")
