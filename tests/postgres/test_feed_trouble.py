"""What goes wrong while a database is followed: it is noticed in time, and told in plain words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.postgres.feeding import SETTINGS, TAG, Doing, Site, Writer, until
from tests.testbed.wire import Wire

from crossfade.drivers.databases.postgres import feed, slots, stream
from crossfade.drivers.databases.postgres.carrier import PostgresCarrier
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.stream import StreamWay
from crossfade.errors import Failed
from crossfade.testing.servers import PostgresServer, majors

SCHEMA = """
create table public.t (id int primary key, v text unique);
create table public.writes (id bigserial primary key, token text);
insert into public.t select g, 'v' || g from generate_series(1, 100) g;
"""


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """An old server, and a newer one where there is one that pg_dump can read."""
    place = tmp_path_factory.mktemp("trouble")
    with (
        PostgresServer(place / "old", majors()[0], settings=SETTINGS) as old,
        PostgresServer(place / "new", majors()[-1], settings=SETTINGS) as new,
    ):
        yield old, new


@pytest.fixture
def site(
    servers: tuple[PostgresServer, PostgresServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """Two servers and an impatient Crossfade; whatever a test leaves is removed."""
    monkeypatch.setattr(stream, "_FOLLOW_PATIENCE", 20.0)
    monkeypatch.setattr(stream, "_PAUSE_PATIENCE", 4.0)
    for server in servers:
        server.start()
    made = Site.make(*servers, tmp_path, schema=SCHEMA)
    yield made
    for server in servers:
        server.start()
    stream.let_go(made.old, made.new, made.way().names, made.directory / TAG)


def begun(site: Site) -> StreamWay:
    """A way that follows."""
    way, on = site.way(), Doing()
    findings = [*way.back_up(on), *way.restore(on)]
    assert all(finding.holds for finding in findings), findings
    return way


def failed(way: StreamWay, *codes: str) -> Failed:
    """``bring_last`` fails with one of these codes, within reason."""
    began = time.monotonic()
    with pytest.raises(Failed) as caught:
        way.bring_last(Doing(), still=True)
    assert caught.value.code in codes, caught.value.what
    assert time.monotonic() - began < 60
    return caught.value


def gone(site: Site, way: StreamWay) -> None:
    """Everything can still be removed."""
    way.let_go()
    assert site.traces() == []


def test_a_duplicate_key_on_the_new_side(site: Site) -> None:
    """A row that somebody put there stops the feed; the new server's words and table are told."""
    way = begun(site)
    site.on_new("insert into public.t values (500, 'mine')")
    site.on_old("insert into public.t values (500, 'theirs')")
    error = failed(way, "feed-stopped")
    assert "duplicate key value violates unique constraint" in error.what
    assert "t_pkey" in error.what
    assert "theirs" not in error.what
    gone(site, way)


def test_a_constraint_that_only_the_new_side_has(site: Site) -> None:
    """A change that the new side refuses stops the feed."""
    way = begun(site)
    site.on_new("alter table public.t add constraint short check (length(v) < 20)")
    site.on_old("update public.t set v = repeat('x', 30) where id = 1")
    error = failed(way, "feed-stopped")
    assert "short" in error.what
    gone(site, way)


def test_a_new_column_on_the_old_side(site: Site) -> None:
    """DDL in the middle of the feed: its first row stops the feed, or the schema is seen."""
    way = begun(site)
    site.on_old("alter table public.t add column more int; update public.t set more = 1")
    error = failed(way, "feed-stopped")
    assert "more" in error.what
    gone(site, way)


def test_a_new_table_on_the_old_side(site: Site) -> None:
    """Nothing stops the feed then; the comparison of schemas finds it."""
    way = begun(site)
    site.on_old(
        "create table public.later (id int primary key); insert into public.later values (1)"
    )
    findings = way.bring_last(Doing(), still=True)
    bad = [finding for finding in findings if not finding.holds]
    assert ["schema" in finding.claim for finding in bad] == [True]
    gone(site, way)


def test_ddl_while_the_copy_is_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table made between publication and snapshot is not followed, so the copy does not hold."""
    way = site.way()
    make = slots.create

    def late(*given: object, **more: object) -> object:
        if more["export"]:
            site.on_old("create table public.between (id int primary key)")
        return make(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(slots, "create", late)
    way.back_up(Doing())
    findings = way.restore(Doing())
    assert [f.claim for f in findings if not f.holds] == [
        "the schema of database app is the one that is followed"
    ]
    gone(site, way)


def test_a_slot_that_somebody_dropped(site: Site) -> None:
    """There is no way to go on; it is said."""
    way = begun(site)
    with feed.brief(site.old) as conn:
        slots.drop(conn, way.names.feed)
    error = failed(way, "feed-slot-lost")
    assert "it is gone" in error.what
    gone(site, way)


def test_a_feed_that_was_given_up_for_the_disk(site: Site) -> None:
    """The watcher's reason is told."""
    way = site.way(limit=1_000_000)
    on = Doing()
    way.back_up(on)
    way.restore(on)
    site.new_server.stop()
    site.on_old("create table public.big as select repeat('x', 2000) from generate_series(1, 5000)")
    with feed.brief(site.old) as conn:
        until(lambda: slots.look(conn, way.names.feed) is None)
    site.new_server.start()
    site.on_old("drop table public.big")
    error = failed(way, "feed-given-up")
    assert "limit of 1000000" in error.what
    gone(site, way)


def test_the_old_server_restarts(site: Site) -> None:
    """Everything goes on by itself, and no acknowledged write is lost."""
    way = begun(site)
    site.on_old("insert into public.writes (token) values ('before')")
    site.old_server.stop()
    site.old_server.start()
    site.on_old("insert into public.writes (token) values ('after')")
    findings = way.bring_last(Doing(), still=True)
    assert all(finding.holds for finding in findings), findings
    assert site.on_new("select token from public.writes order by id") == [("before",), ("after",)]
    gone(site, way)


def test_the_new_server_is_killed_and_comes_back(site: Site) -> None:
    """What was confirmed was durable, so nothing is missing afterwards."""
    way = begun(site)
    with Writer(site.old) as writer:
        until(lambda: len(writer.acknowledged) > 30)
        site.new_server.kill()
        until(lambda: len(writer.acknowledged) > 60)
        site.new_server.start()
    assert writer.error is None
    findings = way.bring_last(Doing(), still=True)
    assert all(finding.holds for finding in findings), findings
    tokens = {row[0] for row in site.on_new("select token from public.writes")}
    assert tokens == set(writer.acknowledged)
    gone(site, way)


def test_the_new_server_is_killed_and_stays_away(site: Site) -> None:
    """A bounded wait, then the old side goes on; what is left is named."""
    way = begun(site)
    site.new_server.kill()
    failed(way, "database-unreachable", "database-connection-lost")
    with pytest.raises(Failed) as caught:
        way.let_go()
    assert caught.value.code == "feed-left-behind"
    assert "DROP SUBSCRIPTION" in caught.value.what
    assert site.old_server.sql("select slot_name from pg_replication_slots") == []


def test_the_network_between_the_servers_is_cut(site: Site) -> None:
    """Short: it goes on.  Long: the wait in the pause is bounded."""
    with Wire(site.old.address) as wire:
        site.old = replace(site.old, reached_at=wire.address)
        way = begun(site)
        wire.cut()
        site.on_old("insert into public.writes (token) values ('cut')")
        failed(way, "feed-stalled")
        wire.mend()
        findings = way.bring_last(Doing(), still=True)
        assert all(finding.holds for finding in findings), findings
        assert site.on_new("select token from public.writes") == [("cut",)]
        gone(site, way)


def test_the_network_to_us_is_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose answers are swallowed does not hold the pause for ever."""
    with Wire(site.old.address) as wire:
        near = site.old
        site.old = replace(site.old, address=wire.address, reached_at=near.address)
        way = begun(site)
        monkeypatch.setattr(stream, "_PAUSE_PATIENCE", 2.0)
        wire.cut()
        failed(way, "database-connection-lost", "database-unreachable")
        wire.mend()
        site.old = near
    gone(site, site.way())


def test_the_new_server_cannot_log_in_to_the_old_one(site: Site) -> None:
    """It is told before anything is copied."""
    site.old = replace(site.old, reached_at=replace(site.old.address, port=1))
    way, on = site.way(), Doing()
    way.back_up(on)
    with pytest.raises(Failed) as caught:
        way.restore(on)
    assert caught.value.code == "feed-cannot-reach-old"
    assert "copy app" not in on.parts
    gone(site, way)


def test_a_long_transaction_while_the_feed_is_made(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is bounded, the process is named, nothing is left behind by letting go."""
    monkeypatch.setattr(stream, "_SLOT_PATIENCE", 0.5)
    way = site.way()
    with closing(connect(site.old, autocommit=False)) as stuck:
        stuck.execute("insert into public.t values (1000, 'x')")
        with pytest.raises(Failed) as caught:
            way.back_up(Doing())
        assert caught.value.code == "long-transaction"
        assert str(stuck.info.backend_pid) in caught.value.what
        gone(site, way)


def test_a_feed_that_no_worker_serves(site: Site) -> None:
    """The subscription is switched off under us: told as such, not waited for."""
    way = begun(site)
    site.on_new(f'alter subscription "{way.names.feed}" disable')
    site.on_old("insert into public.writes (token) values ('x')")
    failed(way, "feed-stopped")
    gone(site, way)


def carrier(site: Site) -> PostgresCarrier:
    """What a step works with."""
    return PostgresCarrier("app", site.old, site.new, site.directory / "attempt", TAG)


def test_preview_of_a_database_that_can_be_followed(site: Site) -> None:
    """The touches are listed, nothing is in the way, and nothing was changed."""
    site.on_old("create table public.small (v text)")
    plan = carrier(site).preview()
    assert plan.strategy == "stream"
    assert plan.problems == ()
    assert any("replica identity" in t and "public.small" in t for t in plan.touches)
    assert any("slots" in touch for touch in plan.touches)
    assert plan.size > 0
    assert site.traces() == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("create table public.j (v json)", "cannot be compared"),
        (
            "create table public.x as select repeat('x', 2000) from generate_series(1, 9000)",
            "no key",
        ),
        ("select lo_create(0)", "large object"),
        (
            "create function public.f() returns trigger language plpgsql as"
            " 'begin return new; end'; create trigger f before insert on public.t for each row"
            " execute function public.f(); alter table public.t enable always trigger f",
            "also fires",
        ),
    ],
)
def test_preview_of_what_cannot_be_followed(site: Site, schema: str, words: str) -> None:
    """A dump, with the reason and what it means for the pause."""
    if "repeat" in schema:
        schema += "; alter table public.x alter column repeat set storage external"
        schema += "; insert into public.x select string_agg(md5(g::text), '') from"
        schema += " generate_series(1, 400000) g group by g % 4000"
    site.on_old(schema)
    plan = carrier(site).preview()
    assert plan.strategy == "dump"
    assert words in plan.why
    assert "inside the pause" in plan.why
    assert plan.touches == ()


@pytest.fixture(scope="module")
def meagre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server as a distribution ships it."""
    place = tmp_path_factory.mktemp("meagre")
    with PostgresServer(place, majors()[0], settings={"wal_level": "replica"}) as server:
        yield server


def test_preview_with_a_low_wal_level(
    meagre: PostgresServer, servers: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    """A dump is offered, and what a stream would need."""
    site = Site.make(meagre, servers[1], tmp_path, schema=SCHEMA)
    plan = carrier(site).preview()
    assert plan.strategy == "dump"
    assert "wal_level = logical and one restart" in plan.why


def test_slots_that_are_used_up(site: Site) -> None:
    """Refused before anything is changed, with what helps."""
    with feed.brief(site.old) as conn:
        made = []
        with suppress(psycopg.errors.ConfigurationLimitExceeded):
            for number in range(100):
                conn.execute("select pg_create_physical_replication_slot(%s)", (f"x{number}",))
                made.append(f"x{number}")
        try:
            plan = carrier(site).preview()
            assert [problem.code for problem in plan.problems] == ["replication-slots-used-up"]
            assert "max_replication_slots" in plan.problems[0].next
            with pytest.raises(Failed) as caught:
                carrier(site).back_up(Doing())
            assert caught.value.code == "replication-slots-used-up"
        finally:
            for name in made:
                slots.drop(conn, name)
    assert site.traces() == []


def test_a_role_without_the_right(site: Site) -> None:
    """Its name and the statement that helps are told."""
    weak = replace(site.old, admin=site.old.user, admin_password=site.old.password)
    plan = PostgresCarrier("app", weak, site.new, site.directory / "a", TAG).preview()
    helping = [p.next for p in plan.problems if p.code.endswith("right-missing")]
    assert any("ALTER ROLE" in words for words in helping), plan.problems


def test_a_server_that_is_away(site: Site) -> None:
    """A preview refuses with the reason."""
    away = replace(site.new, address=replace(site.new.address, port=1))
    plan = PostgresCarrier("app", site.old, away, site.directory / "a", TAG).preview()
    assert [problem.code for problem in plan.problems] == ["database-unreachable"]


def test_a_new_place_that_is_in_use(site: Site) -> None:
    """Somebody's data is never touched."""
    site.new_server.create(site.new.database, user="somebody")
    site.on_new("create table public.mine (id int)")
    plan = carrier(site).preview()
    assert "new-place-in-use" in [problem.code for problem in plan.problems]
    assert site.on_new("select count(*) from public.mine") == [(0,)]
