"""Counts rows on both sides, in the pause: what changed unseen may show there.

Only as many tables as are read quickly, the smallest first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.following import Following
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.model import Finding

__all__ = ["prove"]

_BYTES = 64 * 1024**2
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
    few, size = _cheapest(old, tables)
    differing: list[str] = []
    for attempt in range(1 if still else _TRIES):
        if attempt:
            time.sleep(0.02 * attempt)
            following.round(patience=patience)
        wrong = _differing(old, new, few)
        if not still:
            wrong = [one for one in wrong if not any(following.proof.counted(_name(one[0])))]
        differing = [f"{table} ({here} and {there})" for table, here, there in wrong]
        if not differing:
            break
    seen = f"{len(few)} of {len(tables)} tables counted, {size / 1024**2:.0f} MB"
    if len(few) < len(tables):
        seen += "; the larger ones by their changed rows only"
    if differing:
        seen += "; differs in " + ", ".join(differing[:5])
    claim = f"tables of database {name} have as many rows on both sides"
    return Finding(claim, "the same numbers", seen, "count(*) on both sides", not differing)


def _cheapest(conn: Conn, tables: Sequence[Table]) -> tuple[list[Table], int]:
    """The smallest tables, as many as can be read quickly, and the bytes of all of them."""
    known = {table.oid: table for table in tables}
    rows = fetch(
        conn,
        "select oid, pg_catalog.pg_relation_size(oid) from unnest(%s::oid[]) oid order by 2, 1"
        " limit %s",
        (list(known), _TABLES),
    )
    few: list[Table] = []
    size = 0
    for oid, pages in rows:
        if pages is None or size + pages > _BYTES:
            break
        few.append(known[oid])
        size += pages
    return few, size


def _differing(old: Conn, new: Conn, tables: Sequence[Table]) -> list[tuple[Table, int, int]]:
    if not tables:
        return []
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
