"""Several sessions that see the old database at one and the same moment, without any lock.

MariaDB tells each consistent snapshot's exact place in the binary log.  So sessions are opened
together, again and again, until all of them stand at the same place.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from crossfade.drivers.databases.mysql.binlog import Position
from crossfade.drivers.databases.mysql.connect import Conn, connect, fetch, quietly_close, run
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Snapshot", "snapshot"]

_TRIES = 400


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sessions in one snapshot, and its place in the binary log (None where nothing is logged)."""

    sessions: tuple[Conn, ...]
    position: Position | None


@contextlib.contextmanager
def snapshot(endpoint: Endpoint, count: int) -> Iterator[Snapshot]:
    """At most ``count`` sessions on ``endpoint`` in one snapshot; fewer when it never stands still.

    No lock is taken, nobody waits.  The transactions end with the context.  Raises Failed."""
    sessions: list[Conn] = []
    try:
        sessions.extend(connect(endpoint) for _ in range(count))
        position = _aligned(sessions, endpoint)
        yield Snapshot(tuple(sessions), position)
    finally:
        for session in sessions:
            quietly_close(session)


def _aligned(sessions: list[Conn], endpoint: Endpoint) -> Position | None:
    tries = 0
    while True:
        _begin_together(sessions)
        seen = {_place(session) for session in sessions}
        if len(seen) == 1:
            return seen.pop()
        tries += 1
        if tries >= _TRIES:  # too busy for many at once: one alone is always right
            tries = 0
            if len(sessions) == 1:
                raise Failed(
                    "snapshot-failed",
                    "The old database does not give a consistent snapshot.",
                    where=str(endpoint),
                )
            quietly_close(sessions.pop())


def _begin_together(sessions: list[Conn]) -> None:
    for session in sessions:
        run(session, "rollback")
    gate = threading.Barrier(len(sessions))

    def begin(session: Conn) -> None:
        gate.wait(30)
        run(session, "start transaction with consistent snapshot, read only")

    threads = [threading.Thread(target=begin, args=(session,)) for session in sessions[1:]]
    for thread in threads:
        thread.start()
    begin(sessions[0])
    for thread in threads:
        thread.join()


def _place(session: Conn) -> Position | None:
    rows = {str(k).lower(): str(v) for k, v in fetch(session, "show status like 'binlog_snap%'")}
    file = rows.get("binlog_snapshot_file", "")
    return Position.of(file, int(rows["binlog_snapshot_position"])) if file else None
