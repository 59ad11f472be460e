"""Digests of tables: the same for the same rows everywhere, another one for any difference."""

# ruff: noqa: S608 - statements of a test

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.postgres.copying import Copy

from crossfade.drivers.databases.postgres import digests
from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.digests import digest_one, digest_tables
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.drivers.databases.postgres.snapshot import exported_snapshot
from crossfade.model import Digest
from crossfade.testing.servers import PostgresServer, majors

Servers = Callable[..., PostgresServer]

TABLE = """
create type public."Mood é" as enum ('a', 'b');
create domain public.key as bigint;
create table public."T ""x" (
  id public.key primary key, i int, s smallint, big bigint, n numeric, f float8, r real,
  t text, v varchar(9), c char(4), b bytea, yes boolean, d date, ts timestamp, tz timestamptz,
  u uuid, ip inet, j json, jb jsonb, m public."Mood é", arr int[], mm public."Mood é"[],
  iv interval, gone text, twice int generated always as (i * 2) stored);
alter table public."T ""x" drop column gone;
insert into public."T ""x"
select g, g, g, g, g, g, g, 't' || g, 'v' || g, 'c', '\\x01', true, '2020-01-01', '2020-01-01',
  '2020-01-01+00', md5(g::text)::uuid, '10.0.0.1', '{"a":1}', '{"a":1}', 'a', '{1,2}', '{a}',
  '1 day'
from generate_series(1, 20) g;
"""

CHANGES = [
    "set i = i + 1",
    "set i = null",
    "set s = -s",
    "set big = big | (1::bigint << 40)",
    "set big = 4294967296 + big",
    "set n = n + 0.000001",
    "set f = 'NaN'",
    "set r = r + 0.5",
    "set t = t || ' '",
    "set t = upper(t)",
    "set t = ''",
    "set t = null",
    "set v = t, t = v",
    "set c = 'd'",
    "set b = '\\x0100'",
    "set b = null",
    "set yes = false",
    "set d = 'infinity'",
    "set d = d + 1",
    "set ts = ts + interval '1 microsecond'",
    "set tz = tz + interval '1 hour'",
    "set u = null",
    "set ip = '10.0.0.1/8'",
    "set j = '{\"a\": 1}'",
    "set jb = '{\"a\": 2}'",
    "set m = 'b'",
    "set arr = '{{1,2}}'",
    "set arr = '[0:1]={1,2}'",
    "set mm = '{b}'",
    "set iv = '24 hours'",
]


@pytest.fixture
def copy(server_of: Servers, tmp_path: Path) -> Copy:
    """A database with one table of many types."""
    return Copy.of(server_of(15), server_of(15), tmp_path, TABLE)


def digest(copy: Copy) -> Digest:
    """The digest of the old database."""
    return digest_tables(copy.old, copy.inventory().with_data)


def test_every_difference_is_seen(copy: Copy) -> None:
    """One value of one row, in any type: another digest; undone: the same again."""
    with connect(copy.old, autocommit=False) as conn:
        (table,) = inspect(conn).with_data
        before = digest_one(conn, table)
        assert before.count == 20
        for change in CHANGES:
            conn.execute("savepoint here")
            conn.execute(f'update public."T ""x" {change} where id = 7'.encode())
            assert digest_one(conn, table) != before, change
            conn.execute("rollback to here")
            assert digest_one(conn, table) == before, change


def test_rows_that_are_there_twice_are_seen(copy: Copy) -> None:
    """Two more equal rows do not cancel each other, as they would with xor."""
    copy.on_old("create table public.plain (a int, b text)")
    copy.on_old("insert into public.plain values (1, 'x'), (2, 'y'), (2, 'y')")
    before = digest(copy)
    copy.on_old("update public.plain set a = 1, b = 'x' where a = 2")
    assert before.differences(digest(copy)) == ("public.plain",)


def test_values_that_change_places_are_seen(copy: Copy) -> None:
    """Two rows that swap one value are other rows."""
    copy.on_old("create table public.plain (a int, b text)")
    copy.on_old("insert into public.plain values (1, 'x'), (2, 'y')")
    before = digest(copy)
    copy.on_old("update public.plain set b = case b when 'x' then 'y' else 'x' end")
    assert before.differences(digest(copy)) == ("public.plain",)


def test_all_versions_agree(server_of: Servers, tmp_path: Path) -> None:
    """The same rows have the same digest on every major that is here."""
    seen = {
        major: digest(Copy.of(server_of(major), server_of(major), tmp_path, TABLE))
        for major in majors()
    }
    assert len(seen) > 1
    assert len(set(map(str, seen.values()))) == 1


def test_a_row_of_a_thousand_columns_has_a_digest(copy: Copy) -> None:
    """The expression does not nest deeper than the server's stack allows."""
    columns = ", ".join(f"c{n} int" for n in range(1000))
    copy.on_old(f"create table public.wide ({columns})")
    copy.on_old("insert into public.wide default values")
    before = digest(copy)
    copy.on_old("update public.wide set c777 = 1")
    assert before.differences(digest(copy)) == ("public.wide",)


def test_text_that_compares_equal_but_is_not_is_seen(copy: Copy) -> None:
    """A collation without determinism, or a type that ignores case, hides nothing."""
    copy.on_old(
        "create collation public.folded (provider = icu, locale = 'und-u-ks-level2',"
        " deterministic = false);"
        " create extension citext schema public;"
        " create table public.folds (a text collate public.folded, b public.citext);"
        " insert into public.folds values ('x', 'y')"
    )
    for column in "ab":
        before = digest(copy)
        copy.on_old(f"update public.folds set {column} = upper({column}::text)")
        assert before.differences(digest(copy)) == ("public.folds",)


def test_a_value_of_many_megabytes_has_a_digest(copy: Copy) -> None:
    """Large values are hashed without a copy of them, and a change in their midst is seen."""
    copy.on_old("create table public.large (b bytea)")
    copy.on_old("insert into public.large values (decode(repeat('ab', 30000000), 'hex'))")
    before = digest(copy)
    copy.on_old("update public.large set b = overlay(b placing '\\x00' from 15000000)")
    assert before.differences(digest(copy)) == ("public.large",)


def test_children_are_not_counted_with_their_parents(copy: Copy) -> None:
    """Each table of an inheritance stands for its own rows."""
    copy.on_old(
        "create table public.base (a int); create table public.heir () inherits (public.base)"
    )
    copy.on_old("insert into public.base values (1); insert into public.heir values (2), (3)")
    parts = digest(copy).parts
    assert (parts["public.base"].count, parts["public.heir"].count) == (1, 2)


def test_names_with_dots_are_kept_apart(copy: Copy) -> None:
    """``"a.b".c`` is another table than ``a."b.c"``."""
    copy.on_old(
        'create schema "a.b"; create schema a;'
        ' create table "a.b".c (x int); create table a."b.c" (x int);'
        ' insert into "a.b".c values (1)'
    )
    parts = digest(copy).parts
    assert (parts['"a.b".c'].count, parts['a."b.c"'].count) == (1, 0)


def test_the_digest_is_of_the_snapshot(copy: Copy) -> None:
    """What is committed later does not count."""
    with connect(copy.old) as conn:
        tables = inspect(conn).with_data
    before = digest_tables(copy.old, tables)
    with exported_snapshot(copy.old) as snapshot:
        copy.on_old('delete from public."T ""x"')
        assert digest_tables(copy.old, tables, snapshot=snapshot) == before
    assert digest_tables(copy.old, tables).count == 0


def test_gently_it_is_the_same(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, also of a table that has grown since it was looked at."""
    monkeypatch.setattr(digests, "_PAGES", 2)
    copy.on_old("create table large as select g, repeat('x', 300) from generate_series(1, 900) g")
    copy.on_old("create table nothing (x int)")
    copy.on_old("vacuum large")
    with connect(copy.old) as conn:
        tables = inspect(conn).with_data
    copy.on_old("insert into large select g, repeat('y', 300) from generate_series(1, 900) g")
    pace = Pace(rate=1e12)
    found = digest_tables(copy.old, tables, pace=pace)
    assert found == digest_tables(copy.old, tables)
    assert found.parts["public.large"].count == 1800
