"""The old side of a feed: what is made there, in which order, and how all of it is removed again.

Everything bears the attempt's tag.  The publication comes first, since ``pgoutput`` cannot read
changes that are older than it; then the slot that tells which rows changed; then the slot that
the new side follows, whose snapshot is copied.  So the first slot knows every row that changed
after that snapshot, and a few more.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres import identities, silence, slots
from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, fetch, one, run
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "Names",
    "drop_role",
    "hush",
    "let_go",
    "make_role",
    "publish",
    "session",
]

_COMPARED = {"timezone": "UTC", "lc_monetary": "C", "synchronous_commit": "local"}


@dataclass(frozen=True, slots=True)
class Names:
    """What an attempt's things are called on the servers.

    feed names the slot, the publication, the subscription and the role; keys the slot that tells
    which rows changed.  The database is part of it, for slots and roles belong to whole servers.
    """

    feed: str
    keys: str

    @classmethod
    def of(cls, tag: str, database: str) -> Names:
        """The names for one database (the old side's name of it) of the attempt ``tag``."""
        base = f"{tag}_{crc32(database.encode()) & 0xFFFF:04x}"
        return cls(f"{base}_feed", f"{base}_keys")


def session(endpoint: Endpoint, *, database: str | None = None) -> Conn:
    """A session in which values are written as text in the same way on every server."""
    conn = connect(endpoint, database=database, settings=_COMPARED)
    silence.give_up_after(conn, 20)
    return conn


@contextlib.contextmanager
def brief(
    endpoint: Endpoint, *, database: str | None = None, seconds: float = 120.0
) -> Iterator[Conn]:
    """Such a session, closed in the end, and broken off after ``seconds``."""
    with session(endpoint, database=database) as conn, silence.bounded(seconds, conn):
        yield conn


def hush(conn: Conn) -> None:
    """No statement of this session is logged, listed or counted by the server: it has a secret.

    Best effort by design: an extension that is not loaded has no such setting to obey.
    """
    for name, value in (
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
        ("log_min_duration_sample", "-1"),
        ("log_transaction_sample_rate", "0"),
        ("log_min_error_statement", "panic"),
        ("track_activities", "off"),
        ("pg_stat_statements.track", "none"),
        ("pgaudit.log", "none"),
    ):
        try:
            run(conn, "select pg_catalog.set_config(%s, %s, false)", (name, value))
        except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidName):
            continue


def make_role(old: Endpoint, names: Names) -> str:
    """A role for the new server to log in with, and its new random password.

    It may replicate and nothing else.  The server never sees the password, only its verifier.
    """
    password = secrets.token_urlsafe(24)
    with explained("make the feed's role", old), brief(old) as conn:
        hush(conn)
        verifier = conn.pgconn.encrypt_password(
            password.encode(), names.feed.encode(), b"scram-sha-256"
        ).decode()
        there = one(conn, "select 1 from pg_catalog.pg_roles where rolname = %s", (names.feed,))
        run(
            conn,
            sql.SQL("{} role {} login replication connection limit 8 password {}").format(
                sql.SQL("alter" if there else "create"),
                sql.Identifier(names.feed),
                sql.Literal(verifier),
            ),
        )
        if not one(
            conn,
            "select pg_catalog.has_database_privilege(%s, current_database(), 'CONNECT')",
            (names.feed,),
        ):
            grant = sql.SQL("grant connect on database {} to {}")
            run(conn, grant.format(sql.Identifier(old.database), sql.Identifier(names.feed)))
    return password


def drop_role(conn: Conn, names: Names) -> bool:
    """Remove the role and what it was granted.  Whether it was there."""
    if not one(conn, "select 1 from pg_catalog.pg_roles where rolname = %s", (names.feed,)):
        return False
    role = sql.Identifier(names.feed)
    granted = fetch(
        conn,
        "select datname from pg_catalog.pg_database, pg_catalog.aclexplode(datacl) a"
        " where a.grantee = (select oid from pg_catalog.pg_roles where rolname = %s)",
        (names.feed,),
    )
    for (database,) in granted:
        run(
            conn,
            sql.SQL("revoke connect on database {} from {}").format(sql.Identifier(database), role),
        )
    run(conn, sql.SQL("drop role {}").format(role))
    return True


def publish(conn: Conn, names: Names, tables: Sequence[Table]) -> None:
    """Publish the tables, each with something to find its rows by.  Fine when it is so already.

    An UPDATE of a published table without a replica identity fails for the application, so
    identities are set while nothing is published yet; the publication's comment says what they
    were, for ``let_go``.  Raises Failed, psycopg.Error.
    """
    publication = sql.Identifier(names.feed)
    _no_triggers(conn)
    with conn.transaction():
        if not _published(conn, names):
            run(conn, sql.SQL("create publication {}").format(publication))
            identities.note(conn, names.feed, tables)
    identities.set_for_feed(conn, tables)
    there = {
        row[0]
        for row in fetch(
            conn,
            "select prrelid from pg_catalog.pg_publication_rel r"
            " join pg_catalog.pg_publication p on p.oid = r.prpubid where pubname = %s",
            (names.feed,),
        )
    }
    missing = [table for table in tables if table.oid not in there]
    if missing:
        members = sql.SQL(", ").join(sql.SQL("only {}").format(table.sql) for table in missing)
        add = sql.SQL("alter publication {} add table {}").format(publication, members)
        identities.with_short_locks(conn, add, "publish the tables")


def _no_triggers(conn: Conn) -> None:
    """Event triggers of others have no part in what we make and remove here."""
    run(conn, "set session_replication_role = replica")


def _published(conn: Conn, names: Names) -> bool:
    found = one(conn, "select 1 from pg_catalog.pg_publication where pubname = %s", (names.feed,))
    return found is not None


def let_go(old: Endpoint, names: Names) -> list[str]:
    """Remove slots, publication and role; give tables their replica identities back.

    Returns what was removed, in words.  Fine when nothing is there.  Raises Failed.
    """
    removed: list[str] = []
    with _anywhere(old) as conn, explained("remove the feed from the old side", old):
        removed += [f"slot {slot}" for slot in (names.feed, names.keys) if slots.drop(conn, slot)]
        here = one(conn, "select current_database()") == old.database
        if here and _published(conn, names):
            _no_triggers(conn)
            removed += identities.give_back(conn, names.feed)
            run(conn, sql.SQL("drop publication if exists {}").format(sql.Identifier(names.feed)))
            removed.append(f"publication {names.feed}")
        if drop_role(conn, names):
            removed.append(f"role {names.feed}")
    return removed


@contextlib.contextmanager
def _anywhere(old: Endpoint) -> Iterator[Conn]:
    """A session in the old database, or in another one of its server when it is gone."""
    database = None
    try:
        session(old).close()
    except Failed as error:
        if error.code != "database-missing":
            raise
        database = "template1"
    with brief(old, database=database) as conn:
        yield conn
