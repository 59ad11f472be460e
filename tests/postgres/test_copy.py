"""The base copy: every row of one snapshot, in any encoding, however large, or a clear error."""

# ruff: noqa: S608 - statements of a test

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.postgres.copying import Copy
from tests.postgres.feeding import TAG, until

from crossfade.drivers.databases.postgres import copying
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.copying import copy_out, pieces
from crossfade.drivers.databases.postgres.database import PostgresDatabase
from crossfade.drivers.databases.postgres.pace import Pace, pace_of
from crossfade.drivers.databases.postgres.place import look, remove_database, unmark
from crossfade.drivers.databases.postgres.snapshot import exported_snapshot
from crossfade.errors import Failed
from crossfade.testing.servers import PostgresServer

Servers = Callable[..., PostgresServer]

ROWS = """
create table public.large (id int primary key, t text not null, n numeric);
insert into public.large
select g, repeat(md5(g::text), 5), g / 7.0 from generate_series(1, 30000) g;
create table public.child (id int primary key, large int references public.large);
insert into public.child select g, g from generate_series(1, 100) g;
create table public."Leer é" (a int);
"""


@pytest.fixture
def make(server_of: Servers, tmp_path: Path) -> Callable[..., Copy]:
    """``make(*statements)`` is an old database on one server, and a place on another."""
    return lambda *statements, **given: Copy.of(
        server_of(15), server_of(15, "new"), tmp_path, *(statements or (ROWS,)), **given
    )


def test_the_copy_is_the_snapshot(make: Callable[..., Copy]) -> None:
    """What is committed after the snapshot is not in the copy, and the copy is whole."""
    copy = make()
    base = copy.base()
    with exported_snapshot(copy.old) as snapshot:
        copy.on_old("delete from public.child; update public.large set n = 0")
        base.prepare(snapshot, copy.on)
        base.copy(snapshot, copy.on)
        base.finish(copy.on)
        old, fingerprint = base.digest_old(snapshot)
    assert old == base.digest_new()
    assert fingerprint == copy.inventory().facts["schema"]
    assert copy.on_new("select count(*), max(n) > 0 from public.large") == [(30000, True)]
    assert base.copied is not None
    assert base.copied.bytes > 30000 * 160


@pytest.mark.parametrize("jobs", [1, 4])
def test_large_tables_are_copied_in_pieces(
    make: Callable[..., Copy], monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """With several workers a table is split by its blocks, and no row is lost or doubled."""
    monkeypatch.setattr(copying, "_SPLIT_BYTES", 1 << 20)
    monkeypatch.setattr(copying, "_SMALL", 1 << 16)
    copy = make()
    copy.on_old("delete from public.large where id % 3 = 0 and id > 100")
    split = [piece for piece in pieces(copy.inventory(), jobs) if not piece.whole]
    assert (len(split) > 3) == (jobs == 4)
    old, new = copy.run(jobs=jobs)
    assert old == new
    assert old.parts["public.large"].count == 20033


def test_rows_come_frozen(make: Callable[..., Copy]) -> None:
    """The first reader and the vacuum of the new side have nothing to write."""
    copy = make()
    copy.run()
    copy.on_new("create extension pg_visibility schema public")
    seen = copy.on_new(
        "select all_visible, all_frozen from public.pg_visibility_map_summary('large')"
    )
    pages = copy.on_new("select pg_relation_size('public.large') / 8192")
    assert seen == [(pages[0][0], pages[0][0])]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_bytes_are_as_they_were_in_any_encoding(make: Callable[..., Copy], encoding: str) -> None:
    """Nothing is recoded, in small and large tables, in text and in binary."""
    copy = make(
        "create type public.mood as enum ('x');"
        " create table public.t (a text); create table public.u (m public.mood[], a text)",
        options=f"encoding '{encoding}' locale 'C' template template0",
        name="plain",
    )
    for table, rows in (("t", 20), ("u", 20000)):
        copy.on_old(  # é in LATIN1, or half a Japanese character; not UTF-8 either way
            f"insert into public.{table} (a) select convert_from('\\xe9a4', '{encoding}')"
            f" || repeat('x', 50) from generate_series(1, {rows})"
        )
    old, new = copy.run()
    assert old == new
    raw = "select distinct left(encode(textsend(a), 'hex'), 4) = 'e9a4' from public.t"
    with connect(copy.new) as conn:
        conn.execute(b"set client_encoding to " + encoding.encode())
        assert conn.execute(raw.encode()).fetchall() == [(True,)]
    assert copy.inventory().encoding == encoding


def test_binary_only_where_it_means_the_same(make: Callable[..., Copy]) -> None:
    """Object ids and extensions' own formats go as text; all else in binary."""
    copy = make(
        "create type public.mood as enum ('x'); create domain public.num as int;"
        " create type public.pair as (a int, b public.mood);"
        " create type public.span as range (subtype = public.mood);"
        " create extension hstore schema public;"
        " create table public.b1 (a int, b jsonb, c text[], d public.mood, e public.num,"
        "   f int4range);"
        " create table public.t1 (a regclass); create table public.t2 (a public.mood[]);"
        " create table public.t3 (a public.pair); create table public.t4 (a public.hstore);"
        " create table public.t5 (a regtype[]); create table public.t6 (a public.span);"
        " create table public.t7 (a aclitem)"
    )
    for table in copy.inventory().with_data:
        statement = copy_out(copying.Piece(table)).as_string(None)
        assert ("binary" in statement) == (table.name == "b1"), statement
    copy.on_old(
        "insert into public.t1 values ('public.t1'); insert into public.t3 values ('(1,x)')"
    )
    copy.on_old("insert into public.t4 values ('a=>1'); insert into public.t6 values ('[x,x]')")
    old, new = copy.run()
    assert old == new


def test_a_place_that_is_in_use_is_not_touched(make: Callable[..., Copy]) -> None:
    """Somebody's database, or one of an earlier upgrade, is refused; an empty one is filled."""
    copy = make()
    name = '"' + copy.new.database.replace('"', '""') + '"'
    copy.new_server.sql(f"create database {name}")
    assert look(copy.new, TAG) == "empty"
    copy.on_new("create table public.precious (a int)")
    assert look(copy.new, TAG) == "in use"
    with pytest.raises(Failed) as caught:
        copy.base().prepare(None, copy.on)
    assert caught.value.code == "new-place-in-use"
    copy.on_new("drop table public.precious")
    old, new = copy.run()
    assert old == new
    assert look(copy.new, TAG) == "ours"
    assert look(copy.new, "crossfade_ffffffffff") == "in use"
    old, new = copy.run()  # ours is replaced
    assert old == new
    unmark(copy.new)
    assert look(copy.new, TAG) == "in use"
    with pytest.raises(Failed) as caught:
        remove_database(copy.new)
    assert caught.value.code == "new-place-in-use"
    assert copy.on_new("select count(*) from public.child") == [(100,)]


def test_an_empty_place_of_another_encoding_is_refused(make: Callable[..., Copy]) -> None:
    """Text would be ordered, or kept, in another way."""
    copy = make()
    name = '"' + copy.new.database.replace('"', '""') + '"'
    copy.new_server.sql(
        f"create database {name} encoding 'SQL_ASCII' locale 'C' template template0"
    )
    with pytest.raises(Failed) as caught:
        copy.base().prepare(None, copy.on)
    assert caught.value.code == "database-encoding-differs"


def test_roles_are_made_once_and_removed_with_the_database(make: Callable[..., Copy]) -> None:
    """A role that the new server has keeps its password; one that we made goes with the copy."""
    copy = make("create table public.t (a int); create role \"Mine é\" login password 'x'")
    copy.old_server.sql("create role shared login password 'old'")
    copy.new_server.sql("create role shared login password 'new'")
    copy.on_old('alter table public.t owner to "Mine é"; grant select on public.t to shared')
    password = "select rolpassword from pg_authid where rolname = 'shared'"
    before = copy.new_server.sql(password)
    copy.run()
    copy.run()
    verifier = "select rolpassword from pg_authid where rolname = 'Mine é'"
    assert copy.old_server.sql(verifier) == copy.new_server.sql(verifier) != []
    assert copy.new_server.sql(password) == before
    removed = remove_database(copy.new)
    assert "role Mine é" in removed
    assert copy.new_server.sql(verifier) == []
    assert copy.new_server.sql(password) == before
    assert remove_database(copy.new) == []


def test_old_and_new_in_one_server(server_of: Servers, tmp_path: Path) -> None:
    """Two databases of one server: roles are there already, nothing is in the way."""
    copy = Copy.of(server_of(15), server_of(15), tmp_path, ROWS)
    old, new = copy.run()
    assert old == new
    PostgresDatabase("app", copy.new).remove()
    assert copy.on_old("select count(*) from public.large") == [(30000,)]


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_session_that_is_cut_fails_the_copy(make: Callable[..., Copy], side: str) -> None:
    """Half a table is never committed, and the error says what happened."""
    copy = make()
    server = copy.old_server if side == "old" else copy.new_server
    # more than what the network between them holds, and slow enough to be met in the midst
    copy.on_old("update public.large set t = t || repeat('x', 1000)")
    base = copy.base(rate=500_000)
    caught: list[BaseException] = []

    def work() -> None:
        with exported_snapshot(copy.old) as snapshot:
            base.prepare(snapshot, copy.on)
            try:
                base.copy(snapshot, copy.on)
            except Failed as error:
                caught.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    cut = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where query ilike 'copy%large%' and state = 'active' and pid <> pg_backend_pid()"
    )
    until(lambda: server.sql(cut)[0][0] > 0)
    worker.join(60)
    assert not worker.is_alive()
    (error,) = caught
    assert isinstance(error, Failed)
    assert "public.large" in error.what
    assert copy.on_new("select count(*) from public.large") == [(0,)]
    old, new = copy.run()  # and again, from the beginning
    assert old == new


def test_an_error_while_indexes_are_built_is_not_ignored(make: Callable[..., Copy]) -> None:
    """What pg_restore complains of fails, with its words."""
    copy = make()
    base = copy.base()
    with exported_snapshot(copy.old) as snapshot:
        base.prepare(snapshot, copy.on)
        base.copy(snapshot, copy.on)
    copy.on_new("insert into public.large select * from public.large where id = 5")
    with pytest.raises(Failed, match="large_pkey"):
        base.finish(copy.on)


def test_a_fixed_rate_makes_the_streams_rest(make: Callable[..., Copy]) -> None:
    """The operator's rate is kept over all streams together."""
    copy = make()
    base = copy.base(rate=4e6)
    with exported_snapshot(copy.old) as snapshot:
        base.prepare(snapshot, copy.on)
        base.copy(snapshot, copy.on)
    assert base.copied is not None
    assert base.copied.seconds > 0.8 * base.copied.bytes / 4e6 - 0.5
    assert base.copied.rested > 0.1


def test_the_pace_bends_to_slow_commits() -> None:
    """Slower commits make the copy rest more and more; quick ones let it go on at full speed."""
    pace = Pace()
    pace.others = True
    pace.judge(0.001, 0.0025)
    pace.judge(0.010, 0.019)
    assert pace.duty == 1.0
    for _ in range(30):
        pace.judge(0.001, 0.050)
    assert pace.duty == pytest.approx(0.1)
    pace.spent(1 << 20, 0.001)
    assert pace.rested > 0
    for _ in range(60):
        pace.judge(0.001, 0.001)
    assert pace.duty == 1.0


def test_nobody_is_waited_for_where_nobody_is() -> None:
    """Slow commits of a server that only we use are our own."""
    pace = Pace()
    for _ in range(30):
        pace.judge(0.001, 0.050)
    assert pace.duty == 1.0


def test_others_are_seen(make: Callable[..., Copy]) -> None:
    """Who did something lately; not who is only connected, and not ourselves."""
    copy = make()
    with connect(copy.old, as_app=True, application_name="an app") as app:
        time.sleep(1.2)
        with connect(copy.old) as ours, pace_of(copy.old, None) as pace:
            ours.execute("select 1")
            time.sleep(0.3)
            assert not pace.gentle
            app.execute("select 1")
            until(lambda: pace.gentle)


def test_without_a_rate_the_old_server_is_watched(make: Callable[..., Copy]) -> None:
    """The default copies at a pace that looks at the old server, and gets done."""
    old, new = make().run(rate=None)
    assert old == new
