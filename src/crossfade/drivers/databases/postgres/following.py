"""Follows the old side from the proven copy to the last change.

``Following`` owns the sessions, waits for the new side and compares what changed; between the
steps a thread of its own keeps what is left to compare small.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

import psycopg

from crossfade.drivers.databases.postgres import silence
from crossfade.drivers.databases.postgres.connect import Conn, explained
from crossfade.drivers.databases.postgres.feed import Names, session
from crossfade.drivers.databases.postgres.proof import Difference, Proof
from crossfade.drivers.databases.postgres.subscription import Watched, durable, flushed
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Endpoint

__all__ = ["Following", "Keeper"]

_CLOSE = 0.5
"""Seconds for the last captured position to be applied: then the feed follows closely."""
_HOPELESS = 6
"""So many waits that do not get shorter: the new side is slower than the old one."""


_NO_MORE = ("feed-slot-lost", "feed-given-up", "database-missing")


class GivenUp(Protocol):
    """Why the slots were dropped by whoever watches them; empty when they were not."""

    def __call__(self) -> str: ...


class Following:
    """The feed of one database, its proof, and a session on each side."""

    def __init__(
        self, old: Endpoint, new: Endpoint, names: Names, proof: Proof, given_up: GivenUp
    ) -> None:
        self.old, self.new, self.names, self.proof = old, new, names, proof
        self._given_up = given_up
        self.exact = False
        """Whether asynchronous commits count: in the pause, when each wait is for the last ones."""
        self._sessions: dict[str, Conn] = {}
        where = f"{old} -> {new.address}/{new.database}"
        self.watched = Watched(self.on_old, self.on_new, names, where)

    def __enter__(self) -> Following:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def on_old(self) -> Conn:
        """A session on the old side that is not known to be broken.  Raises Failed."""
        return self._session("old", self.old)

    def on_new(self) -> Conn:
        """A session on the new side that is not known to be broken.  Raises Failed."""
        return self._session("new", self.new)

    def aside(self) -> tuple[Conn, Conn]:
        """Another session on each side, for what is done beside the proof.  Raises Failed."""
        return self._session("old aside", self.old), self._session("new aside", self.new)

    def close(self) -> None:
        """Close all sessions."""
        for conn in self._sessions.values():
            conn.close()
        self._sessions.clear()

    def catch_up(self, *, patience: float) -> float:
        """Wait until the new side follows closely; the seconds that it took.  Raises Failed."""
        began = time.monotonic()
        before, slower = float("inf"), 0
        while True:
            lag = self.wait(patience=patience)
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

    def follow_durably(self, *, patience: float) -> bool:
        """Let every transaction be durable before it is confirmed, if the new side keeps up so."""
        self.confirm_quickly()
        try:
            self.catch_up(patience=patience)
        except Failed as error:
            if error.code != "feed-too-slow":
                raise
            with explained("follow the old side", self.new):
                durable(self.on_new(), self.names, each=False)
            self.catch_up(patience=patience)
            return False
        return True

    def confirm_quickly(self) -> None:
        """What is applied from now on is confirmed at once."""
        with explained("follow the old side", self.new):
            durable(self.on_new(), self.names, each=True)

    def wait(self, *, patience: float) -> float:
        """Wait until the new side has what the old one has committed by now; seconds it took."""
        began = time.monotonic()
        self.watched_wait(self._position(patience), patience=patience)
        return time.monotonic() - began

    def watched_wait(self, position: int, *, patience: float) -> None:
        """As ``Watched.wait``, and when the slot is lost say who gave it up."""
        try:
            with self._bounded(patience + 10):
                self.watched.wait(position, patience=patience)
        except Failed as error:
            why = self._given_up() if error.code == "feed-slot-lost" else ""
            if not why:
                raise
            raise Failed(
                "feed-given-up", f"The feed was given up: {why}.", where=error.where
            ) from None

    def round(self, *, patience: float) -> list[Difference]:
        """Compare what changed until now, as far as the new side has it."""
        position = self._position(patience)
        self.watched_wait(position, patience=patience)
        with (
            explained("compare what changed", f"{self.old} and {self.new}"),
            self._bounded(patience * 10),
        ):
            return self.proof.round(self.on_old(), self.on_new(), position)

    def _position(self, patience: float) -> int:
        """``flushed``, through a restart of the old server."""
        deadline = time.monotonic() + patience
        while True:
            try:
                with (
                    explained("read the old side's position", self.old),
                    silence.bounded(patience, self.on_old()),
                ):
                    return flushed(self.on_old(), exact=self.exact)
            except Failed as error:
                over = time.monotonic() > deadline or self.watched.cancelled.is_set()
                if not error.code.startswith("database-") or over:
                    raise
                time.sleep(0.3)

    def _bounded(self, seconds: float) -> AbstractContextManager[None]:
        """What waits for a server no longer than this."""
        return silence.bounded(seconds, self.on_old(), self.on_new())

    def _session(self, side: str, endpoint: Endpoint) -> Conn:
        conn = self._sessions.get(side)
        if conn is None or conn.closed or conn.broken or silence.hung_up(conn):
            conn = self._sessions[side] = session(endpoint)
        return conn


class Keeper:
    """A thread that compares what changed, round after round, until it is stopped."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crossfade proof", daemon=True)
        self._thread.start()

    def stop(self) -> Following:
        """End it after the round that it is in; what it followed with."""
        self._over.set()
        self._following.watched.cancelled.set()
        self._thread.join()
        self._following.watched.cancelled.clear()
        return self._following

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            # Whatever stands in the way now is met again, and told, by whoever stops us.
            try:
                self._following.round(patience=5.0)
            except Failed as error:
                if error.code in _NO_MORE:
                    self._following.close()
                    return
            except (CrossfadeError, psycopg.Error):
                pass
            self._over.wait(max(1.0, 2 * (time.monotonic() - began)))
