"""Makes way for the fence: disconnects who holds a lock, or has written and not committed.

Prepared transactions are never touched: they belong to nobody who could be asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, fetch, one, run
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["clear_the_way", "end_uncommitted", "prepared", "refuse_prepared"]

_LOOK_EVERY = 0.004  # seconds; asking takes the server 0.1 ms
_OURS = 0.5  # seconds


def clear_the_way(conn: Conn, other: Conn, lock: sql.Composed | sql.SQL, deadline: float) -> None:
    """Run a LOCK statement in ``conn``; whoever makes it wait is disconnected through ``other``.

    deadline is on the monotonic clock; after it the lock is given up (LockNotAvailable)."""
    left = max(1, round((deadline - time.monotonic()) * 1000))
    run(conn, sql.SQL("set local lock_timeout = {}").format(sql.Literal(left)))
    pid = conn.info.backend_pid
    with ThreadPoolExecutor(1) as beside:
        locking = beside.submit(run, conn, lock)
        pause = _LOOK_EVERY / 4
        while not locking.done():
            time.sleep(pause)
            pause = _LOOK_EVERY
            blocking = one(other, "select pg_catalog.pg_blocking_pids(%s)", (pid,)) or []
            # Zero stands for a prepared transaction; the lock then ends by its time-out.
            _disconnect(other, [other_pid for other_pid in blocking if other_pid > 0])
        locking.result()


def end_uncommitted(conn: Conn, other: Conn, deadline: float) -> None:
    """Disconnect who had written something before now that is not committed, and wait for them.

    ``conn`` holds the locks.  Without a new lock such a session could still fill a table that it
    has just made and that nobody else sees yet.  Crossfade's own short transactions are given the
    time to end.  Raises Failed ``fence-not-had``."""
    now = one(other, "select pg_catalog.clock_timestamp()")
    spare = time.monotonic() + _OURS
    while True:
        rows = fetch(
            other,
            """select pid, application_name like 'crossfade%%'
               from pg_catalog.pg_stat_activity
               where datname = pg_catalog.current_database() and backend_xid is not null
                 and xact_start <= %s and pid <> %s and pid <> pg_catalog.pg_backend_pid()""",
            (now, conn.info.backend_pid),
        )
        if not rows:
            return
        if time.monotonic() > deadline:
            pids = ", ".join(str(pid) for pid, _ in rows)
            raise Failed(
                "fence-not-had",
                f"The database could not be fenced: session {pids} has written and does not end.",
            )
        late = time.monotonic() > spare
        _disconnect(other, [int(pid) for pid, ours in rows if late or not ours])
        time.sleep(_LOOK_EVERY)


def prepared(conn: Conn) -> list[str]:
    """The identifiers of the transactions that are prepared in this database."""
    rows = fetch(
        conn,
        """select gid from pg_catalog.pg_prepared_xacts
           where database = pg_catalog.current_database() order by prepared""",
    )
    return [str(gid) for (gid,) in rows]


def refuse_prepared(conn: Conn, endpoint: Endpoint) -> None:
    """Raise Failed ``prepared-transaction`` when there is one: it can be committed any time."""
    gids = prepared(conn)
    if gids:
        raise Failed(
            "prepared-transaction",
            f"Prepared transactions wait for their end: {', '.join(map(repr, gids))}.",
            where=str(endpoint),
        )


def _disconnect(conn: Conn, pids: Sequence[int]) -> None:
    """Ask the server to end these sessions, all at once; returns before they have ended."""
    if pids:
        run(
            conn,
            """select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
               where pid = any(%s) and datid is not null""",
            (list(pids),),
        )
