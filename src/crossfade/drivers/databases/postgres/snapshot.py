"""One moment of a database, seen by many sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, one, run
from crossfade.model import Endpoint

__all__ = ["exported_snapshot", "use_snapshot"]


def use_snapshot(conn: Conn, snapshot: str | None) -> None:
    """Begin a read-only transaction in ``conn``, at an exported snapshot where one is given.

    The session must not be in a transaction yet.  Raises psycopg.Error.
    """
    if conn.autocommit:
        run(conn, "begin isolation level repeatable read read only")
    else:
        run(conn, "set transaction isolation level repeatable read, read only")
    if snapshot is not None:
        run(conn, sql.SQL("set transaction snapshot {}").format(sql.Literal(snapshot)))


@contextlib.contextmanager
def exported_snapshot(endpoint: Endpoint) -> Iterator[str]:
    """The name of a snapshot of now; it can be used as long as the context lasts."""
    with explained("take a snapshot", endpoint), connect(endpoint) as conn:
        run(conn, "begin isolation level repeatable read read only")
        yield str(one(conn, "select pg_export_snapshot()"))
