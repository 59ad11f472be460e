"""Connections from clients: one request at a time, in order, however they are sent."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, cast

from crossfade.gateway.bodies import BadBody, Body, body_of
from crossfade.gateway.exchange import Exchange
from crossfade.gateway.fields import BadHead
from crossfade.gateway.heads import RequestHead, parse_request, refuse_early

if TYPE_CHECKING:
    from crossfade.gateway.gate import Gate
    from crossfade.gateway.tunnel import Tunnel

__all__ = ["ClientConnection"]

_RESET = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """One connection.  Bytes that come before the present request is answered are kept.

    half_closed says that the client sends no more.  last is when it last sent anything, or when
    it last got a complete answer.
    """

    transport: asyncio.Transport

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.exchange: Exchange | None = None
        self.tunnel: Tunnel | None = None
        self.peer = b"unknown"
        self.half_closed = False
        self.write_paused = False
        self.reading = True
        self.last = monotonic()
        self._body: Body | None = None
        self._buffer = b""
        self._last_raw = b""
        self._last_head: RequestHead
        self._head_since = 0.0
        self._blocked_since = 0.0
        self._gone_by: float | None = None  # set once we only wait for the connection to end
        self._thrown_away = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        limits = self._gate.limits
        self.transport.set_write_buffer_limits(limits.buffer_high, limits.buffer_low)
        peer = transport.get_extra_info("peername")
        if peer:
            self.peer = str(peer[0]).encode("ascii", "replace")
        self._gate.clients.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._gate.clients.discard(self)
        self._gone_by = 0.0
        if self.tunnel is not None:
            self.tunnel.cut()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_left()

    # What the client sends.

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self.last = monotonic()
        if self.tunnel is not None:
            self.tunnel.forward(self, data)
        elif self._gone_by is not None:
            self._thrown_away += len(data)
            if self._thrown_away > self._gate.limits.linger_bytes:
                self.transport.abort()
        elif self.exchange is None:
            if self._buffer:
                data = self._buffer + data
            else:
                self._head_since = self.last
            self._next_request(data)
        elif self._body is not None:
            self.exchange.moved = self.last
            self._read_body(data)
        else:
            self._buffer += data
            self.update_reading()

    def _next_request(self, data: bytes) -> None:
        """Take a request from the bytes at hand, if its head is complete; keep the rest."""
        try:
            end = data.find(b"\r\n\r\n") + 4
            while data.startswith(b"\r\n"):  # an empty line before a request is no harm
                data = data[2:]
                end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._buffer = data
                refuse_early(data, self._gate.limits)
                return
            raw = data[:end]
            if raw == self._last_raw:  # clients that poll repeat themselves word for word
                head = self._last_head
            else:
                head = parse_request(raw, self._gate.limits)
                self._last_raw, self._last_head = raw, head
        except BadHead as error:
            self._gate.counters.refused += 1
            self.refuse(error.status, error.why)
            return
        exchange = self.exchange = Exchange(self._gate, self, head)
        self._buffer = data[end:]
        if head.length != 0:
            self._body = body_of(head.length, self._gate.limits)
            if self._buffer:
                self._read_body(self._buffer)
        if self.half_closed and self._body is not None:  # the rest of it will never come
            self.exchange = None
            self._finish()
        elif self.exchange is exchange:
            self._gate.admit(exchange)
        if self._buffer or not self.reading:
            self.update_reading()

    def _read_body(self, data: bytes) -> None:
        """Pass data of the request's body on."""
        exchange, body = self.exchange, self._body
        assert exchange is not None  # noqa: S101 - tells the type checker
        assert body is not None  # noqa: S101 - tells the type checker
        try:
            pieces, rest = body.feed(data)
        except BadBody as error:
            exchange.fail(400, str(error))
            return
        self._buffer = rest
        if pieces:
            exchange.body_data(pieces)
        if body.done:
            self._body = None
            exchange.body_ended()
        self.update_reading()

    def eof_received(self) -> bool:
        """The client sends no more.  What it sent completely is still answered."""
        self.half_closed = True
        self.last = monotonic()
        if self.tunnel is not None:
            return self.tunnel.ended(self)
        if not self.transport.can_write_eof():  # TLS has no half of a connection
            return False
        return self.exchange is not None and self._body is None and self._gone_by is None

    def update_reading(self) -> None:
        """Read from the client only what there is room for."""
        limits, exchange = self._gate.limits, self.exchange
        able = True
        if len(self._buffer) > limits.buffer_high:
            able = False
        elif exchange is not None and not exchange.body_complete:
            if exchange.upstream is not None:
                able = not exchange.upstream.write_paused
            else:
                able = exchange.pending_bytes <= limits.buffer_high
        self.read(able)

    def read(self, able: bool) -> None:
        """Read from the client, or leave its bytes in the kernel for now."""
        if able is not self.reading and not self.transport.is_closing():
            self.reading = able
            (self.transport.resume_reading if able else self.transport.pause_reading)()

    # What the client gets.

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def answered(self, *, close: bool) -> None:
        """The present exchange is answered completely: go on with the next request, or end."""
        self.exchange = None
        self.last = self._head_since = monotonic()
        if close:
            self._finish()
            return
        if self._buffer:
            self._next_request(self._buffer)
        if self.half_closed:
            self._finish_unless_busy()

    def _finish_unless_busy(self) -> None:
        if self.exchange is None and self._gone_by is None:
            self._finish()

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """From now on bytes are only passed on."""
        self.exchange = None
        self.tunnel = tunnel
        data, self._buffer = self._buffer, b""
        if data:
            tunnel.forward(self, data)
        self.read(True)
        if self.half_closed and not tunnel.ended(self):
            tunnel.cut()

    def refuse(self, status: int, why: str, *, body: bool = True) -> None:
        """Answer with an error of our own, and end the connection."""
        text = f"{why}\n".encode() if body else b""
        self.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Cache-Control: no-store\r\nConnection: close\r\n\r\n%b"
            % (status, HTTPStatus(status).phrase.encode(), len(why) + 1, text)
        )
        self._finish(unread=True)

    def cut(self, *, reset: bool) -> None:
        """Break an answer off so that the client notices.  ``reset`` where a mere end would look
        like the end of the body."""
        if reset and not self.transport.is_closing():
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self._finish()

    def _finish(self, *, unread: bool = False) -> None:
        """End the connection.  While the client may still be sending we read on for a moment and
        throw it away: closing at once would reset the connection, and the answer with it."""
        if self.transport.is_closing() or self._gone_by is not None:
            return
        limits = self._gate.limits
        lingers = (unread or self._body is not None or bool(self._buffer)) and not self.half_closed
        lingers = lingers and self.transport.can_write_eof()  # the end of TLS waits for its other
        self._gone_by = monotonic() + (
            limits.linger_seconds if lingers else limits.answer_stall_seconds
        )
        self._buffer = b""
        self._body = None
        if lingers:
            self.read(True)
            self.transport.write_eof()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not keep up with the answer."""
        self.write_paused = True
        self._blocked_since = monotonic()
        self._writable(False)

    def resume_writing(self) -> None:
        """It does again."""
        self.write_paused = False
        self._writable(True)

    def _writable(self, able: bool) -> None:
        if self.tunnel is not None:
            self.tunnel.can_write(self, able)
        elif self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.moved = monotonic()
            self.exchange.upstream.read(able)

    def check(self, now: float) -> None:
        """Apply the time limits of the connection itself; called about once a second."""
        limits = self._gate.limits
        if self._gone_by is not None:
            if now > self._gone_by:
                self.transport.abort()
        elif self.tunnel is not None:
            self.tunnel.check(now)
        elif self.write_paused and now - self._blocked_since > limits.answer_stall_seconds:
            self.transport.abort()
        elif self.exchange is None and self._buffer:
            if now - self._head_since > limits.head_seconds:
                self._gate.counters.refused += 1
                self.refuse(408, "the request head did not come")
        elif self.exchange is None and now - self.last > (
            limits.farewell_seconds if self._gate.farewell else limits.idle_seconds
        ):
            self._finish()

    def retire(self) -> None:
        """The gate ends: close the connection if it is idle."""
        if self.tunnel is not None:
            self.tunnel.cut()
        elif self.exchange is None:
            self._finish()
