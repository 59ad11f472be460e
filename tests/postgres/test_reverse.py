"""The reverse feed: every write of the new side on the old one, or a plain word that it is not."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.fence import Fence, lift
from crossfade.drivers.databases.postgres.fence_proof import prove
from crossfade.drivers.databases.postgres.reverse import ReverseFeed
from crossfade.model import Address, Endpoint
from crossfade.ports import Progress
from crossfade.testing.servers import PostgresServer, majors

SETTINGS = {"wal_level": "logical", "wal_retrieve_retry_interval": "200ms"}
OLD = """
create schema "Größe";
create table "Größe"."no""tes" ("Id" int primary key, "Wört" varchar(40), twice int
  generated always as ("Id" * 2) stored);
create table tokens (token text primary key);
create table by_index (a int not null, b int not null, v text, unique (a, b));
create table no_key (v text);
create table part (id int primary key, v text) partition by range (id);
create table part_1 partition of part for values from (0) to (1000);
create table part_2 partition of part for values from (1000) to (2000);
create table migrations (version int primary key);
create sequence numbers;
insert into "Größe"."no""tes" select g, 'word ' || g from generate_series(1, 50) g;
insert into part select g, 'x' from generate_series(1, 1500, 100) g;
insert into no_key values ('a'), ('a'), ('b');
insert into by_index values (1, 1, 'x'), (2, 2, 'y');
insert into migrations values (1);
"""
MIGRATION = """
alter table "Größe"."no""tes" add column tenant text not null default 'default',
  alter column "Wört" type text;
alter table part add column extra int not null default 7;
alter table by_index add column more text;
create table only_new (id int primary key);
insert into migrations values (2);
"""
NEWER = majors()[-1]


class Silent:
    """A step that measures and tells nothing."""

    def timed(self, name: str) -> AbstractContextManager[None]:
        """Nothing is measured."""
        assert name
        return nullcontext()

    def tell(self, text: str) -> None:
        """Nothing is told."""

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """No bar."""
        yield lambda _done, _all: None


@dataclass
class Sides:
    """Two databases as they stand at the end of a cutover: equal, old fenced, new migrated."""

    old_server: PostgresServer
    new_server: PostgresServer
    old: Endpoint
    new: Endpoint
    back: ReverseFeed

    def on_new(self, text: str) -> list[tuple[object, ...]]:
        """Run SQL on the new side."""
        return self.new_server.sql(text, database="Ä pp")

    def on_old(self, text: str) -> list[tuple[object, ...]]:
        """Run SQL on the old side."""
        return self.old_server.sql(text, database="Ä pp")


@pytest.fixture(scope="module", params=[NEWER])
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """An old server (15) and a new one: the newest that this machine has."""
    place = tmp_path_factory.mktemp("reverse")
    with ExitStack() as stack:
        old = stack.enter_context(PostgresServer(place / "old", 15, settings=SETTINGS))
        new = stack.enter_context(PostgresServer(place / "new", request.param, settings=SETTINGS))
        yield old, new


@pytest.fixture
def sides(servers: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> Iterator[Sides]:
    """Fresh databases for each test; afterwards nothing of ours may be left."""
    old, new = servers
    here, there = (server.create("Ä pp", user="app") for server in servers)
    for server in servers:
        server.sql(OLD, database="Ä pp")
    new.sql(MIGRATION, database="Ä pp")
    with connect(here) as conn:
        found = inspect(conn)
    tables = [table for table in found.tables if table.name != "migrations"]
    back = ReverseFeed(here, there, "crossfade_t1", tables, tmp_path, sequences=found.sequences)
    yield Sides(old, new, here, there, back)
    back.let_go()
    lift(here)
    left = []
    for server in servers:
        left += server.sql("select slot_name from pg_replication_slots")
        left += server.sql("select subname from pg_subscription")
        left += server.sql("select rolname from pg_roles where rolname like 'crossfade%'")
        left += server.sql("select pubname from pg_publication", database="Ä pp")
        left += server.sql(
            "select relname, relreplident from pg_class"
            " where relkind = 'r' and relreplident <> 'd' and oid >= 16384",
            database="Ä pp",
        )
        server.sql('drop database "Ä pp" with (force)')
    assert left == []


def begin(sides: Sides) -> None:
    """What a cutover does around its commit point."""
    fence = Fence.take(sides.old)
    [finding] = sides.back.prepare()
    assert finding.holds
    assert "slot" in finding.observed, finding
    fence.keep()
    sides.back.start()


def wait_until(what: str, seen: object, deadline: float = 40.0) -> None:
    """Poll until ``seen()`` is true."""
    assert callable(seen)
    end = time.monotonic() + deadline
    while not seen():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Writer:
    """Writes to the new side in several ways and remembers what was acknowledged."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(2)]

    def run(self, number: int) -> None:
        """Insert a token and change some rows in one transaction, until stopped."""
        with self.sides.new_server.connect("Ä pp", autocommit=False) as conn:
            count = 0
            while not self.stopping.is_set():
                count += 1
                token = f"{number}-{count}"
                row = number * 100 + count % 40 + 1
                conn.execute("insert into tokens values (%s)", (token,))
                conn.execute(
                    'insert into "Größe"."no""tes" ("Id", "Wört") values (%s, %s)'
                    ' on conflict ("Id") do update set "Wört" = excluded."Wört"',
                    (row, f"ä {token}"),
                )
                conn.execute("update part set v = %s where id = %s", (token, 1 + 100 * number))
                conn.execute("update by_index set v = %s where a = 1", (token,))
                conn.execute("insert into no_key values (%s)", (token,))
                conn.execute("delete from no_key where v = %s", (f"{number}-{count - 3}",))
                conn.execute("select nextval('numbers')")
                conn.execute("insert into only_new values (%s)", (number * 1000000 + count,))
                conn.commit()
                self.acknowledged.append(token)

    def __enter__(self) -> Writer:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("servers", sorted({15, NEWER}), indirect=True)
def test_going_back_loses_no_acknowledged_write(sides: Sides, tmp_path: Path) -> None:
    """The new side has more columns and tables, and is written to from the first moment on."""
    assert sides.back.possible() == ""
    fence = Fence.take(sides.old)
    assert sides.back.prepare()[0].holds
    fence.keep()
    with Writer(sides) as writer:
        wait_until("writes before the feed starts", lambda: len(writer.acknowledged) > 20)
        assert sides.back.state().lossless
        sides.back.start()
        begun = len(writer.acknowledged)
        wait_until("writes while it follows", lambda: len(writer.acknowledged) > begun + 100)
        sides.on_new("truncate no_key")
    assert prove(sides.old).holds
    findings, left = sides.back.bring_back(Silent(), tmp_path / "left")
    assert all(finding.holds for finding in findings), findings
    assert left == 0
    on_old = {str(token) for (token,) in sides.on_old("select token from tokens")}
    assert set(writer.acknowledged) <= on_old
    columns = {
        '"Größe"."no""tes"': '"Id", "Wört"',
        "part": "id, v",
        "by_index": "a, b, v",
        "no_key": "v",
    }
    for table, names in columns.items():
        query = f"select {names} from {table} order by {names}"  # noqa: S608 - ours
        assert sides.on_old(query) == sides.on_new(query), table
    assert sides.on_old("select nextval('numbers')") > sides.on_new(
        "select last_value from numbers"
    )
    sides.on_old("insert into tokens values ('free again')")
    assert not prove(sides.old).holds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('alter table "Größe"."no""tes" rename "Wört" to "Wort"', "column Wört of table"),
        ("alter table by_index drop column v", "column v of table public.by_index is gone"),
        ("alter table tokens rename to tickets", "table public.tokens is gone or renamed"),
        ("alter table no_key alter v type int using 1", "was text and is integer"),
        (
            "alter table tokens drop constraint tokens_pkey, add column t int default 1,"
            " add primary key (token, t)",
            "the key of table public.tokens is another one",
        ),
        ("alter table no_key add column more int", "has no key"),
        ("alter table tokens set unlogged", "cannot be followed"),
        (
            "alter table by_index drop column v,"
            " add column v text generated always as ('x') stored",
            "is generated",
        ),
    ],
)
def test_a_change_that_cannot_go_back_is_named(sides: Sides, change: str, words: str) -> None:
    """Before the switch, and without a failure: going back then has another price."""
    sides.on_new(change)
    assert words in sides.back.possible()
    [finding] = sides.back.prepare()
    assert finding.holds
    assert words in finding.observed
    sides.back.start()
    state = sides.back.state()
    assert not state.lossless
    assert words in state.words


@pytest.mark.parametrize(
    "change",
    [
        "alter table by_index alter a type bigint",
        "alter table tokens add column seen timestamptz not null default now()",
        "alter table by_index drop constraint by_index_a_b_key, add primary key (a, b)",
    ],
)
def test_a_change_that_can_go_back_does(sides: Sides, change: str, tmp_path: Path) -> None:
    """A wider type, another column, a key that became the primary one."""
    sides.on_new(change)
    begin(sides)
    sides.on_new("insert into tokens values ('one')")
    sides.on_new("update by_index set v = 'changed' where a = 2")
    sides.on_new("delete from by_index where a = 1")
    findings, left = sides.back.bring_back(Silent(), tmp_path / "left")
    assert all(finding.holds for finding in findings), findings
    assert left == 0
    assert sides.on_old("select a, b, v from by_index") == [(2, 2, "changed")]


def test_a_feed_that_stops_is_told_and_may_recover(sides: Sides) -> None:
    """A value that the old column cannot hold stops the feed; without it the feed goes on."""
    begin(sides)
    sides.on_new("insert into tokens values ('before')")
    wait_until("it follows", lambda: sides.on_old("select 1 from tokens"))
    state = sides.back.state()
    assert state.lossless, state
    sides.on_new("""insert into "Größe"."no""tes" values (1000, repeat('x', 41))""")
    wait_until("it is told", lambda: not sides.back.state().lossless)
    for _ in range(20):
        assert not sides.back.state().lossless
        time.sleep(0.05)
    with connect(sides.old) as conn:  # as an operator would
        conn.execute('alter table "Größe"."no""tes" alter "Wört" type varchar(50)')
    wait_until("it goes on", lambda: sides.back.state().lossless)


def test_a_feed_that_does_not_deliver_leaves_all_as_it_is(sides: Sides, tmp_path: Path) -> None:
    """Going back fails in words; the new side can go on, and nothing was removed."""
    begin(sides)
    sides.on_new("insert into tokens values ('one')")
    wait_until("it follows", lambda: sides.on_old("select 1 from tokens"))
    with connect(sides.old) as conn:
        conn.execute("alter table public.tokens disable trigger all")
        conn.execute("update public.tokens set token = 'other'")
        conn.execute("alter table public.tokens enable always trigger crossfade_fence")
    findings, left = sides.back.bring_back(Silent(), tmp_path / "left")
    wrong = [finding for finding in findings if not finding.holds]
    assert len(wrong) == 1
    assert "public.tokens (token) = one" in wrong[0].observed
    assert left == 0
    assert prove(sides.old).holds
    assert sides.back.state().lossless
    sides.on_new("insert into tokens values ('still serving')")


def test_without_the_keys_everything_is_compared(sides: Sides, tmp_path: Path) -> None:
    """The slot that tells changed keys may be given up; a difference is found all the same."""
    begin(sides)
    sides.on_new(f"select pg_drop_replication_slot('{sides.back.names.keys}')")
    sides.on_new("insert into tokens values ('one')")
    with connect(sides.old) as conn:
        conn.execute("alter table public.part disable trigger crossfade_fence")
        conn.execute("update public.part set v = 'sneaky' where id = 1")
        conn.execute("alter table public.part enable always trigger crossfade_fence")
    findings, _ = sides.back.bring_back(Silent(), tmp_path / "left")
    wrong = [finding for finding in findings if not finding.holds]
    assert [finding.observed for finding in wrong] == [
        "5 tables compared whole; differs in public.part"
    ]


def test_what_stays_behind_is_exported(sides: Sides, tmp_path: Path) -> None:
    """New, changed and deleted rows by their keys, duplicates counted; then old is free."""
    Fence.take(sides.old).keep()
    sides.on_new("insert into tokens values ('ä'), ('b')")
    sides.on_new("""update "Größe"."no""tes" set "Wört" = 'changed', tenant = 't' where "Id" = 7""")
    sides.on_new("insert into no_key values ('a')")
    sides.on_new("delete from by_index where a = 2")
    sides.on_new("insert into part values (1999, 'new')")
    sides.on_new("insert into only_new values (1)")
    assert not sides.back.state().lossless
    findings, left = sides.back.bring_back(Silent(), tmp_path / "left")
    assert all(finding.holds for finding in findings), findings
    assert left == 6
    lines = {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "left").iterdir()
    }
    assert lines == {
        "public.tokens.jsonl": [
            {"key": {"token": "b"}, "row": {"token": "b"}},
            {"key": {"token": "ä"}, "row": {"token": "ä"}},
        ],
        "Gr%C3%B6%C3%9Fe.no%22tes.jsonl": [
            {
                "key": {"Id": "7"},
                "row": {"Id": 7, "Wört": "changed", "twice": 14, "tenant": "t"},
            }
        ],
        "public.no_key.jsonl": [{"key": {"v": "a"}, "row": {"v": "a"}}],
        "public.by_index.jsonl": [{"key": {"a": "2", "b": "2"}, "deleted": True}],
        "public.part.jsonl": [{"key": {"id": "1999"}, "row": {"id": 1999, "v": "new", "extra": 7}}],
    }
    sides.on_old("insert into tokens values ('free again')")


def test_a_long_transaction_on_the_new_server_costs_the_way_back_not_the_switch(
    sides: Sides,
) -> None:
    """A slot cannot begin while somebody writes; the pause does not wait for that."""
    with sides.new_server.connect("postgres", autocommit=False) as conn:
        conn.execute("create table busy (i int)")
        [finding] = sides.back.prepare()
        assert finding.holds
        assert "no:" in finding.observed, finding
        assert not sides.back.state().lossless
        conn.rollback()
    assert sides.on_new("select 1 from pg_replication_slots") == []
    [finding] = sides.back.prepare()
    assert "slot" in finding.observed
    assert sides.back.state().lossless


def test_servers_that_are_away_are_an_answer(sides: Sides) -> None:
    """What going back costs is asked at any time."""
    begin(sides)
    away = Address("127.0.0.1", 9)
    for side in ("old", "new"):
        there = dataclasses.replace(getattr(sides, side), address=away)
        other = ReverseFeed(
            there if side == "old" else sides.old,
            there if side == "new" else sides.new,
            "crossfade_t1",
            sides.back.tables,
            sides.back.directory,
        )
        state = other.state()
        assert not state.lossless
        assert f"the {side} side" in state.words


def test_no_subscriber_but_the_feed_gets_through_a_kept_fence(sides: Sides) -> None:
    """The feed's TRUNCATE does; a person's, even a superuser's, does not."""
    begin(sides)
    sides.on_new("truncate tokens, no_key")
    wait_until("the feed empties the table", lambda: not sides.on_old("select 1 from no_key"))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        sides.on_old("truncate tokens")
    assert prove(sides.old).holds


def test_a_worker_that_applies_waits_for_the_locks(sides: Sides) -> None:
    """Whatever is replicated into the old side stands still while its fence is held."""
    begin(sides)
    sides.on_new("insert into tokens values ('one')")
    wait_until("it follows", lambda: sides.on_old("select 1 from tokens"))
    with closing(Fence.take(sides.old)):
        sides.on_new("insert into tokens values ('two')")
        waiting = (
            "select 1 from pg_stat_activity where backend_type like 'logical replication%'"
            " and wait_event_type = 'Lock'"
        )
        wait_until("the worker waits", lambda: sides.on_old(waiting))
        assert sides.on_old("select count(*) from tokens") == [(1,)]
    wait_until("it goes on", lambda: sides.on_old("select count(*) from tokens") == [(2,)])


def test_large_objects_do_not_come_back(sides: Sides) -> None:
    """Replication does not know them, so the way back is not free of loss."""
    sides.on_new("select lo_from_bytea(0, 'large')")
    assert sides.back.possible() == "large objects cannot be followed"
    assert "large objects" in sides.back.prepare()[0].observed
