"""A tunnel: what a connection becomes after "101 Switching Protocols".

Bytes go both ways with back-pressure.  A tunnel is not in flight; it is cut at the switch.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossfade.gateway.client import ClientConnection
    from crossfade.gateway.gate import Gate
    from crossfade.gateway.upstream import UpstreamConnection

__all__ = ["Tunnel"]


class Tunnel:
    """Two connections that pass each other's bytes on."""

    def __init__(self, gate: Gate, client: ClientConnection, upstream: UpstreamConnection) -> None:
        self._gate = gate
        self._client = client
        self._upstream = upstream
        self._half_closed = False
        self.moved = monotonic()
        gate.tunnels.add(self)

    def forward(self, source: ClientConnection | UpstreamConnection, data: bytes) -> None:
        """Pass on what came from ``source``."""
        self.moved = monotonic()
        transport = self._other(source)
        if not transport.is_closing():
            transport.write(data)

    def can_write(self, sink: ClientConnection | UpstreamConnection, able: bool) -> None:
        """``sink`` takes more bytes, or does not: read from the other end accordingly."""
        other = self._upstream if sink is self._client else self._client
        other.read(able)

    def ended(self, source: ClientConnection | UpstreamConnection) -> bool:
        """``source`` sends no more.  Whether its connection stays open for the other direction."""
        transport = self._other(source)
        if self._half_closed or transport.is_closing() or not transport.can_write_eof():
            self.cut()
            return False
        self._half_closed = True
        transport.write_eof()
        return True

    def cut(self) -> None:
        """End both connections."""
        self._gate.tunnels.discard(self)
        for transport in (self._client.transport, self._upstream.transport):
            if not transport.is_closing():
                transport.close()

    def check(self, now: float) -> None:
        """Cut it when nothing has moved for too long."""
        if now - self.moved > self._gate.limits.tunnel_idle_seconds:
            self.cut()

    def _other(self, source: ClientConnection | UpstreamConnection) -> asyncio.Transport:
        return self._upstream.transport if source is self._client else self._client.transport
