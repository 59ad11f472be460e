"""What would stay behind on the new side: compared with the old side, and written to files.

Rows are compared by the old side's columns, as text, so that it does not matter what a type is
called.  Both sides are read in the order of their keys, and only as far as they differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, explained, fetch
from crossfade.drivers.databases.postgres.feed import session
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.model import Endpoint

__all__ = ["Left", "counted_otherwise", "differing", "export"]

_AT_ONCE = 2000
Row = tuple[list[str | None], str, str]
"""A row's key, the hash of its columns, and where it is (ctid)."""


@dataclass(frozen=True, slots=True)
class Left:
    """How many rows of a table only the new side has (or has otherwise), and how many it lacks."""

    table: str
    newer: int
    deleted: int


def export(
    old: Endpoint, new: Endpoint, tables: Sequence[Table], there: Sequence[Table], to: Path
) -> list[Left]:
    """Write the rows that only the new side has, or has otherwise, below ``to``: JSON lines.

    tables are the old side's, there the new side's.  A table that is gone there is left out.  For
    each table that differs there is one file; each line has the key, and the row as the new side
    has it, or ``"deleted": true``.  Nobody may write meanwhile.  Raises Failed.
    """
    known = {(table.schema, table.name): table for table in there}
    left: list[Left] = []
    with session(old) as conn, session(new) as other:
        for table in tables:
            twin = known.get((table.schema, table.name))
            if twin is None or "foreign" in (table.kind, twin.kind) or table.partition:
                continue
            with explained(f"compare table {table}", f"{old} and {new}"):
                if differing(conn, other, table, twin):
                    left.append(_export(conn, other, table, twin, to))
    return left


def differing(old: Conn, new: Conn, table: Table, twin: Table) -> bool:
    """Whether the table's rows differ on the columns that both sides have."""
    query = sql.SQL("select count(*), coalesce(sum({}::numeric), 0) from {} t").format(
        _hash(_columns(table, twin)), _from(table)
    )
    with ThreadPoolExecutor(1) as beside:
        here = beside.submit(fetch, new, query)
        return bool(fetch(old, query) != here.result())


def counted_otherwise(old: Conn, new: Conn, tables: Sequence[Table]) -> list[str]:
    """The tables that have not the same number of rows on both sides."""
    wrong: list[str] = []
    for begin in range(0, len(tables), 200):
        few = tables[begin : begin + 200]
        counts = sql.SQL(", ").join(
            sql.SQL("(select count(*) from only {})").format(table.sql) for table in few
        )
        query = sql.SQL("select {}").format(counts)
        both = zip(few, *fetch(old, query), *fetch(new, query), strict=True)
        wrong += [str(table) for table, here, there in both if here != there]
    return wrong


def _export(old: Conn, new: Conn, table: Table, twin: Table, to: Path) -> Left:
    columns = _columns(table, twin)
    key = next(
        (k.columns for k in table.keys if set(k.columns) <= set(columns)),
        columns,
    )
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = to / (quote(f"{table.schema}.{table.name}", safe=" .") + ".jsonl")
    newer = deleted = 0
    with path.open("w", encoding="utf-8") as file:
        path.chmod(0o600)
        batch: list[str] = []
        for kind, row in _merged(_rows(old, table, key, columns), _rows(new, table, key, columns)):
            if kind == "gone":
                line = {"key": dict(zip(key, row[0], strict=True)), "deleted": True}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                deleted += 1
                continue
            batch.append(row[2])
            newer += 1
            if len(batch) == _AT_ONCE:
                _write(file, new, table, key, batch)
                batch = []
        _write(file, new, table, key, batch)
    return Left(str(table), newer, deleted)


def _write(file: Any, new: Conn, table: Table, key: Sequence[str], at: list[str]) -> None:
    keys = [sql.SQL("{}, t.{}::text").format(sql.Literal(n), sql.Identifier(n)) for n in key]
    pairs = sql.SQL(", ").join(keys)
    query = sql.SQL(
        "select jsonb_build_object('key', jsonb_build_object({}), 'row', to_jsonb(t))::text"
        " from unnest(%s::text[]) with ordinality a(at, n) join {} t"
        " on t.tableoid = split_part(at, ' ', 1)::oid and t.ctid = split_part(at, ' ', 2)::tid"
        " order by n"
    ).format(pairs, _from(table))
    for (line,) in fetch(new, query, (at,)):
        file.write(line + "\n")


def _rows(conn: Conn, table: Table, key: Sequence[str], columns: Sequence[str]) -> Iterator[Row]:
    """All rows in the order of their keys' text, without holding them in memory."""
    keys = sql.SQL(", ").join(
        sql.SQL('t.{}::text collate "C"').format(sql.Identifier(name)) for name in key
    )
    query = sql.SQL(
        "select array[{keys}], {hash}::text h, tableoid || ' ' || ctid from {table} t order by 1, 2"
    ).format(keys=keys, hash=_hash(columns), table=_from(table))
    with conn.transaction(), closing(psycopg.ServerCursor(conn, "crossfade_rows")) as cursor:
        cursor.itersize = _AT_ONCE
        yield from cursor.execute(query)


def _merged(old: Iterator[Row], new: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """``new`` with each row that the old side lacks or has otherwise, ``gone`` the other way."""
    one, two = next(old, None), next(new, None)
    while one is not None or two is not None:
        before = -1 if two is None else 1 if one is None else _order(one[0], two[0])
        if before < 0 and one is not None:
            yield "gone", one
            one = next(old, None)
        elif before > 0 and two is not None:
            yield "new", two
            two = next(new, None)
        elif one is not None and two is not None:
            if one[1] != two[1]:
                yield "new", two
            one, two = next(old, None), next(new, None)


def _order(one: list[str | None], two: list[str | None]) -> int:
    """As the server orders arrays of text in the C collation: null comes last."""
    for a, b in zip(one, two, strict=True):
        if a != b:
            if a is None or b is None:
                return 1 if a is None else -1
            return -1 if a.encode() < b.encode() else 1
    return 0


def _columns(table: Table, twin: Table) -> tuple[str, ...]:
    """The old side's columns that the new side still has."""
    there = {column.name for column in twin.columns}
    return tuple(name for name in table.data_columns if name in there)


def _hash(columns: Sequence[str]) -> sql.Composed:
    values = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in columns]
    return sql.SQL('hashtextextended(row({})::text collate "C", 0)').format(
        sql.SQL(", ").join(values)
    )


def _from(table: Table) -> sql.Composed:
    """The table without children that are listed for themselves; a partitioned one as a whole."""
    only = sql.SQL("" if table.kind == "partitioned" else "only ")
    return only + table.sql
