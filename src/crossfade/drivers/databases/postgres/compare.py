"""Compares some rows of a table, or all of it, on both sides.

Rows are hashed as text: any type has one, and it is the same on every server.  What is compared is
how many rows there are for each key and the sum of their hashes, so a key need not be unique.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from psycopg import sql

from crossfade.drivers.databases.postgres.changes import Changed, Key
from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.inventory import Table

__all__ = ["rows_differ", "whole_differs"]

_ROWS = 2_000
_BY_INDEX = (
    "set local enable_seqscan = off; set local enable_hashjoin = off;"
    " set local enable_mergejoin = off; set local jit = off"
)
_BY_SCAN = "set local enable_nestloop = off; set local jit = off"


def rows_differ(
    other: ThreadPoolExecutor, old: Conn, new: Conn, table: Table, changed: Changed
) -> dict[Key, None]:
    """Those of the keys whose rows are not the same on both sides.  Raises psycopg.Error.

    Without an index both tables are read whole, once for every two thousand keys.
    """
    setting = _BY_INDEX if table.keys or table.lookup else _BY_SCAN
    unequal: dict[Key, None] = {}
    for absent, keys in _by_nulls(changed.keys):
        query = _query(table, changed.columns, absent)
        present = [i for i in range(len(absent)) if not absent[i]]
        for few in _few(keys):
            numbered: list[list[Any]] = [list(range(len(few)))]
            numbered += [[key[i] for key in few] for i in present]
            there = other.submit(_found, old, query, numbered, setting)
            here = _found(new, query, numbered, setting)
            olds = there.result()
            unequal.update((key, None) for n, key in enumerate(few) if olds.get(n) != here.get(n))
    return unequal


def whole_differs(other: ThreadPoolExecutor, old: Conn, new: Conn, table: Table) -> bool:
    """Whether the tables differ as a whole.  Raises psycopg.Error."""
    query = sql.SQL(
        "select count(*), coalesce(sum(h::numeric), 0) from (select {} h from only {} t) x"
    ).format(_row(table), table.sql)
    there = other.submit(fetch, old, query)
    return fetch(new, query) != there.result()


def _row(table: Table) -> sql.Composed:
    """A hash of all of a row's data."""
    columns = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in table.data_columns]
    return sql.SQL('pg_catalog.hashtextextended(row({})::text collate pg_catalog."C", 0)').format(
        sql.SQL(", ").join(columns)
    )


def _query(table: Table, columns: Sequence[str], absent: Sequence[bool]) -> sql.Composed:
    """Number of a key, number of its rows, sum of their hashes; nulls are no parameters.

    An index serves ``=`` and ``is null``, but not ``is not distinct from``.
    """
    types = {column.name: column.type for column in table.columns}
    given = [sql.SQL("n")]
    arrays: list[sql.Composable] = [sql.SQL("unnest(%s::int4[])")]
    matches: list[sql.Composable] = []
    for number, (name, null) in enumerate(zip(columns, absent, strict=True)):
        column = sql.SQL("t.{}").format(sql.Identifier(name))
        if null:
            matches.append(sql.SQL("{} is null").format(column))
            continue
        key = sql.SQL(f"k{number}")
        given.append(key)
        arrays.append(sql.SQL("unnest(%s::text[])"))
        matches.append(sql.SQL("{} = k.{}::{}").format(column, key, sql.SQL(types[name])))
    return sql.SQL(
        "select n, count(*), sum(h::numeric) from ("
        "select k.n, {} h from rows from ({}) as k({}) join only {} t on {}) x group by n"
    ).format(
        _row(table),
        sql.SQL(", ").join(arrays),
        sql.SQL(", ").join(given),
        table.sql,
        sql.SQL(" and ").join(matches),
    )


def _found(
    conn: Conn, query: sql.Composed, values: list[list[Any]], setting: str
) -> dict[int, tuple[Any, ...]]:
    """Run it so that a few rows are looked up by an index if there is one, whatever the statistics
    say."""
    with conn.transaction():
        conn.execute(setting.encode())
        return {row[0]: tuple(row[1:]) for row in fetch(conn, query, values)}


def _by_nulls(keys: Iterable[Key]) -> Iterator[tuple[tuple[bool, ...], list[Key]]]:
    """The keys, by which of their columns are null."""
    found: dict[tuple[bool, ...], list[Key]] = defaultdict(list)
    for key in keys:
        found[tuple(value is None for value in key)].append(key)
    yield from found.items()


def _few(keys: list[Key]) -> Iterator[list[Key]]:
    for begin in range(0, len(keys), _ROWS):
        yield keys[begin : begin + _ROWS]
