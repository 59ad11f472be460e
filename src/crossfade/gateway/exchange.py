"""One request with its answer, from the moment its head is complete to its last byte."""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from crossfade.gateway.answers import ResponseHead
from crossfade.gateway.bodies import chunk
from crossfade.gateway.heads import RequestHead
from crossfade.gateway.tunnel import Tunnel
from crossfade.model import Side

if TYPE_CHECKING:
    from crossfade.gateway.client import ClientConnection
    from crossfade.gateway.gate import Gate
    from crossfade.gateway.upstream import UpstreamConnection

__all__ = ["Exchange", "Stage"]

_POOLED = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_READS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLIENT_LEFT = 499


class Stage(Enum):
    """Where an exchange stands.  Exactly those that are IN_FLIGHT are in ``Gate.in_flight``."""

    NEW = "new"
    WAITING = "waiting"
    IN_FLIGHT = "in flight"
    OVER = "over"


class Exchange:
    """One request.  side and epoch are set when it is dispatched, status when it is answered.

    moved is the time of the last progress on any of its connections, for the time limits.
    """

    # Defaults that most requests keep: an instance is made for every request.
    stage = Stage.NEW
    side: Side | None = None
    epoch = 0
    number = 0
    status = 0
    replays = 0
    sent_at: float | None = None
    upstream: UpstreamConnection | None = None
    task: asyncio.Task[None] | None = None
    pending: list[bytes] | None = None  # what came of the body before there was a connection
    pending_bytes = 0
    _chunks = False
    _closes = False
    _cut_by_reset = False
    _started = False
    _left_at = 0.0
    waited = False  # in the queue, if only for a moment
    was_cut = False
    head_at = 0.0  # when its final answer began

    def __init__(self, gate: Gate, client: ClientConnection, head: RequestHead) -> None:
        self.gate = gate
        self.client: ClientConnection | None = client
        self.head = head
        self.body_complete = head.length == 0
        self.arrived_at = time.time()
        self.arrived = self.moved = client.last

    @property
    def pools(self) -> bool:
        """Whether a connection may be used that served others before: only where sending the
        request a second time does no harm, since such a connection may turn out to be stale."""
        return self.head.length == 0 and self.head.method in _POOLED and not self.head.upgrade

    @property
    def only_reads(self) -> bool:
        """Whether it is safe (RFC 9110, 9.2.1), and complete: it may go to a side that is fenced
        against writes.  An upgrade never is: what its tunnel carries is not known."""
        return self.pools

    @property
    def half_closed(self) -> bool:
        """Whether the client has closed its half of the connection."""
        return self.client is not None and self.client.half_closed

    # The request on its way to the application.

    def body_data(self, pieces: list[bytes]) -> None:
        """Data of the request's body has come."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            self._send(chunk(data) if self.head.length is None else data)

    def body_ended(self) -> None:
        """The request's body is complete."""
        self.body_complete = True
        if self.head.length is None:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        if self.upstream is None:
            if self.pending is None:
                self.pending = []
            self.pending.append(data)
            self.pending_bytes += len(data)
        else:
            self.moved = monotonic()
            if not self.upstream.transport.is_closing():
                self.upstream.write(data)

    def attach(self, upstream: UpstreamConnection) -> None:
        """Send the request on this connection."""
        self.gate.sending(upstream, self)
        self.upstream = upstream
        upstream.begin(self)
        client = self.client
        assert client is not None  # noqa: S101 - an exchange without client is never dispatched
        self.moved = monotonic()
        head = self.head.wire
        if not head:
            host = self.head.host or self.gate.target_text(self.side)
            head = self.head.forwarded(client.peer, host, self.gate.scheme)
        waits = self.head.wants_continue and not self.body_complete and not self.pending
        if self.pending:
            head += b"".join(self.pending)
            self.pending = None
            self.pending_bytes = 0
        upstream.write(head)
        if not self.body_complete:
            if waits:
                client.write(_CONTINUE)
            client.update_reading()
        if client.write_paused:
            upstream.read(False)

    # The answer on its way to the client.

    def interim(self, head: ResponseHead) -> None:
        """A 1xx.  "100 Continue" is our own business: we have answered it when we dispatched."""
        if self.client is not None and head.status != 100 and not self.head.http10:
            self.client.write(head.forwarded(chunked=False, close=False))

    def answer_head(self, head: ResponseHead) -> bytes:
        """The application's final answer begins.  Returns the head for the client."""
        self.status = head.status
        self._started = True
        self.head_at = self.moved
        if self.head.method not in _READS:
            self.gate.wrote(self)
        if head.length is None or head.length < 0:
            self._chunks = head.length is None and not self.head.http10
            self._cut_by_reset = not self._chunks  # the client sees the end by the close alone
        self._closes = (
            self.head.close
            or self._cut_by_reset
            or not self.body_complete
            or self.gate.ending
            or self.gate.farewell
        )
        if head.plain and not self._closes and not self._chunks:
            return head.plain
        return head.forwarded(chunked=self._chunks, close=self._closes)

    def answer_data(self, pieces: list[bytes], out: list[bytes]) -> None:
        """Data of the answer's body: appends what goes to the client."""
        if not self._chunks:
            out += pieces
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            out.append(chunk(data))

    def to_client(self, out: list[bytes]) -> None:
        """Write to the client, if it is still there."""
        if self.client is not None:
            self.client.write(out[0] if len(out) == 1 else b"".join(out))

    def answer_complete(self, out: list[bytes]) -> None:
        """The answer is complete; the connection to the application is no longer ours."""
        self.upstream = None  # first: a client that does not keep up must not stop it any more
        if self._chunks:
            out.append(b"0\r\n\r\n")
        if out:
            self.to_client(out)
        self._over()
        if self.client is not None:
            self.client.answered(close=self._closes or not self.body_complete)

    def open_tunnel(self, head: ResponseHead, rest: bytes) -> None:
        """The application has switched protocols."""
        client, upstream = self.client, self.upstream
        if client is None or upstream is None or not self.head.upgrade or not head.upgrade:
            if upstream is not None:
                upstream.drop()
            self.upstream_broke("the application switched protocols unasked")
            return
        self.status = 101
        client.write(head.forwarded(chunked=False, close=False) + rest)
        tunnel = Tunnel(self.gate, client, upstream)
        upstream.read(not client.write_paused)
        upstream.exchange = None
        upstream.tunnel = tunnel
        self.upstream = None
        self._over()
        client.become_tunnel(tunnel)

    # The ends other than a complete answer.

    def upstream_lost(self, upstream: UpstreamConnection, error: Exception | None) -> None:
        """The connection to the application is gone before the answer was complete: closed by it,
        or broken by an error."""
        if upstream is not self.upstream or self.stage is not Stage.IN_FLIGHT:
            return
        self.upstream = None
        untouched = upstream.reused and not upstream.answered and self.client is not None
        if untouched and self.pools and self.replays < self.gate.limits.replays:
            self.replays += 1
            self.gate.route(self)
        else:
            how = f"broke off ({error})" if error else "closed the connection"
            after = monotonic() - (self.sent_at or self.arrived)
            self.upstream_broke(
                f"the application {how} before it had answered, after {after:.1f} s"
            )

    def upstream_broke(self, why: str) -> None:
        """The application's answer cannot be completed."""
        self.fail(502, why)

    def fail(self, status: int, why: str) -> None:
        """End the exchange truthfully: with ``status`` if nothing was sent, else by a cut."""
        if self.stage is Stage.OVER:
            return
        client, self.client = self.client, None
        self._drop_upstream()
        counters = self.gate.counters
        if self._started:
            counters.cut += 1
            self.was_cut = True
        else:
            self.status = status
            if client is not None:
                counters.failed += status >= 500
                counters.refused += status < 500
        self._over()
        if client is None:
            return
        client.exchange = None
        if self._started:
            client.cut(reset=self._cut_by_reset)
        else:
            client.refuse(status, why, body=self.head.method != b"HEAD")

    def client_left(self) -> None:
        """The client is gone.  A write that is wholly sent goes on: the application may well
        finish it, and the drain has to know when."""
        self.client = None
        writes = self.head.method not in _READS
        if self.upstream is not None and writes and self.body_complete:
            self._left_at = monotonic()
            self.upstream.read(True)
            return
        self.status = self.status or _CLIENT_LEFT
        self._drop_upstream()
        self._over()

    def check(self, now: float) -> None:
        """Apply the time limits; called about once a second while in flight."""
        limits, client, quiet = self.gate.limits, self.client, now - self.moved
        if client is None:
            if now - self._left_at > limits.orphan_seconds:
                self._drop_upstream()
                self._over()
        elif client.write_paused or self.upstream is None:
            return  # the client's own limit, or the patience of connecting
        elif client.half_closed and now - max(client.last, self.sent_at or now) > (
            limits.half_closed_seconds
        ):
            client.transport.abort()
        elif not self.body_complete and client.reading:
            if quiet > limits.body_stall_seconds:
                self.fail(408, "the rest of the request did not come")
        elif quiet > limits.upstream_stall_seconds:
            self.fail(504, "the application did not answer in time")

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.drop()

    def _over(self) -> None:
        stage, self.stage = self.stage, Stage.OVER
        self.pending = None
        self.gate.over(self, stage)
