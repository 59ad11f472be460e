"""The relay: other ports than the one for requests, whose connections are passed on as they are.

A connection is nobody's request, so it is not in flight and no drain waits for it.  One that comes
during a hold waits, and nothing of it is sent on; one that is open is broken when its port leads
elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from crossfade.gateway.link import End, Link
from crossfade.gateway.pause import GateState
from crossfade.model import Address
from crossfade.ports import RelayedPort

if TYPE_CHECKING:
    from crossfade.gateway.gate import Gate

__all__ = ["Door", "Relay"]

_log = logging.getLogger("crossfade.gateway")

_STANDS = 0.5
"""Seconds after which the first connection to a side counts as the application's.  What forwards a
container's port accepts before the application listens, and breaks off once it has found that out;
what language is spoken here is not known, so nothing can be asked."""


class Door:
    """One port: who is open, who waits for a connection that leads on, and the counts.  why is why
    nobody listens there; unproven, that the side may just be starting: nobody has connected."""

    def __init__(self, gate: Gate, go: asyncio.Event, port: RelayedPort) -> None:
        self._gate = gate
        self._go = go
        self.port = port
        self.why = ""
        self.unproven = False
        self.open: set[Link] = set()
        self.waiting: dict[End, asyncio.Task[None]] = {}
        self.taken = self.failed = 0
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Begin to listen, unless it does.  ``why`` says why it cannot."""
        if self._server is not None:
            return
        at, limits = self.port.listen, self._gate.limits
        try:
            self._server = await self._gate.loop.create_server(
                lambda: End(limits, self._came),
                None if at.host == "::" else at.host,  # everywhere: IPv4 as well
                at.port,
                backlog=limits.backlog,
                reuse_address=True,
            )
            self.why = ""
        except OSError as error:
            self.why = error.strerror or str(error)
            _log.error("%s cannot be listened at: %s", at, self.why)

    def close(self) -> None:
        """Listen no more; who waits is sent away."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client, task in list(self.waiting.items()):
            task.cancel()
            client.reset()

    def cut(self) -> None:
        """Break what is open."""
        for link in list(self.open):
            link.cut()

    def aim(self) -> None:
        """Break what leads to where this port does not lead any more."""
        for link in list(self.open):
            if link.to != self._to:
                link.cut()

    def check(self, now: float) -> None:
        """Break what was idle for too long.  Who is still here counts as one who came just now."""
        late, limits = self._gate.late, self._gate.limits
        for link in list(self.open):
            if now - link.moved > limits.tunnel_idle_seconds:
                link.cut()
            elif late.since:
                late.stays(self._name, link.peer, time.time())

    def as_json(self) -> dict[str, object]:
        """How it stands."""
        return {
            **self.port.as_json(),
            "open": len(self.open),
            "waiting": len(self.waiting),
            "taken": self.taken,
            "failed": self.failed,
            "why": self.why,
        }

    @property
    def _to(self) -> Address:
        return self.port.to(self._gate.state.side)

    @property
    def _name(self) -> str:
        return f"port {self.port.listen.port}"

    def _came(self, client: End) -> None:
        """A client has connected."""
        self.taken += 1
        if self._gate.late.since:
            self._gate.late.came(self._name, client.peer, time.time())
        if len(self.waiting) >= self._gate.limits.port_waiting:
            self._fail(client)
            return
        task = self._gate.loop.create_task(self._lead(client))
        self.waiting[client] = task
        client.left = task.cancel
        task.add_done_callback(lambda _: self.waiting.pop(client, None))

    def _fail(self, client: End) -> None:
        self.failed += 1
        client.reset()

    async def _lead(self, client: End) -> None:
        """Join a client with the side that serves.  While that refuses (it may just be starting)
        try again; whatever changes meanwhile, nothing was sent yet."""
        limits = self._gate.limits
        give_up, to, pause = 0.0, None, 0.02
        while not client.lost:
            if not self._go.is_set():
                await self._go.wait()
                to = None
            if to != self._to:
                to, give_up, pause = self._to, monotonic() + limits.patience_seconds, 0.02
            upstream = await self._connect(to)
            if not self._go.is_set() or to != self._to or client.lost:
                if upstream is not None:
                    upstream.reset()
            elif upstream is not None:
                link = Link(client, upstream, to, self.open.discard)
                self.open.add(link)
                link.join()
                return
            elif monotonic() > give_up:
                self._fail(client)
                return
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.25)

    async def _connect(self, to: Address) -> End | None:
        """One attempt; None when it did not succeed."""
        limits = self._gate.limits
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(limits.connect_seconds):
                _, upstream = await self._gate.loop.create_connection(
                    lambda: End(limits), to.host, to.port
                )
            if not self.unproven:
                return upstream
            try:
                await asyncio.sleep(_STANDS)
            except asyncio.CancelledError:
                upstream.reset()
                raise
            if not upstream.lost and (upstream.early or not upstream.ended):
                self.unproven = False
                return upstream
            upstream.reset()
        return None


class Relay:
    """All such ports of a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._go = asyncio.Event()  # set while nothing is held
        self._doors: dict[Address, Door] = {}
        self.become(gate.state)

    async def take(self, ports: Iterable[RelayedPort]) -> Mapping[Address, str]:
        """Listen for these and no others; why at some of them that is not possible.  What stays as
        it is notices nothing."""
        wanted = {port.listen: port for port in ports}
        for at in self._doors.keys() - wanted.keys():
            door = self._doors.pop(at)
            door.close()
            door.cut()
        await asyncio.sleep(0)  # what was closed is free after a turn of the loop
        for at, port in wanted.items():
            door = self._doors.setdefault(at, Door(self._gate, self._go, port))
            door.port = port
            door.aim()
            await door.listen()
        return {at: door.why for at, door in self._doors.items() if door.why}

    def become(self, state: GateState) -> None:
        """Act on a new state of the gate."""
        renamed = {port.listen: port for port in state.ports}
        for at, door in self._doors.items():
            door.port = renamed.get(at, door.port)
            door.aim()
        if state.hold is not None:
            self._go.clear()
        elif not self._go.is_set():
            for door in self._doors.values():
                door.unproven = True
            self._go.set()

    def check(self, now: float) -> None:
        """Apply the time limits."""
        for door in self._doors.values():
            door.check(now)

    def close(self) -> None:
        """Let nobody in any more."""
        for door in self._doors.values():
            door.close()

    def cut(self) -> None:
        """Break everything."""
        for door in self._doors.values():
            door.cut()

    def as_json(self) -> list[dict[str, object]]:
        """How each port stands."""
        return [door.as_json() for door in self._doors.values()]

    @property
    def doors(self) -> list[Door]:
        """The ports."""
        return list(self._doors.values())
