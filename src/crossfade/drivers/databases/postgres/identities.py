"""Replica identities: by what the feed finds a row, set where a table has no primary key.

Setting one needs the table for itself for a moment; that is tried again and again with a wait too
short to be felt by those who would have to queue behind us.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, Query, fetch, one, run
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.drivers.databases.postgres.lookups import SMALL
from crossfade.errors import Failed

__all__ = [
    "by_whole_rows",
    "choice",
    "give_back",
    "note",
    "restore_copy",
    "set_for_feed",
    "touches",
    "with_short_locks",
]

Identity = tuple[str, str]
"""``default``, ``nothing``, ``full`` or ``index``, and for the last one the index's name."""
_NAMED = 5
_LOCK = 0.25
_TRIES_FOR = 30.0


def choice(table: Table) -> Identity | None:
    """What to set for the feed; None when the table can be followed as it is."""
    whole = table.identity == "full"
    if table.key or (whole and (not table.keys or table.bytes <= SMALL)):
        return None
    return ("index", table.keys[0].index) if table.keys else ("full", "")


def by_whole_rows(table: Table) -> bool:
    """Whether it will be followed by whole rows, for want of a key."""
    by = choice(table)
    return by == ("full", "") or (by is None and table.identity == "full")


def touches(tables: Sequence[Table]) -> tuple[str, ...]:
    """In sentences, the tables whose identity will be set for as long as the feed lasts: one
    sentence for those that get a unique index, one for those that get whole rows."""
    found: dict[str, list[str]] = {}
    for table in tables:
        if by := choice(table):
            found.setdefault("a unique index" if by[1] else "whole rows (FULL)", []).append(
                str(table)
            )
    return tuple(
        f"replica identity of {len(names)} tables: {what} while they are followed"
        f" ({', '.join(names[:_NAMED])}{', …' if names[_NAMED:] else ''})"
        for what, names in found.items()
    )


def note(conn: Conn, publication: str, tables: Sequence[Table]) -> None:
    """Write into the publication's comment what the identities are that will be changed."""
    before = [
        [table.oid, (table.identity, table.identity_index), by]
        for table in tables
        if (by := choice(table))
    ]
    text = "crossfade " + json.dumps({"identities": before}, ensure_ascii=False)
    comment = sql.SQL("comment on publication {} is {}")
    run(conn, comment.format(sql.Identifier(publication), sql.Literal(text)))


def set_for_feed(conn: Conn, tables: Sequence[Table]) -> None:
    """Set the identity of every table that needs it.  Raises Failed, psycopg.Error."""
    for table in tables:
        by = choice(table)
        if by and _now(conn, table.oid)[1] != by:
            _set(conn, table.sql, by, str(table))


def give_back(conn: Conn, publication: str) -> list[str]:
    """Set the identities to what they were before, as far as they are still what we made them.

    The tables leave the publication first: without an identity their UPDATEs would fail.
    """
    text = one(
        conn,
        "select pg_catalog.obj_description(oid, 'pg_publication')"
        " from pg_catalog.pg_publication where pubname = %s",
        (publication,),
    )
    given = []
    for oid, before, by in _noted(text or ""):
        name, now = _now(conn, oid)
        if name is None:
            continue
        _leave(conn, publication, oid, name)
        if now == by:
            _set(conn, sql.Identifier(*name), before, ".".join(name))
            given.append(f"replica identity of table {'.'.join(name)}")
    return given


def restore_copy(new: Conn, tables: Sequence[Table]) -> None:
    """Give the new side's tables, which nobody uses yet, what the old side's had before."""
    alters = [
        _alter(table.sql, (table.identity, table.identity_index))
        for table in tables
        if choice(table)
    ]
    if alters:
        run(new, sql.SQL("; ").join(alters))


def with_short_locks(conn: Conn, statement: Query, doing: str) -> None:
    """Run a statement that needs locks; try again while others hold them.  Raises Failed."""
    deadline = time.monotonic() + _TRIES_FOR
    while True:
        try:
            with conn.transaction():
                run(conn, "select set_config('lock_timeout', %s, true)", (f"{_LOCK * 1000:.0f}",))
                run(conn, statement)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > deadline:
                raise Failed(
                    "table-locked",
                    f"Crossfade could not {doing}: others held locks for {_TRIES_FOR:.0f} s.",
                ) from None
            time.sleep(_LOCK)
        else:
            return


def _noted(text: str) -> list[tuple[int, Identity, Identity]]:
    kind, _, data = text.partition(" ")
    if kind != "crossfade":
        return []
    try:
        noted = json.loads(data)["identities"]
        return [(int(oid), (str(b[0]), str(b[1])), (str(f[0]), str(f[1]))) for oid, b, f in noted]
    except (ValueError, KeyError, TypeError, IndexError):
        return []


def _now(conn: Conn, oid: int) -> tuple[tuple[str, str] | None, Identity]:
    """Schema and name of the table, and its identity."""
    rows = fetch(
        conn,
        "select n.nspname, c.relname, case c.relreplident when 'd' then 'default' when 'f' then"
        " 'full' when 'i' then 'index' else 'nothing' end, coalesce((select i.relname from"
        " pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid"
        " where x.indrelid = c.oid and x.indisreplident and c.relreplident = 'i'), '')"
        " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        " where c.oid = %s",
        (oid,),
    )
    if not rows:
        return None, ("", "")
    schema, name, kind, index = rows[0]
    return (schema, name), (kind, index)


def _set(conn: Conn, table: sql.Identifier, to: Identity, words: str) -> None:
    with_short_locks(conn, _alter(table, to), f"set the replica identity of table {words}")


def _alter(table: sql.Identifier, to: Identity) -> sql.Composed:
    kind, index = to
    ways = {"full": sql.SQL("full"), "default": sql.SQL("default"), "nothing": sql.SQL("nothing")}
    way = ways.get(kind) or sql.SQL("using index {}").format(sql.Identifier(index))
    return sql.SQL("alter table only {} replica identity {}").format(table, way)


def _leave(conn: Conn, publication: str, oid: int, name: tuple[str, str]) -> None:
    member = one(
        conn,
        "select 1 from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p"
        " on p.oid = r.prpubid where pubname = %s and prrelid = %s",
        (publication, oid),
    )
    if member:
        statement = sql.SQL("alter publication {} drop table only {}").format(
            sql.Identifier(publication), sql.Identifier(*name)
        )
        with_short_locks(conn, statement, f"take table {'.'.join(name)} out of the publication")
