"""The fence of a PostgreSQL database: table locks that keep every writer out, superusers included.

One session of ours holds, in one transaction, EXCLUSIVE locks on every table, so that writers wait
and readers do not.  The catalogue table pg_class is locked too: nobody can make a new table (nor a
temporary one), and large objects are locked by their own catalogue tables.  Who holds a lock that
stands in the way, or has written something that is not committed yet, is disconnected.

The fence ends with our process, however that ends.  When our machine vanishes, the server notices
after six seconds (``_GONE_SOON``).  ``Fence.keep`` replaces the locks by triggers that outlive us
(module ``kept_fence``), in the same transaction, so that there is no moment between.

Sequences can still be advanced; whoever carries them adds a margin.
"""

from __future__ import annotations

import contextlib
import select
import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres import kept_fence
from crossfade.drivers.databases.postgres.clearing import (
    clear_the_way,
    end_uncommitted,
    refuse_prepared,
)
from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, fetch, one
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["FENCE", "Fence", "lift", "mark", "tables_of"]

FENCE = "crossfade fence"
"""The ``application_name`` of the session that holds the locks."""

_GONE_SOON = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "6000",
    # Rules, triggers and event triggers of others must not run for what ``keep`` creates.
    "session_replication_role": "replica",
}
_CATALOGUE = sql.SQL(
    "lock table pg_catalog.pg_class, pg_catalog.pg_largeobject,"
    " pg_catalog.pg_largeobject_metadata in exclusive mode"
)
_TABLES = sql.SQL("""
    select c.oid, n.nspname, c.relname
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relpersistence <> 't'
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
    order by c.oid""")
_AT_ONCE = 500  # tables in one LOCK statement


@dataclass(slots=True)
class Fence:
    """A fence that holds until ``close``, or until this process ends, however it ends.

    tables is how many are locked."""

    endpoint: Endpoint
    tables: int
    _conn: Conn | None

    @classmethod
    def take(cls, endpoint: Endpoint, patience: float = 5.0) -> Fence:
        """Take all locks within ``patience`` seconds, disconnecting who stands in the way.

        Raises Failed: ``fence-not-had`` (somebody could not be made to go), and
        ``prepared-transaction`` (such transactions are named, and never touched)."""
        deadline = time.monotonic() + patience
        with explained("fence the database", endpoint):
            while True:
                conn = connect(
                    endpoint, autocommit=False, application_name=FENCE, settings=_GONE_SOON
                )
                try:
                    return cls(endpoint, _lock_all(conn, endpoint, deadline), conn)
                except psycopg.errors.UndefinedTable:  # dropped while we waited for it
                    _end(conn)
                except psycopg.errors.LockNotAvailable as error:
                    _end(conn)
                    raise _not_had(endpoint) from error
                except BaseException:
                    _end(conn)
                    raise

    @property
    def holds(self) -> bool:
        """Whether neither ``close`` nor ``keep`` was called, as far as we know."""
        return self._conn is not None and not self._conn.closed

    def close(self) -> None:
        """Lift the fence at once; fine when it is lifted, and after ``keep``.

        Does not wait for a server that does not answer: it will notice that we are gone."""
        conn, self._conn = self._conn, None
        if conn is not None:
            _end(conn)

    def keep(self) -> None:
        """Let the fence outlive us: triggers on every table, then the locks go.

        Fine when it was kept already.  Raises Failed ``fence-lost`` when the locks were gone: the
        fence stands again then, but somebody may have written in between."""
        if self._conn is None:
            return
        conn, self._conn = self._conn, None
        lost = not _alive(conn)
        if lost:
            _end(conn)
            conn = Fence.take(self.endpoint)._conn or conn
        try:
            with explained("keep the database fenced", self.endpoint):
                kept_fence.raise_(conn, [(schema, name) for _, schema, name in tables_of(conn)])
                conn.commit()
        finally:
            _end(conn)
        if lost:
            raise Failed(
                "fence-lost",
                "The session that fenced the database had ended; the database is fenced again, "
                "but somebody may have written to it in between.",
                where=str(self.endpoint),
            )


def _lock_all(conn: Conn, endpoint: Endpoint, deadline: float) -> int:
    """Lock the catalogue, then every table, until nobody can have made another one."""
    with connect(endpoint, application_name="crossfade clears the way") as other:
        refuse_prepared(other, endpoint)
        clear_the_way(conn, other, _CATALOGUE, deadline)
        locked: set[int] = set()
        while missing := [table for table in tables_of(conn) if table[0] not in locked]:
            for start in range(0, len(missing), _AT_ONCE):
                names = [sql.Identifier(s, n) for _, s, n in missing[start : start + _AT_ONCE]]
                each = sql.SQL(", ").join(sql.SQL("only {}").format(name) for name in names)
                lock = sql.SQL("lock table {} in exclusive mode").format(each)
                clear_the_way(conn, other, lock, deadline)
            locked |= {oid for oid, _, _ in missing}
            # Who has made a table and not committed yet could fill it: not seen, not locked.
            end_uncommitted(conn, other, deadline)
        refuse_prepared(other, endpoint)
    return len(locked)


def _alive(conn: Conn) -> bool:
    try:
        return bool(one(conn, "select 1") == 1)
    except psycopg.Error:
        return False


def _end(conn: Conn) -> None:
    """Roll back and close; waits two seconds at most for the server's word that locks are gone."""
    if not conn.closed:
        with contextlib.suppress(psycopg.Error):
            conn.pgconn.send_query(b"rollback")
            conn.pgconn.flush()
            select.select([conn.pgconn.socket], [], [], 2.0)
        conn.close()


def tables_of(conn: Conn) -> list[tuple[int, str, str]]:
    """Every table that can hold data of its own or of its partitions: oid, schema, name."""
    return [(int(oid), str(schema), str(name)) for oid, schema, name in fetch(conn, _TABLES)]


def lift(endpoint: Endpoint) -> None:
    """Remove a fence that was kept, whole or half; fine when there is none.  Raises Failed.

    Writers are let in at once; the triggers, which do nothing from then on, follow."""
    with (
        explained("lift the fence", endpoint),
        connect(endpoint, settings={"session_replication_role": "replica"}) as conn,
        connect(endpoint) as other,
    ):
        kept_fence.lower(conn, other)


def mark(endpoint: Endpoint) -> str:
    """What must not change from the fence to the commit point.

    The session that holds the locks, since when, how many, and a digest of all tables' identities
    and files (so of every CREATE, DROP and TRUNCATE).  Without a fence every mark is another one.
    """
    with explained("look at the fence", endpoint), connect(endpoint) as conn:
        held = fetch(
            conn,
            """select a.pid, a.backend_start, a.xact_start, count(*)
               from pg_catalog.pg_stat_activity a join pg_catalog.pg_locks l on l.pid = a.pid
               where a.application_name = %s and l.locktype = 'relation' and l.granted
                 and l.mode = 'ExclusiveLock' and l.database = a.datid
                 and a.datname = pg_catalog.current_database()
               group by 1, 2, 3""",
            (FENCE,),
        )
        shape = one(
            conn,
            """select pg_catalog.md5(pg_catalog.string_agg(
                 pg_catalog.concat_ws(':', oid, relfilenode, relname, relchecks), ',' order by oid))
               from pg_catalog.pg_class
               where relkind in ('r', 'p', 'S') and relpersistence <> 't' and oid >= 16384""",
        )
        tables = len(tables_of(conn))
        kept = len(kept_fence.standing(conn))
        clock = one(conn, "select pg_catalog.clock_timestamp()::text")
    if len(held) == 1 and held[0][3] >= tables:
        pid, began, since, locks = held[0]
        return f"locked by {pid} of {began} since {since}: {locks} locks, schema {shape}"
    if kept == tables:
        return f"kept by triggers on {kept} tables, schema {shape}"
    return f"not fenced at {clock}"


def _not_had(endpoint: Endpoint) -> Failed:
    return Failed(
        "fence-not-had",
        "The database could not be fenced: somebody holds a lock on a table and does not go.",
        where=str(endpoint),
    )
