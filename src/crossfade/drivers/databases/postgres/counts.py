"""Counts rows on both sides, in the pause: what changed unseen may show there.

Only as many tables as are read quickly, the smallest first; the others are told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.following import Following
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.model import Finding

__all__ = ["prove"]

_BYTES = 64 * 1024**2
_AT_ONCE = 8 * 1024**2
_SECONDS = 0.15
_TABLES = 1000
_TRIES = 5


def prove(
    name: str, following: Following, tables: Sequence[Table], *, still: bool, patience: float
) -> Finding:
    """The tables of database ``name`` that were counted, and those that differ.

    When the old side works on, tables that changed since the snapshot may differ.  Raises Failed,
    psycopg.Error.
    """
    old, new = following.on_old(), following.on_new()
    sizes = _cheapest(old, tables)
    few: list[Table] = []
    differing: list[str] = []
    for attempt in range(1 if still else _TRIES):
        if attempt:
            time.sleep(0.02 * attempt)
            following.round(patience=patience)
        few, wrong = _differing(old, new, sizes)
        if not still:
            wrong = [one for one in wrong if not any(following.proof.counted(_name(one[0])))]
        differing = [f"{table} ({here} and {there})" for table, here, there in wrong]
        if not differing:
            break
    size = sum(sizes[table] for table in few) / 1024**2
    seen = f"{len(few)} of {len(tables)} tables counted, {size:.0f} MB"
    if len(few) < len(tables):
        seen += "; the larger ones by their changed rows only"
    if differing:
        seen += "; differs in " + ", ".join(differing[:5])
    claim = f"tables of database {name} have as many rows on both sides"
    return Finding(claim, "the same numbers", seen, "count(*) on both sides", not differing)


def _cheapest(conn: Conn, tables: Sequence[Table]) -> dict[Table, int]:
    """The smallest tables, the smallest first, and their bytes: those that are worth a try."""
    known = {table.oid: table for table in tables}
    rows = fetch(
        conn,
        "select oid, pg_catalog.pg_relation_size(oid) from unnest(%s::oid[]) oid order by 2, 1"
        " limit %s",
        (list(known), _TABLES),
    )
    few: dict[Table, int] = {}
    size = 0
    for oid, pages in rows:
        size += pages or 0
        if pages is None or size > _BYTES:
            break
        few[known[oid]] = pages
    return few


def _differing(
    old: Conn, new: Conn, sizes: Mapping[Table, int]
) -> tuple[list[Table], list[tuple[Table, int, int]]]:
    """The tables that were counted while there was time, and those that differ, with both numbers.

    A slow server counts fewer: this is inside the pause.
    """
    counted: list[Table] = []
    wrong: list[tuple[Table, int, int]] = []
    began = time.monotonic()
    for few in _portions(sizes):
        at = time.monotonic()
        wrong += _count(old, new, few)
        counted += few
        now = time.monotonic()
        if now - began + (now - at) > _SECONDS:
            break
    return counted, wrong


def _portions(sizes: Mapping[Table, int]) -> Iterator[list[Table]]:
    few: list[Table] = []
    size = 0
    for table, pages in sizes.items():
        if few and size + pages > _AT_ONCE:
            yield few
            few, size = [], 0
        few.append(table)
        size += pages
    if few:
        yield few


def _count(old: Conn, new: Conn, tables: Sequence[Table]) -> list[tuple[Table, int, int]]:
    """Those that have not as many rows on both sides; one statement for each side."""
    counts = [sql.SQL("(select count(*) from only {})").format(table.sql) for table in tables]
    query = sql.SQL("select array[{}]").format(sql.SQL(", ").join(counts))
    with ThreadPoolExecutor(1) as beside:
        theirs = beside.submit(fetch, old, query)
        here = fetch(new, query)[0][0]
        there = theirs.result()[0][0]
    both = zip(tables, there, here, strict=True)
    return [(table, one, other) for table, one, other in both if one != other]


def _name(table: Table) -> tuple[str, str]:
    return table.schema, table.name
