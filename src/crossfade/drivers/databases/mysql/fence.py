"""The fence: every table of one database locked for writing, by sessions of ours that die with us.

``LOCK TABLES ... READ`` makes every writer wait, root too; reading goes on, and the server's other
databases are not touched.  Sequences are locked WRITE, because NEXTVAL passes a read lock: they
can be read only through ``Fence.read`` meanwhile.  Tables are spread over several sessions, so
that ``keep`` can replace the locks by triggers group by group (see ``kept_fence``).

Not stopped: CREATE TABLE, views and routines, which touch no row; the carrier's mark sees them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Sequence

import pymysql

from crossfade.drivers.databases.mysql.blockers import end_blockers, prepared
from crossfade.drivers.databases.mysql.catalog import read_names
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    Row,
    connect,
    explained,
    fetch,
    ident,
    one,
    quietly_close,
    run,
    session_id,
)
from crossfade.drivers.databases.mysql.kept_fence import keep_group, tidy
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Fence", "take"]

_LIMIT = 8.0  # seconds in which everybody in the way must be gone
_GROUP = 20


class Fence:
    """A fence that holds until closed; ``crossfade.ports.Held``."""

    def __init__(self, endpoint: Endpoint, groups: Sequence[tuple[Conn, tuple[str, ...]]]) -> None:
        self.endpoint = endpoint
        self.kept = False
        self._groups = list(groups)

    @property
    def holds(self) -> bool:
        """Whether every session of it still lives."""
        if self.kept:
            return True
        try:
            for session, _ in self._groups:
                session.ping(reconnect=False)
        except (pymysql.MySQLError, OSError):
            return False
        return bool(self._groups)

    def read(self, query: str) -> list[Row]:
        """Ask through the fence's first session, the only one that can read sequences."""
        with explained("read behind the fence", self.endpoint):
            return fetch(self._groups[0][0], query)

    def close(self) -> None:
        """Lift the locks; triggers of ``keep`` stay."""
        for session, _ in self._groups:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                run(session, "unlock tables")  # done when it returns; a close is not
            quietly_close(session)
        self._groups.clear()

    def keep(self) -> None:
        """Replace the locks by triggers that outlive us.  At no moment can anybody write."""
        if self.kept:
            return
        with explained("keep the fence", self.endpoint):
            while self._groups:
                session, tables = self._groups[0]
                keep_group(self.endpoint, session, tables)
                quietly_close(session)
                del self._groups[0]
            tidy(self.endpoint)
        self.kept = True


def take(endpoint: Endpoint, limit: float = _LIMIT) -> Fence:
    """Lock everything; sessions in the way are ended.  Raises Failed when somebody still writes."""
    with explained("fence the database", endpoint):
        control = connect(endpoint, timeout=5)
        try:
            waiting = prepared(control)
            if waiting:
                raise Failed(
                    "prepared-transaction",
                    f"The server holds a prepared transaction ({waiting[0]}), which could write"
                    " at any time.",
                    where=f"{endpoint}: XA RECOVER",
                )
            names = read_names(control, endpoint.database)
            if names is None:
                raise Failed("database-missing", "The database is gone.", where=str(endpoint))
            return _locked(endpoint, control, names[0], names[1], limit)
        finally:
            quietly_close(control)


def _locked(
    endpoint: Endpoint,
    control: Conn,
    tables: Iterable[str],
    sequences: Sequence[str],
    limit: float,
) -> Fence:
    groups: list[tuple[Conn, tuple[str, ...]]] = []
    trouble: list[Exception] = []
    done = threading.Semaphore(0)

    def lock(session: Conn, statement: str) -> None:
        try:
            run(session, statement)
        except (pymysql.MySQLError, OSError) as error:
            trouble.append(error)
        finally:
            done.release()

    names = sorted(tables)
    statements = _statements(names, sequences, _group_size(control, len(names)))
    try:
        for statement, group in statements:
            session = connect(endpoint, timeout=5)
            groups.append((session, group))
            run(session, f"set session lock_wait_timeout = {max(1, round(limit) + 1)}")
            threading.Thread(target=lock, args=(session, statement), daemon=True).start()
        ours = {session_id(session) for session, _ in groups}
        ours.add(session_id(control))
        _wait(endpoint, control, done, len(statements), ours, limit)
        if trouble:
            raise trouble[0]
    except BaseException:
        for session, _ in groups:
            quietly_close(session)
        raise
    return Fence(endpoint, groups)


def _wait(
    endpoint: Endpoint,
    control: Conn,
    done: threading.Semaphore,
    count: int,
    ours: set[int],
    limit: float,
) -> None:
    """Wait for all locks; after a moment, end who stands in the way."""
    began = time.monotonic()
    got = 0
    while got < count:
        if done.acquire(timeout=0.03):
            got += 1
            continue
        waited = time.monotonic() - began
        if waited > limit:
            raise Failed(
                "fence-not-possible",
                f"The tables could not be locked within {limit:.0f} s: somebody still writes.",
                where=f"{endpoint}: {', '.join(_stuck(control, ours)) or 'nobody can be named'}",
            )
        end_blockers(control, endpoint.database, ours, waited)


def _stuck(control: Conn, ours: set[int]) -> list[str]:
    rows = fetch(
        control,
        "select id, user, host, coalesce(db, ''), command, time from information_schema.processlist"
        " where command not in ('Daemon', 'Sleep', 'Binlog Dump', 'Slave_IO')",
    )
    return [f"session {r[0]} of {r[1]}@{r[2]} ({r[4]})" for r in rows if int(r[0]) not in ours][:5]


def _statements(
    names: Sequence[str], sequences: Sequence[str], size: int
) -> list[tuple[str, tuple[str, ...]]]:
    """LOCK statements with their tables; sequences stand in the first."""
    groups = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    if not groups and sequences:
        groups = [()]
    found = []
    for number, tables in enumerate(groups):
        words = [f"{ident(name)} read" for name in tables]
        if number == 0:
            words += [f"{ident(name)} write" for name in sequences]
        found.append((f"lock tables {', '.join(words)}", tables))
    return found


def _group_size(control: Conn, tables: int) -> int:
    """How many tables a session locks: ``keep`` needs three more sessions for each of a group."""
    limit = int(one(control, "select @@global.max_connections"))
    status = fetch(control, "show global status like 'threads_connected'")
    free = limit - int(status[0][1]) - 4
    size = _GROUP
    while size > 1 and 3 * size + tables // size + 1 > free:
        size -= 1
    return size
