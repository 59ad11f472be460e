"""One server's changes to one database, taken from its binary log and applied to another server.

Nothing is made on the server that is followed.  Whoever follows may die at any moment: the next
one goes on from the position that was committed together with the last changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from zlib import crc32

from crossfade.drivers.databases.mysql.apply import Applier
from crossfade.drivers.databases.mysql.binlog import (
    Commit,
    Event,
    Log,
    Lost,
    Position,
    Query,
    Rows,
    current_position,
)
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    cut_off,
    explained,
    quietly_close,
)
from crossfade.drivers.databases.mysql.statements import concerns, judge, truncated
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Feed", "Names", "Truncated", "count_changes"]

_AGAIN = 0.3
_AWAY = ("database-unreachable", "database-connection-lost", "database-connections-used-up")


@dataclass(frozen=True, slots=True)
class Names:
    """What an attempt's things are called on the servers: the databases with the positions."""

    feed: str
    back: str

    @classmethod
    def of(cls, tag: str, database: str) -> Names:
        """The names for one database (the old side's name of it) of the upgrade ``tag``."""
        base = f"{tag}_{crc32(database.encode()) & 0xFFFF:04x}"
        return cls(f"{base}_feed", f"{base}_back")


@dataclass(frozen=True, slots=True)
class Truncated:
    """A table was emptied."""

    table: str


Taken = Callable[[Rows | Truncated], None]
OnDdl = Callable[[Query], None]


class Feed:
    """Follows ``source`` and applies to ``target``, whose position stands in database ``place``.

    tables (and sequences) are those that are followed.  Each change that is read is given to
    ``take``, perhaps more than once; ddl is asked about every other statement in the database, and
    raises Failed where following must end.  since is from where ``take`` needs to know."""

    def __init__(
        self,
        source: Endpoint,
        target: Endpoint,
        place: str,
        tables: Collection[str],
        *,
        take: Taken,
        ddl: OnDdl,
        since: Position,
    ) -> None:
        self.source, self.target = source, target
        self.applier = Applier(target, place)
        self._tables = frozenset(tables)
        self._take, self._ddl = take, ddl
        self._log = Log(source, since)
        self._taken = since
        self._place: Position | None = None
        self._conn: Conn | None = None

    def position(self, *, patience: float) -> Position:
        """Where the source's log ends now, through a restart of that server.  Raises Failed."""
        deadline = time.monotonic() + patience
        while True:
            try:
                with explained("read the binary log's position", self.source):
                    if self._conn is None:
                        self._conn = connect(self.source, database="", read_timeout=30)
                    found = current_position(self._conn)
            except Failed as error:
                quietly_close(self._conn)
                self._conn = None
                if error.code not in _AWAY or time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN)
            else:
                if found is None:
                    raise Failed(
                        "binary-log-off", "The server logs no changes.", where=str(self.source)
                    )
                return found

    def follow(self, upto: Position, *, patience: float) -> None:
        """Apply everything up to ``upto``, through broken connections.  Raises Failed."""
        deadline = time.monotonic() + patience
        while True:
            left = max(0.1, deadline - time.monotonic())
            try:
                with explained("apply what changed", self.target):
                    self._follow(upto, left)
            except (Lost, Failed) as error:
                self.pause()
                again = isinstance(error, Lost) or error.code in (
                    *_AWAY,
                    "database-lock-timeout",
                    "database-deadlock",
                )
                if again and time.monotonic() < deadline:
                    time.sleep(_AGAIN)
                    continue
                if isinstance(error, Failed):
                    raise
                raise Failed(
                    "database-connection-lost",
                    f"The changes cannot be read: {error}.",
                    where=str(self.source),
                ) from None
            else:
                return

    def cut_off(self) -> None:
        """Break the sessions that read the position and apply, under a thread that waits."""
        for conn in (self._conn, self.applier.conn):
            cut_off(conn)

    def pause(self) -> None:
        """Close all connections; following goes on by itself when it is asked to."""
        self._log.close()
        self.applier.close()
        quietly_close(self._conn)
        self._conn = self._place = None

    def _follow(self, upto: Position, patience: float) -> None:
        if self._place is None:
            self._place = self.applier.begin()
            self._log.begin(min(self._place, self._taken))
        if self._log.at < upto:
            for event in self._log.read(upto, patience=patience):
                self._one(event, self._place)
            self.applier.settle(upto)
        self._place = max(self._place, upto)
        self._taken = max(self._taken, upto)

    def _one(self, event: Event, place: Position) -> None:
        fresh = event.at > place
        if isinstance(event, Rows):
            if event.database == self.source.database and event.table in self._tables:
                self._take(event)
                if fresh:
                    self.applier.rows(event, self._log.format)
            elif event.last:
                self.applier.end_statement(self._log.format)
        elif isinstance(event, Commit):
            if event.undone and self.applier.inside:
                raise Failed(
                    "changes-not-readable",
                    "The binary log has a transaction that was undone in part.",
                    where=f"{self.source}, binary log {event.at}",
                )
            self.applier.end_statement(self._log.format)
            self.applier.commit(event.at)
        else:
            self._statement(event, fresh=fresh)

    def _statement(self, event: Query, *, fresh: bool) -> None:
        kind = judge(event.statement)
        if kind == "savepoint":
            if fresh and self.applier.inside:
                self.applier.say(event.statement, self._log.format)
            return
        if kind == "harmless" or not concerns(event, self.source.database):
            return
        if kind == "rows":
            raise Failed(
                "changes-by-statement",
                "A session changes rows in the binary log's statement format"
                f" ({' '.join(event.statement.split()[:3])} ...), which cannot be proven equal;"
                " let it log as ROW (connect anew after SET GLOBAL binlog_format).",
                where=f"{self.source}, binary log {event.at}",
            )
        table = truncated(event, self.source.database) if kind == "truncate" else None
        if table is not None and table not in self._tables:
            return
        if table is None:
            self._ddl(event)
            return
        self._take(Truncated(table))
        if fresh:
            self.applier.truncate(table, self._log.format)


def count_changes(source: Endpoint, since: Position, upto: Position, *, patience: float) -> int:
    """How many changes to the database were logged between two places.  Raises Failed."""
    log = Log(source, since)
    try:
        return sum(_changes(event, source.database) for event in log.read(upto, patience=patience))
    except Lost as error:
        raise Failed(
            "database-connection-lost",
            f"The changes cannot be read: {error}.",
            where=str(source),
        ) from None
    finally:
        log.close()


def _changes(event: Event, database: str) -> bool:
    if isinstance(event, Rows):
        return event.database == database
    if isinstance(event, Commit) or judge(event.statement) in ("harmless", "savepoint"):
        return False
    return concerns(event, database)
