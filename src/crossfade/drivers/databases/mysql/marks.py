"""A mark of the old database after the fence: it changes with every write to this database.

Where the server keeps a binary log, its events since the fence are read and those of this database
are counted; others' writes on the same server do not count.  Else every row is digested.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from crossfade.drivers.databases.mysql.binlog import (
    Event,
    Log,
    Lost,
    Position,
    Query,
    Rows,
    current_position,
)
from crossfade.drivers.databases.mysql.connect import connect, explained, quietly_close
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.errors import Failed

if TYPE_CHECKING:
    from crossfade.drivers.databases.mysql.database import MysqlDatabase

__all__ = ["mark"]

_NOTHING = re.compile(r"\s*(begin|commit|rollback|savepoint|release|xa |analyze)", re.IGNORECASE)


def mark(database: MysqlDatabase, state: Remembered, attempt: str) -> str:
    """The mark; the first one of an attempt notes where the fence stands.  Raises Failed."""
    where = database.where
    with explained("mark the old database", where):
        conn = connect(where, database="")
        try:
            now = current_position(conn)
        finally:
            quietly_close(conn)
        if now is None:
            return str(database.digest())
        key = f"fence {attempt}"
        noted = state.get(key)
        if noted is None:
            state.update(**{key: str(now)})
            noted = str(now)
    count, whole = 0, blake2b(digest_size=8)
    log = Log(where, Position.parse(str(noted)))
    try:
        for event in log.read(now, patience=60.0):
            if _concerns(event, where.database):
                count += 1
                whole.update(str(event.at).encode())
    except Lost as error:
        raise Failed(
            "database-connection-lost", f"The old side's mark cannot be read: {error}."
        ) from None
    finally:
        log.close()
    return f"{count} changes since {noted}" + (f" ({whole.hexdigest()})" if count else "")


def _concerns(event: Event, database: str) -> bool:
    if isinstance(event, Rows):
        return event.database == database
    if not isinstance(event, Query) or _NOTHING.match(event.statement):
        return False
    return event.database == database or database in event.statement
