"""Sessions on a MariaDB or MySQL server, and errors that explain themselves.

Every session of ours speaks utf8mb4, counts time in UTC, and has a ``sql_mode`` in which zero
dates and old defaults pass as they are, and a 0 in a column that counts up stays one.
Passwords are resolved at the moment of use and never appear in an error.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from crossfade.errors import Failed
from crossfade.manifest import resolve
from crossfade.model import Endpoint

__all__ = [
    "SQL_MODE",
    "Ask",
    "Conn",
    "Row",
    "connect",
    "cut_off",
    "explained",
    "fetch",
    "ident",
    "is_mariadb",
    "one",
    "password_of",
    "qualified",
    "quietly_close",
    "run",
    "session_id",
    "text",
]

Conn: TypeAlias = "Connection[Cursor]"
Row: TypeAlias = tuple[Any, ...]
Ask: TypeAlias = Callable[[str], list[Row]]
"""Asks a database about its sequences: while the fence holds, through the fence's own session."""

SQL_MODE = "NO_AUTO_VALUE_ON_ZERO"

_OURS = (
    f"set session sql_mode = '{SQL_MODE}', time_zone = '+00:00', wait_timeout = 28800,"
    " net_read_timeout = 3600, net_write_timeout = 3600, sql_quote_show_create = 1"
)

_CODES = {
    1044: "database-login-refused",
    1045: "database-login-refused",
    1698: "database-login-refused",
    4151: "database-login-refused",
    1040: "database-connections-used-up",
    1203: "database-connections-used-up",
    1226: "database-connections-used-up",
    1049: "database-missing",
    1142: "database-right-missing",
    1227: "database-right-missing",
    1370: "database-right-missing",
    1205: "database-lock-timeout",
    3572: "database-lock-timeout",
    1213: "database-deadlock",
    1969: "database-statement-timeout",
    3024: "database-statement-timeout",
    1021: "database-disk-full",
    1114: "database-disk-full",
    1062: "database-duplicate-key",
    1290: "database-read-only",
    1836: "database-read-only",
}
_LOST = {2006, 2013, 2014, 1927, 1053, 1317, 0}


@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Connection(Connection):
    """Encrypted where the server offers it, as PyMySQL does by itself; but PyMySQL 1.2 loads the
    system's certificates for every session although it verifies none, which takes longer than all
    the rest of logging in."""

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        if sslp:
            made: ssl.SSLContext = super()._create_ssl_ctx(sslp)  # type: ignore[misc]
            return made
        return _unverified()


def connect(
    endpoint: Endpoint,
    *,
    database: str | None = None,
    as_app: bool = False,
    timeout: float = 10.0,
    read_timeout: float | None = None,
) -> Conn:
    """A session in autocommit mode on ``endpoint``: as our administrator, or as the application.

    database is another one of that server, ``""`` for none.  The application's session is left as
    the server makes it.  timeouts are in seconds.  Raises Failed.
    """
    user = endpoint.user if as_app else endpoint.admin
    name = endpoint.database if database is None else database
    where = f"{endpoint.kind}://{user}@{endpoint.address}/{name}"
    try:
        conn = _Connection(
            host=endpoint.address.host,
            port=endpoint.address.port,
            user=user,
            password=password_of(endpoint, as_app=as_app),
            database=name or None,
            charset="utf8mb4",
            autocommit=True,
            local_infile=True,
            connect_timeout=max(1, round(timeout)),
            read_timeout=max(1, round(timeout)),  # PyMySQL's other one ends with the TCP handshake
            max_allowed_packet=1 << 30,
        )
    except pymysql.MySQLError as error:
        number, words = _said(error)
        code = _CODES.get(number, "database-unreachable")
        raise Failed(
            code, f"Crossfade cannot log in to the database: {words}.", where=where
        ) from None
    except UnicodeError as error:
        raise Failed("database-login-refused", str(error), where=where) from None
    try:
        if not as_app:
            run(conn, _OURS)
            run(conn, "set session transaction isolation level repeatable read, read write")
            if is_mariadb(conn):
                run(conn, "set session max_statement_time = 0, idle_transaction_timeout = 0")
        made: Any = conn
        made._read_timeout = read_timeout
    except BaseException:
        quietly_close(conn)
        raise
    return conn


def is_mariadb(conn: Conn) -> bool:
    """Whether the server is MariaDB, by the version that it gave when we logged in."""
    greeting: Any = conn
    return "mariadb" in str(greeting.server_version).lower()


def session_id(conn: Conn) -> int:
    """The number by which the server knows a session."""
    greeting: Any = conn
    return int(greeting.thread_id())


def password_of(endpoint: Endpoint, *, as_app: bool = False) -> str:
    """The password itself, for this moment; empty when none is named.  Raises UsageError."""
    reference = endpoint.password if as_app else endpoint.admin_password
    return resolve(reference, endpoint.base) if reference else ""


def fetch(conn: Conn, query: str, values: Sequence[object] = ()) -> list[Row]:
    """All rows of a query.  Values take the place of ``%s``; without values % is only itself."""
    with conn.cursor() as cursor:
        cursor.execute(query, tuple(values) or None)
        return list(cursor.fetchall())


def one(conn: Conn, query: str, values: Sequence[object] = ()) -> Any:
    """The first column of the first row; None when there is no row."""
    rows = fetch(conn, query, values)
    return rows[0][0] if rows else None


def run(conn: Conn, query: str, values: Sequence[object] = ()) -> int:
    """Run a statement; returns how many rows it touched."""
    with conn.cursor() as cursor:
        return int(cursor.execute(query, tuple(values) or None) or 0)


def ident(name: str) -> str:
    """A name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def qualified(database: str, name: str) -> str:
    """A table's name with its database's."""
    return f"{ident(database)}.{ident(name)}"


def text(value: str) -> str:
    """A string as an SQL literal that holds under every ``sql_mode``."""
    if not value:
        return "''"
    return f"_utf8mb4 0x{value.encode().hex()}"


def quietly_close(conn: Conn | None) -> None:
    """Close a session, whatever state it is in."""
    if conn is not None:
        with contextlib.suppress(Exception):
            conn.close()


def cut_off(conn: Conn | None) -> None:
    """Let whoever waits for this session, in another thread, have an error at once."""
    wire: socket.socket | None = getattr(conn, "_sock", None)  # PyMySQL has no word for it
    if wire is not None:
        with contextlib.suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def explained(doing: str, endpoint: Endpoint | str) -> Iterator[None]:
    """Turn what PyMySQL raises inside into Failed: "Crossfade cannot <doing>: ..."."""
    try:
        yield
    except pymysql.MySQLError as error:
        number, words = _said(error)
        lost = number in _LOST and isinstance(
            error, (pymysql.OperationalError, pymysql.InternalError)
        )
        lost = lost or isinstance(error, pymysql.InterfaceError)
        code = "database-connection-lost" if lost else _CODES.get(number, "database-error")
        raise Failed(code, f"Crossfade cannot {doing}: {words}.", where=str(endpoint)) from error
    except OSError as error:
        raise Failed(
            "database-connection-lost",
            f"Crossfade cannot {doing}: {error}.",
            where=str(endpoint),
        ) from error


def _said(error: pymysql.MySQLError) -> tuple[int, str]:
    """The server's number and first line."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    words = str(error.args[1]) if len(error.args) > 1 else str(error) or "the connection is gone"
    first = (words.strip().splitlines() or ["no reason given"])[0].rstrip(".")
    return number, f"{first} ({number})" if number else first
