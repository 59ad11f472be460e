"""Connections to a PostgreSQL server, and errors that explain themselves.

Every session of ours has an empty ``search_path``, so names must be qualified, and none of the
time-outs that an administrator set for the application.  Passwords are resolved at the moment of
use and never appear in an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres import silence, spare
from crossfade.drivers.databases.postgres.silence import Conn
from crossfade.errors import Failed
from crossfade.manifest import resolve
from crossfade.model import Endpoint

__all__ = [
    "NEWER_TIMEOUTS",
    "OUR_SETTINGS",
    "Conn",
    "Query",
    "connect",
    "explained",
    "fetch",
    "one",
    "password_of",
    "run",
]

Query: TypeAlias = LiteralString | sql.SQL | sql.Composed | bytes

OUR_SETTINGS = {
    "search_path": "",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "off",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "timezone": "UTC",
    "lc_monetary": "C",
}
"""What every session of ours is set to."""
_PING = 2.0
"""Seconds for a spare session to answer, before it is taken for cut off."""
NEWER_TIMEOUTS = {140000: "idle_session_timeout", 170000: "transaction_timeout"}
"""Time-outs that not every version has, by the version that brought them."""

_LOGIN = (  # what the server says, in English, and the code that we give it
    ("too many clients", "database-connections-used-up"),
    ("too many connections", "database-connections-used-up"),
    ("remaining connection slots", "database-connections-used-up"),
    ("max_wal_senders", "database-connections-used-up"),
    ("authentication failed", "database-login-refused"),
    ("no password supplied", "database-login-refused"),
    ("no pg_hba.conf entry", "database-login-refused"),
    ("pg_hba.conf rejects", "database-login-refused"),
    ("is not permitted to log in", "database-login-refused"),
    ("permission denied for database", "database-login-refused"),
    ("must be superuser or replication role", "database-right-missing"),
    ("permission denied to start wal sender", "database-right-missing"),
    ("not currently accepting connections", "database-login-refused"),
)

_STATES = {
    "42501": "database-right-missing",
    "53100": "database-disk-full",
    "53300": "database-connections-used-up",
    "53400": "database-slots-used-up",
    "55P03": "database-lock-timeout",
    "57014": "database-statement-timeout",
    "23505": "database-duplicate-key",
    "22021": "database-encoding-differs",
    "22P05": "database-encoding-differs",
    "3D000": "database-missing",
}


def connect(
    endpoint: Endpoint,
    *,
    database: str | None = None,
    as_app: bool = False,
    replication: bool = False,
    autocommit: bool = True,
    timeout: float = 10.0,
    application_name: str = "crossfade",
    settings: Mapping[str, str] | None = None,
) -> Conn:
    """A session on ``endpoint``: as our administrator, or as the application.

    database is another one of the same server.  replication gives a walsender session that also
    understands SQL.  settings are server parameters for this session; the application's session
    has no other ones.  timeout is in seconds.  Raises Failed.
    """
    user = endpoint.user if as_app else endpoint.admin
    name = endpoint.database if database is None else database
    if database is None and not (as_app or replication):
        ready = spare.take(endpoint)
        if ready is not None:
            if _fitted(ready, application_name, settings or {}, autocommit):
                return ready
            spare.drop(endpoint)
    wanted = {**({} if as_app else OUR_SETTINGS), **(settings or {})}
    try:
        conn = psycopg.connect(
            host=endpoint.address.host,
            port=endpoint.address.port,
            dbname=name,
            user=user,
            password=password_of(endpoint, as_app=as_app) or None,
            replication="database" if replication else None,
            connect_timeout=max(2, round(timeout)),
            application_name=application_name,
            client_encoding="UTF8",
            options=_options(wanted),
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=6,
            autocommit=True,
        )
    except psycopg.Error as error:
        raise _refused(error, endpoint, user, name) from None
    try:
        conn.prepare_threshold = None
        for since, newer in NEWER_TIMEOUTS.items():
            if not as_app and conn.info.server_version >= since:
                conn.execute(sql.SQL("set {} = 0").format(sql.Identifier(newer)))
        conn.autocommit = autocommit
    except BaseException:
        conn.close()
        raise
    return conn


def _fitted(conn: Conn, name: str, settings: Mapping[str, str], autocommit: bool) -> bool:
    """Make a spare session what is asked for; not when it turns out to be broken."""
    wanted = {"application_name": name, **settings}
    query = "select " + ", ".join(["pg_catalog.set_config(%s, %s, false)"] * len(wanted))
    words = [word for pair in wanted.items() for word in pair]
    try:
        with silence.bounded(_PING, conn):
            conn.execute(query.encode(), words)
        conn.autocommit = autocommit
    except psycopg.Error:
        conn.close()
        return False
    return True


def password_of(endpoint: Endpoint, *, as_app: bool = False) -> str:
    """The password itself, for this moment; empty when none is named.  Raises UsageError."""
    reference = endpoint.password if as_app else endpoint.admin_password
    return resolve(reference, endpoint.base) if reference else ""


def fetch(conn: Conn, query: Query, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return conn.execute(query, values or None).fetchall()


def one(conn: Conn, query: Query, values: Sequence[object] = ()) -> Any:
    """The first column of the first row; None when there is no row."""
    row = conn.execute(query, values or None).fetchone()
    return None if row is None else row[0]


def run(conn: Conn, query: Query, values: Sequence[object] = ()) -> int:
    """Run a statement; returns how many rows it touched."""
    return conn.execute(query, values or None).rowcount


@contextlib.contextmanager
def explained(doing: str, endpoint: Endpoint | str) -> Iterator[None]:
    """Turn what psycopg raises inside into Failed: "Crossfade cannot <doing>: ...".

    Only the server's first line is shown: the others may quote the statement or a row.
    """
    try:
        yield
    except psycopg.Error as error:
        code = _STATES.get(error.sqlstate or "", "database-error")
        text = error.diag.message_primary or _first_line(str(error))
        if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
            code = "database-connection-lost"
        if (error.sqlstate or "").startswith("57P0"):
            code = "database-connection-lost"
        where = [str(endpoint)]
        where += [f"table {error.diag.schema_name}.{n}" for n in (error.diag.table_name,) if n]
        where += [f"constraint {n}" for n in (error.diag.constraint_name,) if n]
        raise Failed(code, f"Crossfade cannot {doing}: {text}.", where=", ".join(where)) from error


def _options(settings: Mapping[str, str]) -> str:
    """The settings as libpq's ``options``, in which space and backslash are escaped."""

    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace(" ", "\\ ")

    return " ".join(f"-c {name}={escaped(value)}" for name, value in settings.items())


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _refused(error: psycopg.Error, endpoint: Endpoint, user: str, database: str) -> Failed:
    """Why a session could not be had.  libpq gives no SQLSTATE here, only the server's words."""
    text = _first_line(str(error))
    _, fatal, reason = text.partition("FATAL:")
    reason = reason.strip() if fatal else text
    where = f"{endpoint.kind}://{user}@{endpoint.address}/{database}"
    code = "database-unreachable"
    if f'database "{database}" does not exist' in reason:
        code = "database-missing"
    elif f'role "{user}" does not exist' in reason:
        code = "database-login-refused"
    else:
        code = next((c for words, c in _LOGIN if words in reason), code)
    return Failed(code, f"Crossfade cannot log in to the database: {reason}.", where=where)
