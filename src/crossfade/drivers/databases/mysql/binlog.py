"""Reads a server's binary log over the wire, as a replica would.

Nothing is made or kept on the server for it, so a reader that dies leaves nothing behind.  One
connection lasts from the snapshot to the proof: a server notes each new one in its error log.
"""

from __future__ import annotations

import secrets
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from crossfade.drivers.databases.mysql.connect import Conn, connect, fetch, quietly_close, run
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "Commit",
    "Event",
    "Log",
    "Lost",
    "Position",
    "Query",
    "Rows",
    "current_position",
    "lenenc",
    "unzipped",
]

_QUERY, _ROTATE, _FORMAT, _XID, _TABLE, _HEARTBEAT, _XA_PREPARE = 2, 4, 15, 16, 19, 27, 38
_ROWS = {23: "insert", 24: "update", 25: "delete", 30: "insert", 31: "update", 32: "delete"}
_COMPRESSED = {166: 23, 167: 24, 168: 25, 169: 30, 170: 31, 171: 32}
_QUERY_COMPRESSED = 165
_UNREADABLE = {
    _XA_PREPARE: "a prepared (XA) transaction",
    39: "a partial JSON update",
    40: "a compressed transaction",
}
_HEARTBEATS = 2  # seconds
_NO_SUCH_PLACE = 1236
_GONE = (2006, 2013, 1927, 1053, 1317)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a server's binary log; later places are greater."""

    number: int
    offset: int
    file: str

    @classmethod
    def of(cls, file: str, offset: int) -> Position:
        """From the names that the server uses; files count upwards by their ending."""
        return cls(int(file.rpartition(".")[2]), offset, file)

    @classmethod
    def parse(cls, written: str) -> Position:
        """Read what ``str`` gave."""
        file, _, offset = written.rpartition(":")
        return cls.of(file, int(offset))

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that was logged as such: DDL, or changes by a statement."""

    at: Position
    database: str
    statement: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction ended; ``undone`` when its changes count for nothing."""

    at: Position
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table that were changed by one statement; ``body`` begins at the columns.

    raw is the event as it came, map the one that says which table it is of; last says that the
    statement ends with it."""

    at: Position
    what: str
    database: str
    table: str
    types: bytes
    metadata: bytes
    body: bytes
    zipped: bool
    raw: bytes
    map: bytes
    last: bool


Event = Query | Rows | Commit


class Lost(Exception):
    """The connection to the log is gone; another one may do."""


@dataclass(frozen=True, slots=True)
class _Table:
    database: str
    name: str
    types: bytes
    metadata: bytes
    raw: bytes


def current_position(conn: Conn) -> Position | None:
    """Where the next change will be logged; None when the server logs nothing.

    Raises pymysql.MySQLError."""
    for statement in ("show master status", "show binary log status"):
        try:
            rows = fetch(conn, statement)
        except pymysql.err.ProgrammingError:  # each server knows only one of the names
            continue
        return Position.of(str(rows[0][0]), int(rows[0][1])) if rows else None
    return None


class Log:
    """The binary log of one server from ``since`` on, over one lasting connection.

    format is the server's description of its events, which comes before all others."""

    def __init__(self, endpoint: Endpoint, since: Position) -> None:
        self.endpoint, self.at = endpoint, since
        self.format = b""
        self._conn: Any = None
        self._sums = False
        self._tables: dict[bytes, _Table] = {}

    def read(self, upto: Position, *, patience: float) -> Iterator[Event]:
        """Statements and changed rows up to ``upto``, where a transaction must end.

        Raises Lost, after which reading begins again with ``begin``; and Failed:
        ``changes-not-kept`` when the server has removed that part of its log."""
        deadline = time.monotonic() + patience
        while self.at < upto:
            if time.monotonic() > deadline:
                raise Failed(
                    "changes-not-read",
                    f"The binary log was not read up to {upto} within {patience:.0f} s"
                    f" (only up to {self.at}).",
                    where=str(self.endpoint),
                )
            try:
                if self._conn is None:
                    self._open()
                event = self._event(self._next())
            except (OSError, pymysql.MySQLError) as error:
                self.close()
                raise self._explained(error) from None
            if event is not None:
                yield event

    def begin(self, at: Position) -> None:
        """Read from here on with another connection; ``at`` must be a transaction's end."""
        self.close()
        self.at = at

    def close(self) -> None:
        """End the connection; fine when there is none."""
        quietly_close(self._conn)
        self._conn = None

    def probe(self) -> None:
        """Try whether the log can be read at all.  Raises Failed."""
        try:
            self._open()
            self._next()
        except (OSError, pymysql.MySQLError) as error:
            found = self._explained(error)
            if isinstance(found, Failed):
                raise found from None
            raise Failed(
                "database-connection-lost", f"The binary log cannot be read: {found}."
            ) from None
        finally:
            self.close()

    def _open(self) -> None:
        conn = connect(self.endpoint, database="", read_timeout=10 * _HEARTBEATS)
        self._conn, self._tables, self._sums = conn, {}, False
        period = _HEARTBEATS * 10**9
        run(conn, "set @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'")
        run(conn, "set @mariadb_slave_capability = 4, @slave_connect_state = null")
        run(conn, f"set @master_heartbeat_period = {period}, @source_heartbeat_period = {period}")
        ours = secrets.randbelow(1 << 30) + (1 << 30)
        order = struct.pack("<IHI", self.at.offset, 0, ours) + self.at.file.encode()
        self._conn._execute_command(COMMAND.COM_BINLOG_DUMP, order)

    def _explained(self, error: OSError | pymysql.MySQLError) -> Lost | Failed:
        number = error.args[0] if error.args else 0
        words = (str(error.args[-1] if error.args else error).splitlines() or [""])[0].rstrip(".")
        if isinstance(error, (OSError, pymysql.err.InterfaceError)) or number in _GONE:
            return Lost(words)
        gone = number == _NO_SUCH_PLACE and ("find" in words or "purged" in words)
        return Failed(
            "changes-not-kept" if gone else "changes-not-readable",
            f"The changes in the binary log cannot be read: {words} ({number}).",
            where=f"{self.endpoint}, binary log {self.at}",
        )

    def _next(self) -> bytes:
        """The next event, without its first byte.  Raises OSError, MySQLError."""
        data: bytes = self._conn._read_packet().get_all_data()
        if data[:1] == b"\xfe" and len(data) < 9:
            raise ConnectionResetError("the server ended the log")
        return data[1:]

    def _event(self, data: bytes) -> Event | None:
        kind, offset, made_up = data[4], int.from_bytes(data[13:17], "little"), not any(data[:4])
        if kind == _HEARTBEAT:
            return None
        if kind == _ROTATE and (made_up or not offset):  # the real one is always followed by one
            # Only the first one of a connection, before the format is known, has no checksum.
            file = data[27:-4] if self._sums else data[27:]
            self.at = Position.of(file.decode(), int.from_bytes(data[19:27], "little"))
            return None
        if kind == _FORMAT:
            self.format, self._sums = data, data[-5] == 1
        body = data[19:-4] if self._sums else data[19:]
        if offset:  # 0 for what is made up for the reader
            self.at = Position.of(self.at.file, offset)
        if kind == _TABLE:
            self._tables[body[:6]] = _table(body, data)
        elif kind in _ROWS or kind in _COMPRESSED:
            return self._rows(kind, body, data)
        elif kind in (_QUERY, _QUERY_COMPRESSED):
            return _query(body, self.at, kind == _QUERY_COMPRESSED)
        elif kind == _XID:
            return Commit(self.at)
        elif kind in _UNREADABLE:
            raise Failed(
                "changes-not-readable",
                f"The binary log has {_UNREADABLE[kind]}, which Crossfade does not follow.",
                where=f"{self.endpoint}, binary log {self.at}",
            )
        return None

    def _rows(self, kind: int, body: bytes, raw: bytes) -> Rows | None:
        last = bool(body[6] & 1)
        table = self._tables.get(body[:6])
        if table is None:
            if last and len(body) <= 12:
                return None  # only ends a statement
            raise Failed(
                "changes-not-readable",
                "The binary log has changed rows of a table that it does not name.",
                where=f"{self.endpoint}, binary log {self.at}",
            )
        kind, zipped = _COMPRESSED.get(kind, kind), kind in _COMPRESSED
        start = 8 + (int.from_bytes(body[8:10], "little") if kind >= 30 else 0)
        return Rows(
            self.at,
            _ROWS[kind],
            table.database,
            table.name,
            table.types,
            table.metadata,
            body[start:],
            zipped,
            raw,
            table.raw,
            last,
        )


def _table(body: bytes, raw: bytes) -> _Table:
    position = 8
    length = body[position]
    database = body[position + 1 : position + 1 + length].decode("utf-8", "surrogateescape")
    position += length + 2
    length = body[position]
    name = body[position + 1 : position + 1 + length].decode("utf-8", "surrogateescape")
    position += length + 2
    count, position = lenenc(body, position)
    types = body[position : position + count]
    size, position = lenenc(body, position + count)
    return _Table(database, name, types, body[position : position + size], raw)


def _query(body: bytes, at: Position, zipped: bool) -> Query | Commit | None:
    name_length = body[8]
    status_length = int.from_bytes(body[11:13], "little")
    start = 13 + status_length
    database = body[start : start + name_length].decode("utf-8", "replace")
    statement = body[start + name_length + 1 :]
    if zipped:
        statement = unzipped(statement)
    words = statement.decode("utf-8", "replace").strip()
    if words.upper() == "BEGIN":
        return None
    if words.upper() in ("COMMIT", "ROLLBACK"):
        return Commit(at, undone=words.upper() == "ROLLBACK")
    return Query(at, database, words)


def unzipped(data: bytes) -> bytes:
    """What MariaDB's ``log_bin_compress`` made smaller."""
    return zlib.decompress(data[1 + (data[0] & 7) :])


def lenenc(data: bytes, position: int) -> tuple[int, int]:
    """A length-encoded number and where what follows it begins."""
    first = data[position]
    if first < 251:
        return first, position + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(data[position + 1 : position + 1 + size], "little"), position + 1 + size
