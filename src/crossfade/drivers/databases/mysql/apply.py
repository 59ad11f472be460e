"""Puts changed rows into a database of another server, in the transactions that they came in.

The server applies its own row events, given to it by BINLOG statements as when a log is played
back: no trigger fires, no type is converted, a missing or doubled row is an error.  How far it got
stands in a small database of its own and is committed together with the rows, so that a crash
neither loses nor repeats a change.  (A replication connection of the server's own forgets its
filters and its place when the server is killed, and would go on with everybody's changes.)
"""

from __future__ import annotations

import base64
import contextlib
import zlib

import pymysql

from crossfade.drivers.databases.mysql.binlog import Lost, Position, Rows
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    fetch,
    ident,
    one,
    quietly_close,
    run,
)
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Applier", "standing"]

_PACKET = 1 << 30
_ENOUGH = 256 << 20
_AT_ONCE = 2 << 20
_TOGETHER = 100
_MARK = "crossfade feed"


class Applier:
    """Applies to ``endpoint``; ``place`` names the database in which the position stands."""

    def __init__(self, endpoint: Endpoint, place: str) -> None:
        self.endpoint, self.place = endpoint, place
        self._conn: Conn | None = None
        self._format = b""
        self._statement: list[Rows] = []
        self._ready: list[bytes] = []
        self._names: dict[str, None] = {}
        self._at: Position | None = None
        self._last: Position | None = None
        self._size = 0
        self._singly = False
        self._open = self._uncounted = False
        self._transactions = 0

    def prepare(self, at: Position) -> None:
        """Everything before ``at`` is there.  Raises pymysql.MySQLError, Failed."""
        conn = self.session()
        name = ident(self.place)
        run(conn, f"create database if not exists {name} comment '{_MARK}'")
        run(
            conn,
            f"create table if not exists {name}.place (id int primary key,"
            " file varchar(512) not null, `byte` bigint unsigned not null) engine=InnoDB",
        )
        place = f"replace into {name}.place values (1, %s, %s)"  # noqa: S608
        run(conn, place, (at.file, at.offset))

    def begin(self) -> Position:
        """How far everything is applied; what was not committed is forgotten."""
        self._forget()
        conn = self.session()
        run(conn, "rollback")
        rows = fetch(conn, f"select file, `byte` from {ident(self.place)}.place")  # noqa: S608
        return Position.of(str(rows[0][0]), int(rows[0][1]))

    def rows(self, event: Rows, format: bytes) -> None:
        """Take changed rows; they are sent with others, or when they grow large."""
        self._statement.append(event)
        self._size += len(event.raw)
        self._uncounted = True
        if event.last or self._size > _AT_ONCE:
            self.end_statement(format)

    def end_statement(self, format: bytes) -> None:
        """A statement ends; it is sent together with others."""
        if not self._statement:
            return
        self._begun(format)
        sums = format[-5] == 1
        events, self._statement = self._statement, []
        maps = dict.fromkeys(event.map for event in events)
        self._ready += [_renamed(one, self.endpoint.database, sums=sums) for one in maps]
        self._ready += [event.raw for event in events[:-1]]
        self._ready.append(_last(events[-1].raw, sums=sums))
        self._names.update((event.table, None) for event in events)
        self._at = events[-1].at
        if self._singly or self._size > _AT_ONCE:
            self._send()

    def _send(self) -> None:
        """Play what is ready; when the server refuses, once more statement by statement, so that it
        is known which one it was."""
        if not self._ready:
            return
        events, names = self._ready, ", ".join(self._names)
        self._ready, self._names, self._size = [], {}, 0
        try:
            _play(self.session(), events)
        except pymysql.MySQLError as error:
            if not _refused(error):
                raise
            if not self._singly:
                self._singly = True
                raise Lost(str(error.args[1])) from None
            raise Failed(
                "feed-stopped",
                f"The server does not take a change to {names}: {error.args[1]} ({error.args[0]}).",
                where=f"{self.endpoint}, binary log {self._at}",
            ) from None

    def truncate(self, table: str, format: bytes) -> None:
        """Empty a table, as the other side did; this commits what came before.

        The position stays before it, so that after a crash the table is emptied once more."""
        self._settle_before()
        run(self._begun(format), f"truncate table {ident(table)}")
        self._open = False

    def say(self, statement: str, format: bytes) -> None:
        """A savepoint, or the return to one."""
        self.end_statement(format)
        self._send()
        run(self._begun(format), statement)

    @property
    def inside(self) -> bool:
        """Whether rows came since the last transaction ended."""
        return self._uncounted

    def commit(self, at: Position) -> None:
        """A transaction ended at ``at``: many small ones are committed together."""
        if self._uncounted:
            self._uncounted, self._last = False, at
            self._transactions += 1
            if self._transactions >= _TOGETHER:
                self.settle(at)

    def settle(self, at: Position) -> None:
        """Commit everything; all up to ``at`` is applied."""
        self._send()
        if self._open:
            conn = self.session()
            run(
                conn,
                f"update {ident(self.place)}.place set file = %s, `byte` = %s",  # noqa: S608
                (at.file, at.offset),
            )
            run(conn, "commit")
            self._open, self._transactions = False, 0

    def _settle_before(self) -> None:
        """Commit all whole transactions."""
        if self._last is not None:
            self.settle(self._last)

    @property
    def conn(self) -> Conn | None:
        """The session, if there is one."""
        return self._conn

    def close(self) -> None:
        """End the session; what was not committed is undone."""
        self._forget()
        quietly_close(self._conn)
        self._conn = None

    def let_go(self) -> list[str]:
        """Remove the database with the position; what was removed, in words."""
        self.close()
        conn = connect(self.endpoint, database="")
        try:
            run(conn, "set session sql_log_bin = 0, lock_wait_timeout = 20")
            found = standing(conn, self.place)
            if found:
                run(conn, f"drop database {ident(self.place)}")
            return found
        finally:
            quietly_close(conn)

    def session(self) -> Conn:
        """The session that applies, in the database, outside of the server's own binary log."""
        if self._conn is None:
            conn = _with_room(self.endpoint)
            try:
                run(conn, "set session sql_log_bin = 0, lock_wait_timeout = 20")
            except BaseException:
                quietly_close(conn)
                raise
            self._conn, self._format = conn, b""
        return self._conn

    def _begun(self, format: bytes) -> Conn:
        conn = self.session()
        if self._format != format:
            self._settle_before()  # another file of the log; no transaction spans two
            _play(conn, [format])
            self._format = format
        if not self._open:
            run(conn, "start transaction")
            self._open = True
        return conn

    def _forget(self) -> None:
        self._statement, self._size, self._transactions = [], 0, 0
        self._ready, self._names, self._last = [], {}, None
        self._open = self._uncounted = False


def standing(conn: Conn, place: str) -> list[str]:
    """Whether the position's database stands, in words."""
    there = one(conn, "select 1 from information_schema.schemata where schema_name = %s", (place,))
    return [f"database {place}"] if there else []


def _play(conn: Conn, events: list[bytes]) -> None:
    body = b"\n".join(base64.b64encode(event) for event in events)
    with conn.cursor() as cursor:
        cursor.execute("BINLOG '" + body.decode("ascii") + "'")


def _renamed(event: bytes, database: str, *, sums: bool) -> bytes:
    """A table's event with the name of the database in which its rows are to be changed."""
    length = event[27]
    name = database.encode()
    end = len(event) - 4 if sums else len(event)
    body = event[:27] + bytes([len(name)]) + name + event[28 + length : end]
    return _summed(bytearray(body), sums=sums)


def _last(event: bytes, *, sums: bool) -> bytes:
    """A rows event that ends its statement, so that the server closes the tables."""
    if event[25] & 1:
        return event
    changed = bytearray(event[:-4] if sums else event)
    changed[25] |= 1
    return _summed(changed, sums=sums)


def _summed(event: bytearray, *, sums: bool) -> bytes:
    event[9:13] = (len(event) + 4 * sums).to_bytes(4, "little")
    return bytes(event) + (zlib.crc32(event).to_bytes(4, "little") if sums else b"")


def _with_room(endpoint: Endpoint) -> Conn:
    """A session that takes rows as long as the other server has them.

    A session keeps the limit that the server had when it began, so it is raised for a moment."""
    conn = connect(endpoint)
    limit = int(one(conn, "select @@global.max_allowed_packet"))
    if limit >= _ENOUGH:
        return conn
    try:
        run(conn, f"set global max_allowed_packet = {_PACKET}")
    except pymysql.MySQLError:
        return conn  # then a row that is too long is an error
    wide = None
    try:
        wide = connect(endpoint)
    finally:
        with contextlib.suppress(pymysql.MySQLError):
            run(conn, f"set global max_allowed_packet = {limit}")
        quietly_close(conn)
    return wide


def _refused(error: pymysql.MySQLError) -> bool:
    """Whether the server understood and refused, rather than being away or busy."""
    away = (2006, 2013, 1927, 1053, 1317, 1205, 1213, 0)
    return bool(error.args) and error.args[0] not in away and len(error.args) > 1
