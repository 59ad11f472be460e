"""What a process keeps open for a feed between the steps: the snapshot, then the proof's thread.

There is one for each feed and process, whichever objects speak of it: two threads that take
changed rows from one slot would hide them from each other.
"""

from __future__ import annotations

import atexit
import contextlib
from pathlib import Path

import psycopg

from crossfade.drivers.databases.postgres import silence, slots, spare
from crossfade.drivers.databases.postgres.connect import connect, one
from crossfade.drivers.databases.postgres.following import Following, Keeper
from crossfade.drivers.databases.postgres.slots import Exported
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Living", "living"]

_ROOM = b"""
select current_setting('max_connections')::int - count(*) from pg_catalog.pg_stat_activity
where backend_type = 'client backend'"""
_all: dict[Path, Living] = {}


class Living:
    """The open ends of one feed in this process."""

    def __init__(self) -> None:
        self.snapshot: Exported | None = None
        self._held = contextlib.ExitStack()
        self._spare = contextlib.ExitStack()
        self._keeper: Keeper | None = None

    def begin(self, old: Endpoint, slot: str, patience: float) -> Exported:
        """Make the feed's slot and hold its snapshot.  Raises Failed."""
        self.release()
        self.snapshot = self._held.enter_context(
            slots.create(old, slot, export=True, patience=patience)
        )
        return self.snapshot

    def release(self) -> None:
        """Let the snapshot go; the slot stays."""
        self.snapshot = None
        self._held.close()

    def keep(self, following: Following) -> None:
        """Compare what changes from now on, in a thread."""
        self.take_over()
        self._keeper = Keeper(following)

    def ready(self, endpoint: Endpoint, count: int) -> None:
        """Open so many sessions for the pause, fewer when the server has not many to spare."""
        self._spare.callback(spare.drop, endpoint)
        conns = []
        with contextlib.suppress(Failed, psycopg.Error):  # then they are opened in the pause
            with connect(endpoint) as conn:
                room = int(one(conn, _ROOM)) // 4
            for _ in range(min(count, room)):
                conns.append(connect(endpoint))
                silence.give_up_after(conns[-1], 10)
        spare.keep(endpoint, conns)

    def take_over(self) -> Following | None:
        """End the thread; what it followed with, which is now the caller's to close."""
        keeper, self._keeper = self._keeper, None
        return None if keeper is None else keeper.stop()

    def close(self) -> None:
        """Close all of it."""
        following = self.take_over()
        if following is not None:
            following.close()
        self._spare.close()
        self.release()


def living(place: Path) -> Living:
    """The open ends of the feed that is remembered at ``place``."""
    return _all.setdefault(place.absolute(), Living())


def _close_all() -> None:
    for each in _all.values():
        each.close()


atexit.register(_close_all)
