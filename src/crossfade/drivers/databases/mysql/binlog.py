"""Reads a server's binary log over the wire, as a replica would, but without waiting.

Nothing is made or kept on the server for it, so a reader that dies leaves nothing behind.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pymysql.constants import COMMAND

from crossfade.drivers.databases.mysql.connect import Conn, connect, fetch, quietly_close, run
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Event", "Position", "Query", "Rows", "current_position", "read_events"]

_QUERY, _ROTATE, _FORMAT, _TABLE = 2, 4, 15, 19
_ROWS = {23: "insert", 24: "update", 25: "delete", 30: "insert", 31: "update", 32: "delete"}
_COMPRESSED = {166: 23, 167: 24, 168: 25, 169: 30, 170: 31, 171: 32}
_QUERY_COMPRESSED, _PARTIAL_UPDATE, _PAYLOAD, _XA_PREPARE = 165, 39, 40, 38
_NON_BLOCKING = 1


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
    """A statement that was logged as such: DDL, BEGIN, or changes by a statement."""

    at: Position
    database: str
    statement: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table that were changed by one statement; ``body`` begins at the columns."""

    at: Position
    what: str
    database: str
    table: str
    types: bytes
    metadata: bytes
    body: bytes
    zipped: bool


Event = Query | Rows


def current_position(conn: Conn) -> Position | None:
    """Where the next change will be logged; None when the server logs nothing."""
    for statement in ("show binlog status", "show master status", "show binary log status"):
        try:
            rows = fetch(conn, statement)
        except Exception:  # noqa: BLE001, S112  each server knows only some of the names
            continue
        return Position.of(str(rows[0][0]), int(rows[0][1])) if rows else None
    return None


def read_events(
    endpoint: Endpoint, since: Position, until: Position | None = None
) -> Iterator[Event | Position]:
    """Statements and changed rows after ``since``, up to ``until`` or to where the log ends now.

    The last thing is the position up to which all was read.  Raises Failed
    ``changes-not-kept`` when the server has removed that part of its log."""
    conn = connect(endpoint, database="")
    try:
        run(conn, "set @master_binlog_checksum = @@global.binlog_checksum")
        run(conn, "set @mariadb_slave_capability = 4")
        run(conn, "set @slave_connect_state = null")
        raw: Any = conn
        order = struct.pack("<IHI", since.offset, _NON_BLOCKING, secrets.randbelow(1 << 31) + 9999)
        raw._execute_command(COMMAND.COM_BINLOG_DUMP, order + since.file.encode())
        yield from _events(raw, since, until, endpoint)
    finally:
        quietly_close(conn)


def _events(
    raw: Any, since: Position, until: Position | None, endpoint: Endpoint
) -> Iterator[Event | Position]:
    at, file, summed = since, since.file, 0
    tables: dict[bytes, tuple[str, str, bytes, bytes]] = {}
    while until is None or at < until:
        data = _next(raw, endpoint, at)
        if data is None:
            break
        kind, next_offset = data[4], int.from_bytes(data[13:17], "little")
        if kind == _FORMAT:
            summed = 4 if data[-5] == 1 else 0  # whether events of this file end with a CRC-32
        elif kind == _ROTATE and zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little"):
            data = data[:-4]  # the first one comes before we know
        elif kind != _ROTATE and summed:
            data = data[:-summed]
        body = data[19:]
        if kind == _ROTATE:
            file = body[8:].decode()
            at = Position.of(file, int.from_bytes(body[:8], "little"))
            continue
        if next_offset:  # 0 for what is made up for the reader
            at = Position.of(file, next_offset)
        if kind == _TABLE:
            tables[body[:6]] = _table(body)
        elif kind in _ROWS or kind in _COMPRESSED:
            yield _rows(kind, body, tables, at)
        elif kind in (_QUERY, _QUERY_COMPRESSED):
            yield _query(body, at, kind == _QUERY_COMPRESSED)
        elif kind in (_PARTIAL_UPDATE, _PAYLOAD, _XA_PREPARE):
            raise Failed(
                "changes-not-readable",
                f"The old side's binary log has an event that Crossfade cannot read ({kind}).",
                where=f"{endpoint}, binary log {at}",
            )
    yield at


def _next(raw: Any, endpoint: Endpoint, at: Position) -> bytes | None:
    """The next event; None at the end of the log."""
    from pymysql import MySQLError

    try:
        packet = raw._read_packet()
    except MySQLError as error:
        words = str(error.args[1] if len(error.args) > 1 else error).splitlines()[0]
        code = "changes-not-kept" if error.args and error.args[0] == 1236 else "database-error"
        raise Failed(
            code,
            f"The old side's changes cannot be read: {words}.",
            where=f"{endpoint}, binary log {at}",
        ) from None
    data: bytes = packet.get_all_data()
    return None if data[:1] == b"\xfe" and len(data) < 9 else data[1:]


def _table(body: bytes) -> tuple[str, str, bytes, bytes]:
    """Database, name, column types and their metadata."""
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
    return database, name, types, body[position : position + size]


def _rows(
    kind: int, body: bytes, tables: dict[bytes, tuple[str, str, bytes, bytes]], at: Position
) -> Rows:
    zipped = kind in _COMPRESSED
    kind = _COMPRESSED.get(kind, kind)
    start = 8
    if kind >= 30:
        start += int.from_bytes(body[8:10], "little")
    database, name, types, metadata = tables[body[:6]]
    return Rows(at, _ROWS[kind], database, name, types, metadata, body[start:], zipped)


def _query(body: bytes, at: Position, zipped: bool) -> Query:
    name_length = body[8]
    status_length = int.from_bytes(body[11:13], "little")
    start = 13 + status_length
    database = body[start : start + name_length].decode("utf-8", "replace")
    statement = body[start + name_length + 1 :]
    if zipped:
        statement = unzipped(statement)
    return Query(at, database, statement.decode("utf-8", "replace"))


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
