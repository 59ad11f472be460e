"""Which rows changed, as a slot tells it; sequences; replica identities; the watcher of slots."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest

from crossfade.drivers.databases.postgres import (
    changes,
    feed,
    identities,
    preflight,
    sequences,
    slots,
    watch,
)
from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.changes import Changes
from crossfade.drivers.databases.postgres.connect import Conn, connect
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.drivers.databases.postgres.inventory import Sequence
from crossfade.drivers.databases.postgres.sequences import MARGIN, State, target
from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.testing.servers import PostgresServer, majors

_numbers = count()


@pytest.fixture(scope="module", params=sorted({majors()[0], majors()[-1]}))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    """A server whose changes can be followed."""
    settings = {
        "wal_level": "logical",
        "max_prepared_transactions": "5",
        "log_statement": "all",
        "log_min_duration_statement": "0",
    }
    place = tmp_path_factory.mktemp("changes")
    with PostgresServer(place, request.param, settings=settings) as running:
        yield running


@pytest.fixture
def endpoint(server: PostgresServer) -> Iterator[Endpoint]:
    """An empty database of its own, whose feed is removed afterwards."""
    where = server.create(f"Ä {next(_numbers)}", user="O'wner")
    yield where
    feed.let_go(where, names_of(where))


@pytest.fixture
def conn(endpoint: Endpoint) -> Iterator[Conn]:
    """A session in that database."""
    with closing(feed.session(endpoint)) as session:
        yield session


def names_of(endpoint: Endpoint) -> Names:
    """What things are called here."""
    return Names.of("crossfade_test", endpoint.database)


def followed(endpoint: Endpoint, conn: Conn, schema: str) -> Callable[..., Changes]:
    """Make the schema and a slot; returns what reads the changes after some statements."""
    conn.execute(schema.encode())
    names = names_of(endpoint)
    feed.publish(conn, names, inspect(conn).with_data)
    with slots.create(endpoint, names.keys, export=False, patience=20):
        pass

    def after(*statements: str, since: int = 0, at_most: int | None = None) -> Changes:
        for statement in statements:
            conn.execute(statement.encode())
        messages = changes.peek(conn, names.keys, names.feed, None, at_most)
        return changes.parse(messages, since)

    return after


def test_every_key_that_an_update_touches_is_told(endpoint: Endpoint, conn: Conn) -> None:
    """Inserted, updated, deleted, and both keys when a key itself changes."""
    after = followed(
        endpoint,
        conn,
        'create schema "Schéma 1"; create table "Schéma 1"."T ""a" ("Ä b" text, more jsonb, id int,'
        ' primary key (id, "Ä b"))',
    )
    found = after(
        "insert into \"Schéma 1\".\"T \"\"a\" values ('ü', '[]', 1), ('', null, 2), ('x', null, 3)",
        'update "Schéma 1"."T ""a" set more = \'[1]\' where id = 1',
        'update "Schéma 1"."T ""a" set id = 20 where id = 2',
        'delete from "Schéma 1"."T ""a" where id = 3',
    )
    changed = found.tables["Schéma 1", 'T "a']
    assert changed.columns == ("Ä b", "id")
    assert set(changed.keys) == {("ü", "1"), ("", "2"), ("", "20"), ("x", "3")}
    assert (changed.inserted, changed.updated, changed.deleted) == (3, 2, 1)
    assert not changed.whole


def test_a_rolled_back_change_is_none(endpoint: Endpoint, conn: Conn) -> None:
    """Transactions and savepoints that were rolled back do not appear, nor do other tables."""
    after = followed(endpoint, conn, "create table public.t (id int primary key)")
    conn.execute("create table public.later (id int primary key)")
    with suppress(ZeroDivisionError), conn.transaction():
        conn.execute("insert into public.t values (1)")
        raise ZeroDivisionError
    with conn.transaction():
        conn.execute("insert into public.t values (2)")
        with suppress(ZeroDivisionError), conn.transaction():
            conn.execute("insert into public.t values (3)")
            raise ZeroDivisionError
    found = after("insert into public.later values (1)")
    assert list(found.tables) == [("public", "t")]
    assert list(found.tables["public", "t"].keys) == [("2",)]


def test_long_keys_that_an_update_does_not_send_are_known(endpoint: Endpoint, conn: Conn) -> None:
    """A key that is stored out of line is left out of an update's row, and still told."""
    after = followed(
        endpoint,
        conn,
        "create table public.t (k text primary key, v text);"
        " alter table public.t alter k set storage external",
    )
    found = after(
        "insert into public.t values (repeat('0123456789', 250), 'a')",
        "update public.t set v = 'b'",
    )
    changed = found.tables["public", "t"]
    assert set(changed.keys) == {("0123456789" * 250,)} or changed.whole


def test_a_truncated_table_is_marked_and_later_keys_are_kept(
    endpoint: Endpoint, conn: Conn
) -> None:
    """After TRUNCATE the keys before it mean nothing any more."""
    after = followed(endpoint, conn, "create table public.t (id int primary key)")
    found = after(
        "insert into public.t values (1)", "truncate public.t", "insert into public.t values (2)"
    )
    changed = found.tables["public", "t"]
    assert changed.truncated
    assert list(changed.keys) == [("2",)]


def test_a_table_without_key_is_compared_whole(endpoint: Endpoint, conn: Conn) -> None:
    """Its replica identity is FULL, and its rows are not remembered one by one."""
    after = followed(endpoint, conn, "create table public.t (a int, b text)")
    found = after("insert into public.t values (1, 'x')", "update public.t set b = 'y'")
    changed = found.tables["public", "t"]
    assert changed.whole
    assert not changed.keys


def test_whole_rows_are_known_by_the_columns_that_are_asked_for(
    endpoint: Endpoint, conn: Conn
) -> None:
    """Of a table without a key: of new rows and of old ones, nulls too, also long values."""
    after = followed(
        endpoint,
        conn,
        "create table public.t (v text, b text, more text, a int);"
        " alter table public.t alter more set storage external",
    )
    after(
        "insert into public.t values ('x', null, repeat('z', 5000), 1), ('y', 'k', '', 2)",
        "update public.t set v = 'other' where a = 1",
        "update public.t set a = 3 where a = 2",
        "delete from public.t where a = 3",
    )
    names = names_of(endpoint)
    messages = changes.peek(conn, names.keys, names.feed, None)
    changed = changes.parse(messages, 0, {("public", "t"): ("a", "b")}).tables["public", "t"]
    assert changed.columns == ("b", "a")
    assert set(changed.keys) == {(None, "1"), ("k", "2"), ("k", "3")}
    assert (changed.inserted, changed.updated, changed.deleted) == (2, 2, 1)
    assert not changed.whole
    long = changes.parse(messages, 0, {("public", "t"): ("more",)}).tables["public", "t"]
    assert set(long.keys) == {("z" * 5000,), ("",)}
    assert not long.whole
    gone = changes.parse(messages, 0, {("public", "t"): ("a", "gone")}).tables["public", "t"]
    assert gone.whole


def test_changes_before_the_snapshot_are_not_counted(endpoint: Endpoint, conn: Conn) -> None:
    """Their keys are kept: the row has to be equal all the same."""
    after = followed(endpoint, conn, "create table public.t (id int primary key)")
    first = after("insert into public.t values (1)")
    found = after("insert into public.t values (2)", since=first.end)
    changed = found.tables["public", "t"]
    assert set(changed.keys) == {("1",), ("2",)}
    assert changed.inserted == 1


def test_reading_in_pieces_gives_whole_transactions(endpoint: Endpoint, conn: Conn) -> None:
    """A bound on the number of messages never cuts a transaction."""
    after = followed(endpoint, conn, "create table public.t (id int primary key)")
    one = after("insert into public.t select generate_series(1, 50)", at_most=3)
    assert len(one.tables["public", "t"].keys) == 50
    found = after("insert into public.t values (51)", at_most=3)
    assert len(found.tables["public", "t"].keys) == 50
    slots.advance(conn, names_of(endpoint).keys, found.end)
    assert list(after().tables["public", "t"].keys) == [("51",)]


def test_identities_are_set_and_given_back(endpoint: Endpoint, conn: Conn) -> None:
    """A unique index where there is one, else whole rows; afterwards as they were."""
    conn.execute(
        "create table public.a (x int not null unique, y int); create table public.b (x int);"
        " create table public.c (x int, y int not null, unique (y));"
        " create table public.d (x int primary key); create table public.e (x int);"
        " alter table public.e replica identity full;"
        ' create table public."full" (x int not null);'
        ' create unique index "full_index" on public."full" (x);'
        ' alter table public."full" replica identity nothing'
    )
    tables = inspect(conn).with_data
    said = identities.touches(tables)
    assert len(said) == 2
    assert any("public.b" in words and "FULL" in words for words in said)
    feed.publish(conn, names_of(endpoint), tables)
    assert identities_of(conn) == {"a": "i", "b": "f", "c": "i", "d": "d", "e": "f", "full": "i"}
    conn.execute("insert into public.b values (1); update public.b set x = 2")
    removed = feed.let_go(endpoint, names_of(endpoint))
    assert identities_of(conn) == {"a": "d", "b": "d", "c": "d", "d": "d", "e": "f", "full": "n"}
    assert "replica identity of table public.full" in removed
    assert feed.let_go(endpoint, names_of(endpoint)) == []


def identities_of(conn: Conn) -> dict[str, str]:
    """Replica identities of the tables in public."""
    rows = conn.execute(
        "select relname, relreplident from pg_class where relkind = 'r'"
        " and relnamespace = 'public'::regnamespace"
    )
    return {name: kind for name, kind in rows}  # noqa: C416


def test_an_identity_that_somebody_changed_meanwhile_stays(endpoint: Endpoint, conn: Conn) -> None:
    """We give back what we set, and nothing else; a dropped table is fine."""
    conn.execute("create table public.a (x int); create table public.b (x int)")
    feed.publish(conn, names_of(endpoint), inspect(conn).with_data)
    conn.execute("alter table public.a replica identity nothing; drop table public.b")
    feed.let_go(endpoint, names_of(endpoint))
    assert identities_of(conn) == {"a": "n"}


def test_a_table_that_is_held_does_not_make_others_wait(endpoint: Endpoint, conn: Conn) -> None:
    """Setting an identity gives way again and again; a reader behind us waits little."""
    conn.execute("create table public.b (x int)")
    with (
        closing(connect(endpoint, autocommit=False)) as holder,
        closing(connect(endpoint)) as reader,
    ):
        holder.execute("select * from public.b")
        pid = holder.info.backend_pid
        statement = psycopg.sql.SQL("alter table public.b replica identity full")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(identities, "_TRIES_FOR", 0.6)
            with pytest.raises(Failed) as caught:
                identities.with_short_locks(conn, statement, "set it")
        assert caught.value.code == "table-locked"
        reader.execute("set statement_timeout = 2000")
        reader.execute("select * from public.b")
        assert pid == holder.info.backend_pid


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ({"value": 7, "called": True}, State(7 + MARGIN, True)),
        ({"value": 7, "called": False}, State(7, False)),
        ({"value": 95, "called": True}, State(95, True)),
        (
            {"value": -7, "called": True, "increment": -2, "minimum": -200},
            State(-7 - 2 * MARGIN, True),
        ),
        ({"value": 7, "called": True, "cycle": True}, State(7, True)),
    ],
)
def test_where_a_sequence_goes_on(old: dict[str, int], expected: State) -> None:
    """A margin in its own direction, where it fits; cycles and uncalled ones as they are."""
    sequence = Sequence(
        1,
        "public",
        "s",
        "bigint",
        1,
        old.get("increment", 1),
        old.get("minimum", 1),
        100,
        bool(old.get("cycle")),
    )
    assert target(sequence, State(old["value"], bool(old["called"]))) == expected


def test_sequences_never_go_back(server: PostgresServer, endpoint: Endpoint, conn: Conn) -> None:
    """Each is set beyond the old value, or stays where it is further; also the odd names."""
    schema = (
        'create sequence public."S ""é"; create sequence public.ahead; create sequence public.fresh'
        " start 5; create sequence public.down increment -1; create sequence public.full_one"
        " maxvalue 3; create sequence public.round maxvalue 3 cycle"
    )
    conn.execute(schema.encode())
    other = server.create(f"{endpoint.database} new", user="O'wner")
    with closing(feed.session(other)) as new:
        new.execute(schema.encode())
        for name, times in (
            ('"S ""é"', 3),
            ("ahead", 1),
            ("down", 2),
            ("full_one", 3),
            ("round", 4),
        ):
            for _ in range(times):
                conn.execute(f"select nextval('public.{name}')".encode())
        new.execute("select setval('public.ahead', 1000)")
        known = inspect(conn).sequences
        finding = sequences.advance(conn, new, known, "x")
        assert finding.holds, finding
        states = sequences.read(new, known)
        again = sequences.advance(conn, new, known, "x")
    assert again.holds
    assert {str(s): states[str(s)] for s in known} == {
        next(str(s) for s in known if s.name == 'S "é'): State(3 + MARGIN, True),
        "public.ahead": State(1000, True),
        "public.fresh": State(5, False),
        "public.down": State(-2 - MARGIN, True),
        "public.full_one": State(3, True),
        "public.round": State(1, True),
    }


def test_a_stuck_transaction_ends_the_wait_for_a_slot(endpoint: Endpoint, conn: Conn) -> None:
    """The process and its age are named, and no slot is left."""
    with closing(connect(endpoint, autocommit=False, application_name="bätch job")) as stuck:
        stuck.execute("create table public.t (id int)")
        with (
            pytest.raises(Failed) as caught,
            slots.create(endpoint, names_of(endpoint).feed, export=True, patience=0.5),
        ):
            pass
        assert caught.value.code == "long-transaction"
        assert f"process {stuck.info.backend_pid}" in caught.value.what
        assert " s old" in caught.value.what
        stuck.rollback()
    assert conn.execute("select count(*) from pg_replication_slots").fetchone() == (0,)


def test_a_forgotten_prepared_transaction_is_named(endpoint: Endpoint, conn: Conn) -> None:
    """The slot waits for it as well; it is named and never touched."""
    conn.execute("create table public.t (id int primary key)")
    with closing(connect(endpoint, autocommit=False)) as session:
        session.execute("insert into public.t values (1)")
        session.execute("prepare transaction 'for''gotten'")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(preflight, "OLD_ENOUGH", 0.0)
            verdict = preflight.look_at_old(conn, inspect(conn), names_of(endpoint))
        assert [problem.code for problem in verdict.problems] == ["prepared-transaction"]
        assert "'for''gotten'" in verdict.problems[0].finding.observed
        with (
            pytest.raises(Failed) as caught,
            slots.create(endpoint, names_of(endpoint).feed, export=True, patience=0.5),
        ):
            pass
        assert "prepared transaction 'for''gotten'" in caught.value.what
        assert conn.execute("select count(*) from pg_prepared_xacts").fetchone() == (1,)
    finally:
        conn.execute("rollback prepared 'for''gotten'")


def test_the_password_of_the_role_is_nowhere(
    server: PostgresServer, endpoint: Endpoint, conn: Conn
) -> None:
    """Neither it nor its verifier is in the server's log, and nobody may read them."""
    password = feed.make_role(endpoint, names_of(endpoint))
    log = server.log.read_text(encoding="utf-8")
    assert password not in log
    assert "SCRAM-SHA-256$" not in log
    with closing(
        psycopg.connect(
            host=endpoint.address.host,
            port=endpoint.address.port,
            dbname=endpoint.database,
            user=names_of(endpoint).feed,
            password=password,
        )
    ) as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("select rolpassword from pg_authid")
        session.rollback()
        conn.execute("create table public.t (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("select * from public.t")


def test_the_watcher_outlives_us_and_gives_the_slots_up(
    endpoint: Endpoint, conn: Conn, tmp_path: Path
) -> None:
    """Beyond the limit both slots go; the reason is written down."""
    after = followed(endpoint, conn, "create table public.t (id int primary key)")
    names = names_of(endpoint)
    file = tmp_path / "watch"
    pid = watch.start(file, endpoint, (names.feed, names.keys), 2_000_000)
    assert os.getsid(pid) == pid
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["endpoint"]["admin_password"] == endpoint.admin_password
    after("insert into public.t values (1)")
    time.sleep(0.1)
    assert slots.look(conn, names.keys) is not None
    # rows below the size at which they would be compressed: 8 MB of log
    rows = "select repeat(md5(n::text), 50) from generate_series(1, 5000) n"
    conn.execute(f"create table public.big as {rows}")
    until(lambda: slots.look(conn, names.keys) is None)
    until(lambda: "limit of 2000000" in watch.given_up(file))
    ended(pid)


def test_the_watcher_ends_when_there_is_nothing_to_watch(
    endpoint: Endpoint, conn: Conn, tmp_path: Path
) -> None:
    """Without slots, or when its file is removed."""
    followed(endpoint, conn, "create table public.t (id int primary key)")
    names = names_of(endpoint)
    first = watch.start(tmp_path / "1", endpoint, (names.keys,), 10**12)
    watch.stop(tmp_path / "1")
    ended(first)
    second = watch.start(tmp_path / "2", endpoint, (names.keys,), 10**12)
    slots.drop(conn, names.keys)
    ended(second)
    assert watch.given_up(tmp_path / "2") == ""


def until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def ended(pid: int) -> None:
    """Wait until our child has ended; it is killed when it does not."""
    try:
        until(lambda: os.waitpid(pid, os.WNOHANG) != (0, 0))
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise
