"""Connections to the application, and the pool of idle ones."""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import TYPE_CHECKING, cast

from crossfade.gateway.answers import ResponseHead, parse_response
from crossfade.gateway.bodies import BadBody, Body, CloseBody, body_of
from crossfade.gateway.fields import BadHead
from crossfade.gateway.first_segment import FirstSegment
from crossfade.model import Side

if TYPE_CHECKING:
    from crossfade.gateway.exchange import Exchange
    from crossfade.gateway.gate import Gate
    from crossfade.gateway.tunnel import Tunnel

__all__ = ["Pool", "UpstreamConnection"]


class UpstreamConnection(asyncio.Protocol):
    """One connection to ``side``.

    generation is the gate's at the time of connecting: a connection of an older one is never used
    again.  reused says that it served a request before; answered, that a byte of the present
    answer has come.
    """

    transport: asyncio.Transport
    _first: FirstSegment

    def __init__(self, gate: Gate, side: Side, generation: int) -> None:
        self._gate = gate
        self.side = side
        self.generation = generation
        self.exchange: Exchange | None = None
        self.tunnel: Tunnel | None = None
        self.reused = False
        self.answered = False
        self.write_paused = False
        self.last = 0.0
        self._reading = True
        self._buffer = b""
        self._body: Body | None = None
        self._close = False  # this answer is the last one here
        self._interim = 0
        self._last_raw = b""
        self._last_method = b""
        self._last_head: ResponseHead

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The application has accepted."""
        self.transport = cast("asyncio.Transport", transport)
        limits = self._gate.limits
        self.transport.set_write_buffer_limits(limits.buffer_high, limits.buffer_low)
        self._first = FirstSegment(self.transport, self._waits)

    def write(self, data: bytes) -> None:
        """Send of a request."""
        if self._first.acknowledged:
            self.transport.write(data)
        else:
            self._first.write(data)

    def _waits(self, waits: bool) -> None:
        (self.pause_writing if waits else self.resume_writing)()

    def certificate(self) -> bytes | None:
        """The application's certificate (DER), where it is asked by TLS."""
        end = self.transport.get_extra_info("ssl_object")
        return cast("bytes | None", end.getpeercert(binary_form=True)) if end else None

    def begin(self, exchange: Exchange) -> None:
        """Serve this exchange."""
        self.exchange = exchange
        self.answered = False
        self._body = None
        self._interim = 0

    def read(self, able: bool) -> None:
        """Read from the application, or leave its bytes in the kernel for now."""
        if able is not self._reading and not self.transport.is_closing():
            self._reading = able
            (self.transport.resume_reading if able else self.transport.pause_reading)()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self.tunnel is not None:
            self.tunnel.forward(self, data)
            return
        exchange = self.exchange
        if exchange is None:  # an answer that nobody asked for
            self.transport.abort()
            return
        self.answered = True
        if not self._first.acknowledged:
            self._first.go_on()
        exchange.moved = monotonic()
        try:
            if self._body is None:
                self._read_head(exchange, self._buffer + data if self._buffer else data)
            else:
                self._read_body(exchange, self._body, data, [])
        except (BadHead, BadBody) as bad:
            self.drop()
            exchange.upstream_broke(str(bad))

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        """Read heads up to the final one, and what comes after it."""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > self._gate.limits.head_bytes:
                    raise BadHead(502, "the application's response head is too large")
                self._buffer = data
                return
            raw = data[:end]
            if raw == self._last_raw and exchange.head.method == self._last_method:
                head = self._last_head  # the same head as before, word for word
            else:
                head = parse_response(raw, exchange.head.method, self._gate.limits)
                self._last_raw, self._last_method = raw, exchange.head.method
                self._last_head = head
            data = data[end:]
            if head.status >= 200:
                break
            if head.status == 101:
                self._buffer = b""
                exchange.open_tunnel(head, data)
                return
            self._interim += 1
            if self._interim > self._gate.limits.interim_responses:
                raise BadHead(502, "the application sends no final response")
            exchange.interim(head)
        self._buffer = b""
        self._close = head.close
        out = [exchange.answer_head(head)]
        if head.length == len(data):
            out.append(data)
            self._complete(exchange, out, clean=True)
        else:
            self._body = body_of(head.length, self._gate.limits)
            self._read_body(exchange, self._body, data, out)

    def _read_body(self, exchange: Exchange, body: Body, data: bytes, out: list[bytes]) -> None:
        """Pass data of the answer's body on."""
        if not body.done and data:
            pieces, data = body.feed(data)
            exchange.answer_data(pieces, out)
        if body.done:
            self._complete(exchange, out, clean=not data)
        elif out:
            exchange.to_client(out)

    def _complete(self, exchange: Exchange, out: list[bytes], *, clean: bool) -> None:
        """The whole answer is here."""
        # The connection of a request that may not take one from the pool does not go there either:
        # many writes would leave many idle ones, and many applications have a thread for each.
        reusable = clean and not self._close and exchange.body_complete and exchange.pools
        self.exchange = None
        if reusable and self.generation == self._gate.generation:
            self.reused = True
            if not self._reading:
                self.read(True)
            self.last = monotonic()
            self._gate.pool.put(self)
        else:
            self.drop()
        exchange.answer_complete(out)

    def eof_received(self) -> bool:
        """The application closes: the end of a body that has no other end."""
        if self.tunnel is not None:
            return self.tunnel.ended(self)
        if self.exchange is not None and isinstance(self._body, CloseBody):
            self._complete(self.exchange, [], clean=False)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self.tunnel is not None:
            self.tunnel.cut()
            return
        if error is not None and self.exchange is not None:
            self._read_what_is_left()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upstream_lost(self, error)

    def _read_what_is_left(self) -> None:
        """An application may answer early and close while we still send the body: the failing
        write then ends the connection with the answer unread in the kernel."""
        if self.transport.get_extra_info("ssl_object"):
            return  # what is in the kernel is not the answer's text
        socket = self.transport.get_extra_info("socket")
        try:
            while self.exchange is not None and self.tunnel is None:
                data = os.read(socket.fileno(), 65_536)
                if not data:  # not an end to trust: the error came first
                    return
                self.data_received(data)
        except (OSError, ValueError):
            return

    def pause_writing(self) -> None:
        """The application does not keep up with the body."""
        self.write_paused = True
        self._writable(False)

    def resume_writing(self) -> None:
        """It does again."""
        self.write_paused = False
        self._writable(True)

    def _writable(self, able: bool) -> None:
        if self.tunnel is not None:
            self.tunnel.can_write(self, able)
        elif self.exchange is not None:
            self.exchange.moved = monotonic()
            if self.exchange.client is not None:
                self.exchange.client.update_reading()

    def drop(self) -> None:
        """End the connection at once; its exchange does not hear of it."""
        self.exchange = None
        if not self.transport.is_closing():
            self.transport.abort()


class Pool:
    """Idle connections to the side, the one used last on top."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: list[UpstreamConnection] = []

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, connection: UpstreamConnection) -> None:
        """Keep an idle connection, if there is room."""
        if len(self._idle) < self._size:
            self._idle.append(connection)
        else:
            connection.drop()

    def take(self) -> UpstreamConnection | None:
        """An idle connection that still stands as far as we know."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def expire(self, before: float) -> None:
        """Drop what has been idle since before this time."""
        keep = []
        for connection in self._idle:
            if connection.transport.is_closing():
                continue
            if connection.last < before:
                connection.drop()
            else:
                keep.append(connection)
        self._idle = keep

    def close(self) -> None:
        """Drop all of it."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()
