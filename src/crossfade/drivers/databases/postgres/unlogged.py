"""Unlogged tables on the stream way: no log tells their changes, so they are copied in the pause.

That is done for small ones only.  Their rows are what an application can do without (a crash
empties them), so that they stay as they are on the old side when the upgrade goes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, run
from crossfade.drivers.databases.postgres.digests import digest_one
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.drivers.databases.postgres.snapshot import use_snapshot
from crossfade.model import Digest, Endpoint, Finding

__all__ = ["carried_beside", "carry"]


@contextmanager
def carried_beside(
    name: str, old: Endpoint, new: Endpoint, tables: Sequence[Table], encoding: str
) -> Iterator[Future[list[Finding]]]:
    """``carry`` in a thread, while something else is done."""
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(carry, name, old, new, tables, encoding)


def carry(
    name: str, old: Endpoint, new: Endpoint, tables: Sequence[Table], encoding: str
) -> list[Finding]:
    """Make the tables of the new side what they are on the old one now, and compare them.

    The old side may go on: it is read at one moment.  encoding is the old database's.
    Raises Failed."""
    if not tables:
        return []
    with connect(old) as reader, connect(new) as writer:
        with explained("read the unlogged tables", old):
            use_snapshot(reader, None)
        with explained("copy the unlogged tables", new), writer.transaction():
            # no triggers and no order of foreign keys; they hold on the old side
            run(writer, "set local session_replication_role = replica")
            every = sql.SQL(", ").join(sql.SQL("only {}").format(t.sql) for t in tables)
            run(writer, sql.SQL("truncate {}").format(every))
            for table in tables:
                _copy(reader, writer, table, encoding)
        with explained("compare the unlogged tables", f"{old} and {new}"):
            here, there = (
                Digest({str(table): digest_one(conn, table) for table in tables})
                for conn in (reader, writer)
            )
    return [Finding.same(f"unlogged tables of database {name}", here, there)]


def _copy(reader: Conn, writer: Conn, table: Table, encoding: str) -> None:
    names = sql.SQL(", ").join(sql.Identifier(column) for column in table.data_columns)
    form = sql.SQL("(encoding {})").format(sql.Literal(encoding))
    source = sql.SQL("copy (select {} from only {}) to stdout {}").format(names, table.sql, form)
    columns = sql.SQL("({})").format(names) if table.data_columns else sql.SQL("")
    target = sql.SQL("copy {} {} from stdin {}").format(table.sql, columns, form)
    with reader.cursor().copy(source) as out, writer.cursor().copy(target) as into:
        for block in out:
            into.write(block)
