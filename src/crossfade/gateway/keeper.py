"""The keeper: takes commands, makes their effect durable, and only then lets the gate act.

It also keeps the lease: when nobody renews it, the gate decides by itself and lets requests go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic

from crossfade.gateway.gate import Gate
from crossfade.gateway.metrics import serve_metrics
from crossfade.gateway.pause import Counters, GateState
from crossfade.gateway.statefile import StateFile
from crossfade.model import Address, Side
from crossfade.ports import PACE, RelayedPort

__all__ = ["CommandError", "Keeper"]

_TICK = 1.0
_log = logging.getLogger("crossfade.gateway")


class CommandError(Exception):
    """A command that was not carried out: a stable code, one sentence, and numbers."""

    def __init__(self, code: str, what: str, **numbers: object) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.numbers = numbers


class Keeper:
    """The only one who changes what the gate has decided.  One command at a time."""

    def __init__(self, gate: Gate, file: StateFile, listen: Address) -> None:
        self.gate = gate
        self.stopping = asyncio.Event()
        self._file = file
        self._listen = listen
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        # The wall clock may be set while we run, so it counts only across a restart.
        self._lease_ends = self._cap_ends = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._saved: dict[str, int] = {}
        self.metrics_at: Address | None = None
        self._metrics: asyncio.Server | None = None

    async def serve_metrics(self, at: Address | None) -> None:
        """Hand the counters out at this address from now on, or nowhere.  Not remembered."""
        async with self._one_at_a_time:
            if at == self.metrics_at:
                return
            try:
                server = await serve_metrics(self.gate, at) if at else None
            except OSError as error:
                why = error.strerror or error
                raise CommandError(
                    "metrics-refused", f"{at} cannot be listened at: {why}"
                ) from None
            if self._metrics is not None:
                self._metrics.close()
            self._metrics, self.metrics_at = server, at

    async def relay(self, ports: Sequence[RelayedPort]) -> None:
        """Listen for these ports from now on and for no others; also after a restart."""
        async with self._one_at_a_time:
            if tuple(ports) != self.gate.state.ports:
                await self._commit(self.gate.state.relaying(ports))
            if refused := await self.gate.relay.take(ports):
                what = "; ".join(f"{at}: {why}" for at, why in refused.items())
                raise CommandError("port-taken", f"it cannot listen at {what}")

    async def start(self) -> None:
        """Take up what the state says, before the first request is let in."""
        if self.gate.state.record is not None:
            try:
                self.gate.set_recorder(self.gate.state.record)
            except OSError as error:
                _log.error("requests are not recorded any more: %s", error.strerror)
        self._file.save_now(self.gate.state, self.gate.counters)
        hold = self.gate.state.hold
        if hold is not None:
            _log.info("held since before the start")
            wall = time.time()
            self._lease_ends = monotonic() + hold.left(wall)
            self._cap_ends = monotonic() + min(hold.cap, hold.cap_until - wall)
            await self._lease_over()
        await self.gate.relay.take(self.gate.state.ports)

    def status(self) -> dict[str, object]:
        """Everything there is to know, as plain data."""
        gate, now = self.gate, monotonic()
        hold = gate.state.hold
        oldest = min((exchange.arrived for exchange in gate.waiting), default=now)
        return {
            "side": gate.state.side.value,
            "epoch": gate.state.epoch,
            "held": hold is not None,
            "drained": hold is not None and hold.drained,
            "reads_pass": gate.reads_pass,
            "in_flight": gate.undrained,
            "passing": len(gate.in_flight) - gate.undrained,
            "waiting": len(gate.waiting),
            "oldest_waiting": round(now - oldest, 3),
            "tunnels": len(gate.tunnels),
            "ports": gate.relay.as_json(),
            "clients": len(gate.clients),
            "pool": len(gate.pool),
            **gate.counters.as_json(),
            "lease_left": round(max(0.0, self._ends - now), 3) if hold else 0.0,
            "cap_left": round(max(0.0, self._cap_ends - now), 3) if hold else 0.0,
            "targets": {side.value: str(target) for side, target in gate.state.targets.items()},
            "record": gate.state.record,
            "came": gate.came,
            "before_switch": gate.measures.before and gate.measures.before.as_json(),
            "since_switch": gate.measures.since_switch(gate.state.side).as_json(),
            "metrics": self.metrics_at and str(self.metrics_at),
            "late_since": gate.late.since,
            "late": gate.late.as_json(),
            "names": gate.names.commonest(),
            "listen": str(self._listen),
            "certificate": str(gate.tls.certificate) if gate.tls else None,
        }

    async def aim(self, targets: Mapping[Side, Address]) -> None:
        """Set the addresses of both sides.  The side stays."""
        async with self._one_at_a_time:
            if dict(self.gate.state.targets) != dict(targets):
                await self._commit(self.gate.state.aimed(targets))

    async def hold(
        self, lease: float, at_most: float, commit_to: Side, token: str, *, reads: bool = False
    ) -> None:
        """Make requests wait, or renew the hold that there is.  With ``reads`` safe ones go on."""
        async with self._one_at_a_time:
            state = self.gate.state.held(lease, at_most, commit_to, token, reads=reads)
            await self._commit(state)
            _log.info("held; the lease is %.1f s, the cap %.1f s", lease, at_most)

    async def renew(self, lease: float) -> None:
        """Put the end of the lease off."""
        async with self._one_at_a_time:
            await self._commit(self._needs_hold("hold-over").renewed(lease))

    async def drain(self, at_most: float) -> None:
        """Wait until nothing is in flight, and mark it."""
        self._needs_hold("not-held")
        gate, deadline = self.gate, monotonic() + at_most
        while True:
            while gate.undrained:
                left = deadline - monotonic()
                if left <= 0:
                    raise CommandError(
                        "drain-timeout",
                        f"after {at_most:g} s there are still {gate.undrained} requests in "
                        f"flight ({len(gate.waiting)} wait, {len(gate.tunnels)} tunnels are open)",
                        in_flight=gate.undrained,
                        waiting=len(gate.waiting),
                        tunnels=len(gate.tunnels),
                    )
                with suppress(TimeoutError):
                    await asyncio.wait_for(gate.until_empty(), min(left, 0.25))
                self._needs_hold("hold-over")
            async with self._one_at_a_time:
                state = self._needs_hold("hold-over")
                if not gate.undrained:  # and nothing can be, while it is held
                    await self._commit(state.emptied())
                    return

    async def switch(self, side: Side) -> None:
        """Let traffic go to ``side`` from the release on."""
        async with self._one_at_a_time:
            if side not in self.gate.state.targets:
                raise CommandError("no-target", f"the address of the {side.value} side is unknown")
            if self.gate.reads_pass:
                raise CommandError("reads-pass", "reads still go on to the side before")
            await self._commit(self._needs_hold("not-held").switched(side))
            _log.info("switched to %s, epoch %d", side.value, self.gate.state.epoch)

    async def release(self, pace: int) -> None:
        """Let requests go.  Fine when nothing is held.

        A full disk does not stop it: with the older state on disk a restart would hold until the
        lease ends, and then decide the same."""
        async with self._one_at_a_time:
            if self.gate.state.hold is not None:
                await self._save_or_log(self.gate.state.released(), "the release")
                _log.info("released %d waiting to %s", len(self.gate.waiting), self._side)
                self.gate.release(pace)

    async def record(self, path: str | None) -> None:
        """Write a line for every request to ``path`` from now on, or end that."""
        async with self._one_at_a_time:
            try:
                self.gate.set_recorder(path)
            except OSError as error:
                raise CommandError(
                    "record-refused", f"{path} cannot be written to: {error.strerror}"
                ) from None
            await self._commit(self.gate.state.recording(path))

    async def count_late(self, since: float, names: Sequence[str]) -> None:
        """Count who comes from now on, by these names, forgetting who came before; 0 ends it."""
        async with self._one_at_a_time:
            try:
                self.gate.late.count(since, names)
            except OSError as error:
                raise CommandError(
                    "state-not-written", f"who comes late cannot be saved: {error.strerror}"
                ) from None

    async def tick(self) -> None:
        """Time limits, and the counters to disk, once a second until cancelled, and at the first
        write after a switch: a gate that dies then must not say that going back loses none."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.gate.first_write.wait(), _TICK)
            self.gate.first_write.clear()
            try:
                self.gate.check()
            except Exception:  # noqa: BLE001 - a bug there must not end the time limits for all
                _log.exception("bug in the time limits")
            await self._keep_late()
            if self.gate.counters.as_json() != self._saved:
                async with self._one_at_a_time:
                    try:
                        await self._save(self.gate.state)
                    except OSError as error:
                        _log.error("the counters were not saved: %s", error.strerror)

    async def _keep_late(self) -> None:
        async with self._one_at_a_time:
            if text := self.gate.late.text():
                await self.gate.loop.run_in_executor(None, self._write_late, text)

    def _write_late(self, text: bytes) -> None:
        try:
            self.gate.late.write(text)
        except OSError as error:  # the next one is written anew
            _log.error("who came late was not saved: %s", error.strerror)

    async def end(self) -> None:
        """The process ends: finish what is in flight, keep what there is to keep."""
        await self.gate.end()
        await self._keep_late()
        async with self._one_at_a_time:
            await self._save(self.gate.state)

    @property
    def _side(self) -> str:
        return self.gate.state.side.value

    def _needs_hold(self, code: str) -> GateState:
        if self.gate.state.hold is None:
            raise CommandError(code, f"nothing is held; traffic goes to the {self._side} side")
        return self.gate.state

    async def _commit(self, state: GateState) -> None:
        """Make a state durable, then let the gate act on it."""
        try:
            await self._save(state)
        except OSError as error:
            raise CommandError(
                "state-not-written", f"the gate's state cannot be saved: {error.strerror}"
            ) from None
        self._act(state)

    async def _save_or_log(self, state: GateState, what: str) -> None:
        """Act on a state even when it cannot be made durable: requests do not wait for a disk."""
        try:
            await self._save(state)
        except OSError as error:
            _log.error("%s was not saved: %s", what, error.strerror)
        self._act(state)

    async def _save(self, state: GateState) -> None:
        counters = Counters(**self.gate.counters.as_json())
        if state.epoch != self.gate.state.epoch:
            counters.writes_since_switch = 0
        await self._file.save(state, counters)
        self._saved = counters.as_json()

    @property
    def _ends(self) -> float:
        """When the hold ends by itself, unless it is renewed."""
        return min(self._lease_ends, self._cap_ends)

    def _act(self, state: GateState) -> None:
        before, hold = self.gate.state.hold, state.hold
        self.gate.become(state)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if hold is None:
            return
        if before is None:
            self._cap_ends = monotonic() + hold.cap
        if before is None or hold.lease_until != before.lease_until:
            self._lease_ends = monotonic() + hold.lease
        self._timer = self.gate.loop.call_later(max(0.0, self._ends - monotonic()), self._ring)

    def _ring(self) -> None:
        task = self.gate.loop.create_task(self._lease_over())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lease_over(self) -> None:
        """The lease or the cap may have run out: decide, and let requests go."""
        async with self._one_at_a_time:
            hold = self.gate.state.hold
            if hold is None:
                return
            if monotonic() < self._ends:
                self._act(self.gate.state)  # renewed in the meantime: wait for the new end
                return
            state, side = self.gate.state, hold.decides(self.gate.state.side)
            if side is not state.side and side in state.targets:
                state = state.switched(side)
            await self._save_or_log(state.released(), "the end of the hold")
            _log.warning("the hold ended by itself; traffic goes to %s", state.side.value)
            self.gate.probe.wanted = True
            self.gate.release(PACE)
