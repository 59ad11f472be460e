"""Follows the old side from the proven copy to the last change.

``Following`` owns the sessions, keeps the new side close and compares what changed; between the
steps a thread of its own goes on with both.
"""

from __future__ import annotations

import contextlib
import threading
import time

import pymysql

from crossfade.drivers.databases.mysql.binlog import Position
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    cut_off,
    explained,
    quietly_close,
)
from crossfade.drivers.databases.mysql.feed import Feed
from crossfade.drivers.databases.mysql.proof import Difference, Proof
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Endpoint

__all__ = ["Following", "Keeper"]

_CLOSE = 0.5
"""Seconds for the last captured position to be applied: then the feed follows closely."""
_HOPELESS = 6
"""So many waits that do not get shorter: the new side is slower than the old one."""
_READ_TIMEOUT = 600.0
_STUCK = 8.0
"""Seconds after which what the keeper waits for is too late: it may be in the pause."""
_BREATH, _ROUND = 0.05, 1.0


class Following:
    """The feed of one database, its proof, and a session on each side for comparing."""

    def __init__(self, old: Endpoint, new: Endpoint, feed: Feed, proof: Proof) -> None:
        self.old, self.new, self.feed, self.proof = old, new, feed, proof
        self._sessions: dict[str, Conn] = {}

    def close(self) -> None:
        """Close all sessions."""
        self.feed.pause()
        self._forget()

    def cut_off(self) -> None:
        """Break all sessions under a thread that waits for one of them."""
        self.feed.cut_off()
        for conn in list(self._sessions.values()):
            cut_off(conn)

    def catch_up(self, *, patience: float) -> float:
        """Wait until the new side follows closely; the seconds that it took.  Raises Failed."""
        began = time.monotonic()
        before, slower = float("inf"), 0
        while True:
            started = time.monotonic()
            self._reach(patience=max(patience, 3600.0))
            lag = time.monotonic() - started
            if lag <= _CLOSE:
                return time.monotonic() - began
            slower = slower + 1 if lag > 5 and lag >= before * 0.95 else 0
            if slower >= _HOPELESS:
                raise Failed(
                    "feed-too-slow",
                    f"The new side does not catch up: it is {lag:.0f} s behind and gets no nearer.",
                    where=str(self.new),
                )
            before = lag

    def reach(self, *, patience: float) -> Position:
        """Apply what the old side has committed by now; up to where that is.  Raises Failed."""
        return self._reach(patience=patience)

    def compare(self, upto: Position, *, patience: float) -> list[Difference]:
        """Compare what changed up to ``upto``, which was reached.  Raises Failed."""
        deadline = time.monotonic() + patience
        while True:
            try:
                with explained("compare what changed", f"{self.old} and {self.new}"):
                    return self.proof.round(self.on_old(), self.on_new(), upto)
            except Failed as error:
                self._forget()
                lost = error.code in ("database-connection-lost", "database-unreachable")
                if not lost or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def round(self, *, patience: float) -> list[Difference]:
        """Compare what changed until now."""
        return self.compare(self._reach(patience=patience), patience=patience)

    def miscounted(self) -> tuple[int, list[str]]:
        """As ``Proof.miscounted``."""
        with explained("count rows", f"{self.old} and {self.new}"):
            return self.proof.miscounted(self.on_old(), self.on_new())

    def on_old(self) -> Conn:
        """A session on the old side.  Raises Failed."""
        return self._session("old", self.old)

    def on_new(self) -> Conn:
        """A session on the new side.  Raises Failed."""
        return self._session("new", self.new)

    def _reach(self, *, patience: float) -> Position:
        position = self.feed.position(patience=patience)
        self.feed.follow(position, patience=patience)
        return position

    def _session(self, side: str, endpoint: Endpoint) -> Conn:
        conn = self._sessions.get(side)
        if conn is None or not conn.open:
            conn = self._sessions[side] = connect(endpoint, read_timeout=_READ_TIMEOUT)
        return conn

    def _forget(self) -> None:
        for conn in self._sessions.values():
            quietly_close(conn)
        self._sessions.clear()


class Keeper:
    """A thread that follows closely and compares what changed, until it is stopped."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crossfade feed", daemon=True)
        self._thread.start()

    def stop(self) -> Following:
        """End it after what it is in; what it followed with."""
        self._over.set()
        self._thread.join(_STUCK)
        while self._thread.is_alive():  # a server that says nothing: its network may be cut
            self._following.cut_off()
            self._thread.join(1.0)
        return self._following

    def _run(self) -> None:
        following, compared = self._following, 0.0
        while not self._over.is_set():
            # Whatever stands in the way now is met again, and told, by whoever stops us.
            with contextlib.suppress(CrossfadeError, pymysql.MySQLError, OSError):
                upto = following.reach(patience=2.0)
                if time.monotonic() > compared:
                    began = time.monotonic()
                    following.compare(upto, patience=1.0)
                    now = time.monotonic()
                    compared = now + max(_ROUND, 10 * (now - began))
                self._over.wait(_BREATH)
                continue
            self._over.wait(_ROUND)
