"""Writing on a connection that the application may not have accepted yet."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable

__all__ = ["FirstSegment"]

_FIRST = 1200
"""Bytes that fit into one segment on every path (IPv6's least MTU, 1280, less the headers)."""
_SOONEST, _LATEST = 0.001, 0.05


class FirstSegment:
    """Sends one segment, and the rest once that is acknowledged.

    While an application's queue of connections is full, its kernel may answer with SYN cookies
    (Linux, tcp(7): tcp_syncookies) and then remembers nothing of a connection.  The first segment
    still makes it one, as often as it has to be repeated; a later segment that comes before
    is answered by a reset, and a request that may not be sent twice is lost.  Seen with requests
    of 3,000 bytes at a queue of 50 that 200 came to at once: 66 were reset, and none of 300 bytes.

    waits is called with True when more is to be written than goes out, with False when it has gone.
    """

    def __init__(self, transport: asyncio.Transport, waits: Callable[[bool], None]) -> None:
        self._transport = transport
        self._waits = waits
        self._rest: list[bytes] = []
        self._begun = False
        # A handshake of TLS was answered, so whoever answered has accepted.
        self.acknowledged = transport.get_extra_info("ssl_object") is not None

    def write(self, data: bytes) -> None:
        """Send it, now or as soon as it may go."""
        if not self.acknowledged and not self._begun:
            self._begun = True
            self._transport.write(data[:_FIRST])
            data = data[_FIRST:]
        if not data:
            return
        if self._rest:
            self._rest.append(data)
        elif self.acknowledged or self._all_received():
            self.acknowledged = True
            self._transport.write(data)
        else:
            self._rest.append(data)
            self._waits(True)
            asyncio.get_running_loop().call_later(_SOONEST, self._look, 2 * _SOONEST)

    def go_on(self) -> None:
        """It is known to be accepted: send what waits."""
        self.acknowledged = True
        if self._rest:
            rest, self._rest = b"".join(self._rest), []
            self._waits(False)
            self._transport.write(rest)

    def _look(self, again: float) -> None:
        if not self._rest or self._transport.is_closing():
            return
        if self._all_received():
            self.go_on()
        else:
            later = asyncio.get_running_loop().call_later
            later(again, self._look, min(2 * again, _LATEST))

    def _all_received(self) -> bool:
        """Whether the other end's kernel has acknowledged every byte (tcp(7), SIOCOUTQ)."""
        socket = self._transport.get_extra_info("socket")
        try:
            left = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return True  # it is gone, which a write finds out
        return bool(struct.unpack("i", left)[0] == 0)
