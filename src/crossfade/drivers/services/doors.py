"""A door of the holder: an address that keeps connections waiting until it is opened."""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable
from threading import Thread

from crossfade.drivers.services.relay import GONE, Loop, Pair, prepare_socket
from crossfade.model import Address

__all__ = ["Door", "log"]

Call = Callable[[Callable[[], None]], None]
_BACKLOG = 1024
_CONNECT_SECONDS = 30.0


def log(text: str) -> None:
    """A line for the holder's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {text}\n")
    sys.stderr.flush()


class Door:
    """One door, closed at first.  A connection is waiting, being connected, or a pair.

    ``since`` is when the first one came (monotonic)."""

    def __init__(self, loop: Loop, call: Call, name: str, listen: str, target: str) -> None:
        self._loop = loop
        self._call = call
        self.name = name
        self.target = Address.parse(target)
        self.state = "closed"  # closed, open, given-up
        self.arriving: dict[int, socket.socket] = {}
        self.waiting: dict[int, socket.socket] = {}
        self.pairs: set[Pair] = set()
        self.since = float("inf")
        self.accepted = self.gave_up = self.connected = self.failed = self.sent_on = 0
        self._passed = 0
        self.before = {"bytes": 0, "connections": 0}
        at = Address.parse(listen)
        family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
        self.listener = socket.create_server((at.host, at.port), family=family, backlog=_BACKLOG)
        self.listener.setblocking(False)
        loop.watch(self.listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, events: int) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except BlockingIOError:
                return
            except OSError:  # out of descriptors: try again with the next tick
                self._loop.forget(self.listener.fileno())
                return
            self.accepted += 1
            self.since = min(self.since, time.monotonic())
            prepare_socket(client)
            self._welcome(client)

    def _welcome(self, client: socket.socket) -> None:
        """Somebody has come."""
        self._waits(client)

    def _waits(self, client: socket.socket) -> None:
        """Keep it waiting, unless we are open."""
        fd = client.fileno()
        self.waiting[fd] = client
        self._loop.watch(fd, GONE, lambda _: self._gone(fd))
        if self.state == "open":
            self._let_through(client)

    def _gone(self, fd: int) -> None:
        self.gave_up += 1
        self._loop.close(self.waiting.pop(fd))

    def tick(self) -> None:
        """Accept again, should that have been impossible for a while."""
        if self.state != "given-up":
            self._loop.watch(self.listener.fileno(), select.EPOLLIN, self._accept)

    def open(self) -> None:
        """Let the waiting connections and all later ones through.  Fine when it is open."""
        if self.state != "closed":
            return
        self.before = {"bytes": self.passed, "connections": self.connected}
        self.state = "open"
        for client in list(self.waiting.values()):
            self._let_through(client)

    def _let_through(self, client: socket.socket) -> None:
        """Connect it with the target."""
        try:
            Thread(target=self._reach_target, args=(client,), daemon=True).start()
        except RuntimeError as error:  # no more threads
            log(f"door {self.name}: {error}")
            self._connection(client, None)

    def _reach_target(self, client: socket.socket) -> None:
        """In a thread of its own, for names may have to be looked up and hosts may not answer."""
        server: socket.socket | None = None
        try:
            server = socket.create_connection(
                (self.target.host, self.target.port), _CONNECT_SECONDS
            )
        except OSError as error:
            if self.failed < 20 or self.failed % 1000 == 0:  # the log must not fill the disk
                log(f"door {self.name}: {self.target} cannot be reached: {error}")
        self._call(lambda: self._connection(client, server))

    def _connection(self, client: socket.socket, server: socket.socket | None) -> None:
        fd = client.fileno()
        if self.waiting.get(fd) is not client:  # gave up meanwhile
            if server:
                server.close()
            return
        del self.waiting[fd]
        if server is None:
            self.failed += 1
            self._loop.close(client)
            return
        self.connected += 1
        prepare_socket(server)
        self._loop.forget(fd)
        self.pairs.add(Pair(self._loop, client, server, self._over))

    def _over(self, pair: Pair) -> None:
        self.pairs.discard(pair)
        self._passed += pair.passed

    @property
    def passed(self) -> int:
        """Bytes that went through, both ways together."""
        return self._passed + sum(pair.passed for pair in self.pairs)

    def give_up(self) -> None:
        """Wait no longer: whoever waits is sent away, and nobody listens here any more."""
        if self.state == "closed":
            self.state = "given-up"
            for client in (*self.arriving.values(), *self.waiting.values(), self.listener):
                self._loop.close(client)
            self.arriving.clear()
            self.waiting.clear()

    def status(self) -> dict[str, object]:
        """How it stands; ``before`` is what had gone through when it was opened."""
        closed = self.state != "open"
        now = {"bytes": self.passed, "connections": self.connected}
        return {
            "state": self.state,
            "target": str(self.target),
            "waiting": len(self.waiting),
            "accepted": self.accepted,
            "gave_up": self.gave_up,
            "failed": self.failed,
            "sent_on": self.sent_on,
            "open_connections": len(self.pairs),
            "before": now if closed else self.before,
            **now,
        }
