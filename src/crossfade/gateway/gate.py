"""The gate: lets requests through to a side, or makes them wait.

Everything runs on one thread, so between two lines here nothing else happens unless there is an
``await``.  ``dispatch`` is the one place where a request goes to a side, ``over`` the one place
where it ends; ``in_flight`` is the set of those between the two, so the drain is exact.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

from crossfade.gateway.client import ClientConnection
from crossfade.gateway.exchange import Exchange, Stage
from crossfade.gateway.fields import Headers
from crossfade.gateway.late import LateComers
from crossfade.gateway.limits import Limits
from crossfade.gateway.measures import Measures
from crossfade.gateway.names import AskedNames
from crossfade.gateway.pace import Pace
from crossfade.gateway.pause import Counters, GateState
from crossfade.gateway.probe import Probe
from crossfade.gateway.record import Recorder
from crossfade.gateway.relay import Relay
from crossfade.gateway.tls import Tls
from crossfade.gateway.tunnel import Tunnel
from crossfade.gateway.upstream import Pool, UpstreamConnection
from crossfade.model import Side

__all__ = ["TOKEN_FIELD", "Gate"]

_log = logging.getLogger("crossfade.gateway")

TOKEN_FIELD = b"x-crossfade-token"
"""The field of a request that is sent to see whether it comes by here."""


def _lowered(fields: Headers) -> Iterator[tuple[bytes, bytes]]:
    return ((name.lower(), value) for name, value in fields)


class Gate:
    """Requests, connections and counters.  What is decided, and by whom, is ``Keeper``'s.

    generation changes with every switch and every change of an address: a connection of an older
    generation is not used again.
    """

    def __init__(
        self,
        state: GateState,
        counters: Counters,
        limits: Limits,
        late: LateComers | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.state = state
        self.counters = counters
        self.first_write = asyncio.Event()  # the first since the switch: going back has a price now
        self.limits = limits
        self.late = late or LateComers()
        self.names = AskedNames()
        self.tls = tls
        self.scheme = b"https" if tls else b"http"
        self.generation = 0
        self.ending = False
        self.strangers = 0  # how often a side had a certificate that is not trusted
        self.farewell = False  # clients are asked to leave: nobody is led here any more
        self.probe = Probe(limits.connect_seconds)
        self.clients: set[ClientConnection] = set()
        self.tunnels: set[Tunnel] = set()
        self.relay = Relay(self)
        self.in_flight: set[Exchange] = set()
        self.passing: set[Exchange] = set()  # of those, the reads that were sent on while held
        self.measures = Measures()
        self.waiting: set[Exchange] = set()
        self.pool = Pool(limits.pool_size)
        self.recorder: Recorder | None = None
        self.expected = b""  # a token that a request is expected to bear
        self.came = 0  # how many did
        self.drains = 0  # how many wait for the event
        self.empty = asyncio.Event()  # set when nothing is in flight any more
        self._queue: list[tuple[int, Exchange]] = []
        self._numbers = 0
        self._usual = 0  # how many were in flight when the last hold began
        self._pace: Pace | None = None  # while a release is under way
        self._look: asyncio.TimerHandle | None = None

    # Requests.

    def admit(self, exchange: Exchange) -> None:
        """A request has come: send it on, or let it wait behind those that wait already."""
        self.counters.total += 1
        self.names.add(exchange.head.host)
        if self.late.since:
            self.late.add(exchange)
        self._numbers += 1
        exchange.number = self._numbers
        if self.expected and (TOKEN_FIELD, self.expected) in _lowered(exchange.head.fields):
            self.came += 1
        if self.reads_pass and exchange.only_reads:
            self.passing.add(exchange)
            self.dispatch(exchange)
        elif self.state.hold is not None or self.waiting or self._pace:
            self._enqueue(exchange)
            self._let_go()
        else:
            self.dispatch(exchange)

    @property
    def reads_pass(self) -> bool:
        """Whether reads are sent on although requests are held."""
        return self.state.hold is not None and self.state.hold.reads

    @property
    def undrained(self) -> int:
        """How many requests a drain waits for: while reads pass, those that could write."""
        passing = len(self.passing) if self.reads_pass else 0
        return len(self.in_flight) - passing

    def dispatch(self, exchange: Exchange) -> None:
        """Send a request to the side that serves now."""
        state = self.state
        exchange.stage = Stage.IN_FLIGHT
        exchange.side = state.side
        exchange.epoch = state.epoch
        exchange.sent_at = monotonic()
        self.in_flight.add(exchange)
        self.route(exchange)

    def route(self, exchange: Exchange) -> None:
        """Find a connection for a request in flight."""
        if exchange.pools:
            upstream = self.pool.take()
            if upstream is not None:
                exchange.attach(upstream)
                return
        exchange.task = self.loop.create_task(self._connect(exchange))

    def sending(self, upstream: UpstreamConnection, exchange: Exchange) -> None:
        """A request is about to be written.  The last place where a leak would show: it goes by
        what the connection leads to, whatever was decided.  A read that the hold lets pass is none
        until the reads are drained as well."""
        hold = self.state.hold
        allowed = hold is not None and exchange in self.passing and (hold.reads or not hold.drained)
        if self.state.drained is upstream.side and not allowed:
            self.counters.served_after_drain += 1

    def wrote(self, exchange: Exchange) -> None:
        """A side has begun its final answer to an unsafe method."""
        if 200 <= exchange.status < 400 and exchange.epoch == self.state.epoch:
            self.counters.writes_since_switch += 1
            if self.counters.writes_since_switch == 1:
                self.first_write.set()

    def over(self, exchange: Exchange, stage: Stage) -> None:
        """A request has ended, from ``stage``."""
        if stage is Stage.IN_FLIGHT:
            self.in_flight.discard(exchange)
            self.passing.discard(exchange)
            if self._pace:
                self._pace.ended()
        elif stage is Stage.WAITING:
            self.waiting.discard(exchange)
        self.measures.add(exchange, self.state.side)
        if self.recorder is not None:
            now = monotonic()
            held = (exchange.sent_at or now) - exchange.arrived
            self.recorder.add(
                exchange.arrived_at,
                exchange.head.method.decode("ascii"),
                exchange.status,
                exchange.side.value if exchange.side else "-",
                now - exchange.arrived,
                held,
            )
        self._settle()

    def _settle(self) -> None:
        """Something left the flight: see who is glad of it."""
        if self.drains and not self.undrained:
            self.empty.set()
        if self._pace or self.waiting:
            self._let_go()

    def _enqueue(self, exchange: Exchange) -> None:
        exchange.stage = Stage.WAITING
        exchange.waited = True
        exchange.sent_at = None
        self.waiting.add(exchange)
        heapq.heappush(self._queue, (exchange.number, exchange))

    def _put_back(self, exchange: Exchange) -> None:
        """Nothing was sent yet and the world has changed: wait again, in the old place."""
        self.in_flight.discard(exchange)
        self.passing.discard(exchange)
        exchange.side = None
        self._enqueue(exchange)
        self._settle()

    def expect(self, token: bytes) -> None:
        """Count the requests with this token from now on.  Fine when it is expected already."""
        if token != self.expected:
            self.expected, self.came = token, 0

    # Connections to the side.

    def target_text(self, side: Side | None) -> bytes:
        """The address of a side, as a Host field would name it."""
        return str(self.state.targets[side]).encode() if side else b""

    async def _connect(self, exchange: Exchange) -> None:
        """Connect for a request.  While the application refuses (it may just be starting) try
        again: nothing was sent, so this is safe for every method."""
        give_up = monotonic() + self.limits.patience_seconds
        pause = 0.02
        generation = self.generation
        while True:
            upstream = await self._try_connect(self.state.side)
            if exchange.stage is not Stage.IN_FLIGHT:
                if upstream is not None:
                    upstream.drop()
                return
            passes = self.reads_pass and exchange in self.passing
            if (self.state.hold is not None and not passes) or generation != self.generation:
                if upstream is not None:
                    upstream.drop()
                self._put_back(exchange)
                return
            if upstream is not None and not upstream.transport.is_closing():
                exchange.attach(upstream)
                return
            if monotonic() > give_up:
                exchange.fail(502, "the application does not accept connections")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def _try_connect(self, side: Side) -> UpstreamConnection | None:
        """One attempt; None when it did not succeed."""
        target = self.state.targets.get(side)
        if target is None:
            return None
        generation = self.generation
        peer = self.tls.to(side) if self.tls else None
        if self.probe.wanted and not peer and not await self.probe.answers(target):
            return None
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self.limits.connect_seconds):
                _, upstream = await self.loop.create_connection(
                    lambda: UpstreamConnection(self, side, generation),
                    target.host,
                    target.port,
                    ssl=peer.context if peer else None,
                    server_hostname=(peer.name or target.host) if peer else None,
                )
            if peer and not peer.accepts(upstream.certificate()):
                upstream.drop()
                self.strangers += 1
                if self.strangers == 1:
                    _log.error("%s has another certificate than the gate: not trusted", target)
                return None
            return upstream
        return None

    # What a command brings about.

    def become(self, state: GateState) -> None:
        """Act on a new state.  Everything that a command changes goes through here."""
        before, self.state = self.state, state
        if state.epoch != before.epoch:
            self.counters.writes_since_switch = 0
            self.measures.switched(before.side, state.side)
            for tunnel in list(self.tunnels):
                tunnel.cut()
        if state.epoch != before.epoch or state.targets != before.targets:
            self.generation += 1
            self.pool.close()
        if state.hold is not None:
            if before.hold is None:
                self._usual = len(self.in_flight)
            self._end_release()
            if state.drained is not before.drained:
                self.counters.served_after_drain = 0
            if state.hold.drained and not (before.hold and before.hold.drained):
                self.pool.close()
        else:
            self.passing.clear()
        self.relay.become(state)

    def release(self, step: int) -> None:
        """Let those go that wait, ``step`` more than were in flight before the hold, until none
        waits: see ``Pace``."""
        if self.waiting:
            self._pace = Pace(step, self._usual, len(self.waiting))
            self._look_again(self._pace)
        self._let_go()

    def _let_go(self) -> None:
        """Dispatch from the queue as far as the pace allows."""
        while self.state.hold is None and self.waiting:
            if self._pace and len(self.in_flight) >= self._pace.allowed:
                return
            _, exchange = heapq.heappop(self._queue)
            if exchange in self.waiting:
                self.waiting.discard(exchange)
                self.dispatch(exchange)
        if not self.waiting:
            self._queue.clear()
            self._end_release()

    def _look_again(self, pace: Pace) -> None:
        """See after a while whether more may go."""

        def look() -> None:
            now = monotonic()
            ages = (now - (exchange.sent_at or now) for exchange in self.in_flight)
            pace.look(ages, len(self.waiting), seconds)
            self._look_again(pace)
            self._let_go()

        seconds = self.limits.release_look_seconds
        self._look = self.loop.call_later(seconds, look)

    def _end_release(self) -> None:
        self._pace = None
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def set_recorder(self, path: str | None) -> None:
        """Write requests to ``path`` from now on.  Raises OSError and changes nothing."""
        recorder = None if path is None else Recorder(path, self.loop)
        before, self.recorder = self.recorder, recorder
        if before is not None:
            before.close()

    # Time.

    def check(self) -> None:
        """Apply the time limits everywhere; called about once a second."""
        now = monotonic()
        if self.tls:
            self.tls.refresh()
        for client in list(self.clients):
            client.check(now)
        for exchange in list(self.in_flight):
            exchange.check(now)
        self.relay.check(now)
        self.measures.tick()
        self.pool.expire(now - self.limits.pool_idle_seconds)

    async def until_empty(self) -> None:
        """Wait for the next moment at which nothing is in flight."""
        self.drains += 1
        try:
            self.empty.clear()
            await self.empty.wait()
        finally:
            self.drains -= 1

    async def end(self) -> None:
        """Finish what is in flight within the grace, and close everything."""
        self.ending = True
        self.relay.close()
        for exchange in list(self.waiting) if self.state.hold else ():
            exchange.fail(503, "the gate is ending; nothing of this request was sent on")
        for client in list(self.clients):
            client.retire()
        _log.info("ending: %d requests in flight", len(self.in_flight))
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.grace_seconds):
                while self.in_flight:
                    await self.until_empty()
        for exchange in list(self.in_flight):
            exchange.fail(503, "the gate is ending")
        self.relay.cut()
        await asyncio.sleep(0.05)  # what is written last needs a turn of the loop to leave
        self.pool.close()
        self.set_recorder(None)
