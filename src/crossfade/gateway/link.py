"""A link: a client's connection at another port than that for requests, and the one that leads on.

Bytes go both ways with back-pressure, an end of one direction is passed on as such, and a
connection that breaks breaks the other: whoever takes the end of the bytes for the end of a message
must not take a break for it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import cast

from crossfade.gateway.limits import Limits
from crossfade.model import Address

__all__ = ["End", "Link"]

_RESET = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One of the two connections.  Until they are joined only what is said first is read: one read,
    at most a quarter of a megabyte; the rest waits in the kernel.

    left is told when it is gone before it was joined.  lost says that it is gone, ended that the
    other end sends no more, early what has come."""

    transport: asyncio.Transport

    def __init__(self, limits: Limits, came: Callable[[End], None] | None = None) -> None:
        self._limits = limits
        self._came = came
        self._link: Link | None = None
        self.left: Callable[[], object] | None = None
        self.lost = False
        self.ended = False
        self.early = b""
        self.peer = "unknown"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(self._limits.buffer_high, self._limits.buffer_low)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if peer := transport.get_extra_info("peername"):
            self.peer = str(peer[0])
        if self._came is not None:
            self._came(self)

    def join(self, link: Link) -> None:
        """It belongs to a link now."""
        self._link = link
        early, self.early = self.early, b""
        if early:
            link.forward(self, early)
        if self.ended:
            link.ended(self)
        self.read(link.takes_from(self))

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._link is not None:
            self._link.forward(self, data)
        else:
            self.early += data
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The other end sends no more; it may still read."""
        self.ended = True
        if self._link is not None:
            self._link.ended(self)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self.lost = True
        if self._link is not None:
            self._link.lost(self)
        elif self.left is not None:
            self.left()

    def pause_writing(self) -> None:
        """The other end takes no more for now."""
        if self._link is not None:
            self._link.can_write(self, able=False)

    def resume_writing(self) -> None:
        """It takes more."""
        if self._link is not None:
            self._link.can_write(self, able=True)

    def read(self, able: bool) -> None:
        """Read on, or not."""
        if self.transport.is_closing() or self.ended:
            return
        if able:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def reset(self) -> None:
        """Break it off, so that the other end notices that it was not the end."""
        if not self.lost:
            raw = self.transport.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class Link:
    """Two ends that pass each other's bytes on.  to is where it leads; over is told when both are
    gone."""

    def __init__(
        self, client: End, upstream: End, to: Address, over: Callable[[Link], None]
    ) -> None:
        self._ends = (client, upstream)
        self._over = over
        self._ended = 0
        self._full: set[End] = set()
        self.peer = client.peer
        self.to = to
        self.moved = monotonic()

    def join(self) -> None:
        """Begin."""
        for end in self._ends:
            end.join(self)
        for end in self._ends:
            if end.lost:  # before anybody could be told
                self.lost(end)

    def takes_from(self, source: End) -> bool:
        """Whether the other end takes what comes from ``source``."""
        return self._other(source) not in self._full

    def forward(self, source: End, data: bytes) -> None:
        """Pass on what came from ``source``."""
        self.moved = monotonic()
        transport = self._other(source).transport
        if not transport.is_closing():
            transport.write(data)

    def can_write(self, sink: End, *, able: bool) -> None:
        """``sink`` takes more bytes, or does not: read from the other end accordingly."""
        self.moved = monotonic()
        if able:
            self._full.discard(sink)
        else:
            self._full.add(sink)
        self._other(sink).read(able)

    def ended(self, source: End) -> None:
        """``source`` sends no more.  When neither does, both connections end, after what is still
        to be written."""
        self.moved = monotonic()
        self._ended += 1
        if self._ended == len(self._ends):
            for end in self._ends:
                end.transport.close()
        elif not (transport := self._other(source).transport).is_closing():
            transport.write_eof()

    def lost(self, source: End) -> None:
        """``source`` is gone."""
        other = self._other(source)
        if other.lost:
            self._over(self)
        elif self._ended < len(self._ends):
            other.reset()

    def cut(self) -> None:
        """Break both connections; what was not written yet goes nowhere."""
        for end in self._ends:
            end.reset()

    def _other(self, source: End) -> End:
        client, upstream = self._ends
        return upstream if source is client else client
