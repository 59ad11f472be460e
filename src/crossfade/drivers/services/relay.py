"""Passing bytes between two TCP connections, many pairs at once, in one thread.

A plain loop around epoll(7).  Data is read into one buffer that all pairs share and is written on
at once; only what the other end does not take is kept, and then nothing more is read until it has.
"""

from __future__ import annotations

import select
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress

__all__ = ["GONE", "Loop", "Pair", "prepare_socket"]

GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
"""Events of a connection whose other end sends no more, or is gone; data is no such event."""
_BUFFER = memoryview(bytearray(256 * 1024))
_BATCH = 256


class Loop:
    """Calls back when a descriptor is ready.  Sockets are closed only after a batch of events, so
    that no event of a batch reaches a newcomer that got the number of a closed one."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._closing: list[socket.socket] = []
        self._complaints = 0

    def watch(self, fd: int, events: int, ready: Callable[[int], None]) -> None:
        """Call ``ready(events)`` for these events; no events at all forgets the descriptor."""
        if not events:
            self.forget(fd)
        elif fd in self._ready:
            self._epoll.modify(fd, events)
            self._ready[fd] = ready
        else:
            self._epoll.register(fd, events)
            self._ready[fd] = ready

    def forget(self, fd: int) -> None:
        """Watch it no longer; fine when it was not watched."""
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self, sock: socket.socket) -> None:
        """Forget a socket, and close it when this batch is over."""
        self.forget(sock.fileno())
        self._closing.append(sock)

    def turn(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds and serve what is ready."""
        for fd, events in self._epoll.poll(timeout, _BATCH):
            if ready := self._ready.get(fd):
                try:
                    ready(events)
                except Exception:  # noqa: BLE001 - one connection's trouble is nobody else's
                    self.forget(fd)
                    self._complain()
        for sock in self._closing:
            sock.close()
        self._closing.clear()

    def _complain(self) -> None:
        """A bug of ours; said a few times, and not until the disk is full."""
        self._complaints += 1
        if self._complaints <= 20:
            traceback.print_exc()


def prepare_socket(sock: socket.socket) -> None:
    """What every connection that is passed on has: not blocking, no delay, kept alive."""
    sock.setblocking(False)
    tcp = socket.IPPROTO_TCP
    sock.setsockopt(tcp, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 60),
        (socket.TCP_KEEPINTVL, 10),
        (socket.TCP_KEEPCNT, 6),
    ):
        sock.setsockopt(tcp, option, value)


class Pair:
    """Two connections that pass each other's bytes on, until both have ended or one has failed.

    ``over`` is called once, with the pair, when both are closed.  ``passed`` counts the bytes."""

    __slots__ = ("_over", "client", "passed")

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        server: socket.socket,
        over: Callable[[Pair], None],
    ) -> None:
        self.passed = 0
        self._over = over
        self.client = _End(loop, self, client)
        other = _End(loop, self, server)
        self.client.peer, other.peer = other, self.client
        self.client.attend()
        other.attend()

    def close(self) -> None:
        """End both connections."""
        client = self.client
        if not client.closed:
            for end in (client, client.peer):
                end.closed = True
                end.loop.close(end.sock)
            self._over(self)


class _End:
    """One connection of a pair.  pending is what it did not take yet; ended: it sends no more."""

    __slots__ = ("closed", "ended", "loop", "pair", "peer", "pending", "sock")
    peer: _End

    def __init__(self, loop: Loop, pair: Pair, sock: socket.socket) -> None:
        self.loop = loop
        self.pair = pair
        self.sock = sock
        self.pending = b""
        self.ended = self.closed = False

    def attend(self) -> None:
        """Watch for what can be done now: a failed connection is noticed when it is used."""
        events = select.EPOLLIN if not (self.ended or self.peer.pending) else 0
        if self.pending:
            events |= select.EPOLLOUT
        self.loop.watch(self.sock.fileno(), events, self.ready)

    def ready(self, events: int) -> None:
        """Write what is pending, read what has come."""
        if self.pending and not self._flush():
            return
        if not (self.ended or self.closed or self.peer.pending) and events != select.EPOLLOUT:
            self._pass_on()

    def _pass_on(self) -> None:
        try:
            count = self.sock.recv_into(_BUFFER)
        except BlockingIOError:
            return
        except OSError:
            self.pair.close()
            return
        if not count:
            self._end()
            return
        self.pair.passed += count
        try:
            sent = self.peer.sock.send(_BUFFER[:count])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.pair.close()
            return
        if sent < count:
            self._keep(_BUFFER[sent:count].tobytes())

    def _keep(self, rest: bytes) -> None:
        self.peer.pending = rest
        self.attend()
        self.peer.attend()

    def _flush(self) -> bool:
        """Whether everything that was pending is written."""
        try:
            sent = self.sock.send(self.pending)
        except BlockingIOError:
            return False
        except OSError:
            self.pair.close()
            return False
        self.pending = self.pending[sent:]
        if self.pending:
            return False
        if self.peer.ended:
            self._say_no_more()
        if not self.closed:
            self.attend()
            self.peer.attend()
        return True

    def _end(self) -> None:
        """This one sends no more: tell the other, once it has got everything."""
        self.ended = True
        self.attend()
        if not self.peer.pending:
            self.peer._say_no_more()

    def _say_no_more(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        if self.ended and not self.pending and not self.peer.pending:
            self.pair.close()
