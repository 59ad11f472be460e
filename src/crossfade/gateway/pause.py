"""The pause as data: what the gate has decided, and how each command changes it.

Nothing here does anything.  A command makes a new ``GateState`` from the one that holds; the gate
writes it to disk and only then acts on it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from crossfade.model import Address, Side
from crossfade.ports import RelayedPort

__all__ = ["Counters", "GateState", "Hold", "NotHeld"]


class NotHeld(Exception):
    """The command needs a hold, and there is none."""


@dataclass(frozen=True, slots=True)
class Hold:
    """New requests wait.  Times are seconds of the wall clock, so that they outlive a restart.

    lease_until is when the lease ends unless renewed; cap_until is when the hold ends in any case.
    lease and cap are their lengths: after a restart no more than that is left, whatever the clock
    says.  drained is set once nothing was in flight.  reads says that safe requests go on to the
    side meanwhile; then drained is about the others.
    """

    lease: float
    lease_until: float
    cap: float
    cap_until: float
    commit_to: Side
    commit_token: str
    drained: bool = False
    reads: bool = False

    def left(self, now: float) -> float:
        """Seconds until the hold ends by itself, never below zero."""
        lease = min(self.lease_until - now, self.lease)
        return max(0.0, min(lease, self.cap_until - now, self.cap))

    def decides(self, side: Side) -> Side:
        """The side that serves when the lease has ended, given the one that served before."""
        try:
            committed = bool(self.commit_token) and Path(self.commit_token).exists()
        except OSError:  # a token that nobody can see was not given
            committed = False
        return self.commit_to if committed else side


@dataclass(frozen=True, slots=True)
class GateState:
    """All that the gate has decided.

    side is where traffic goes.  epoch counts the switches.  drained is the side that was drained
    last and did not become the side again by a switch since.  record is where requests are
    written to.  ports are those whose connections are passed on as they are.
    """

    side: Side = Side.OLD
    targets: Mapping[Side, Address] = field(default_factory=dict)
    epoch: int = 0
    hold: Hold | None = None
    drained: Side | None = None
    record: str | None = None
    ports: tuple[RelayedPort, ...] = ()

    def aimed(self, targets: Mapping[Side, Address]) -> GateState:
        """With other addresses.  Traffic stays where it goes: when its address now has the other
        side's name (the new side of one upgrade is the old side of the next), so has the side."""
        now = self.targets.get(self.side)
        side = next((s for s, address in targets.items() if address == now), self.side)
        if side is self.side or self.hold is not None:
            return replace(self, targets=dict(targets))
        epoch, ports = self.epoch + 1, tuple(port.renamed() for port in self.ports)
        return replace(
            self, targets=dict(targets), side=side, epoch=epoch, drained=None, ports=ports
        )

    def relaying(self, ports: Sequence[RelayedPort]) -> GateState:
        """With these ports besides the one for requests, and no others."""
        return replace(self, ports=tuple(ports))

    def recording(self, path: str | None) -> GateState:
        """Writing requests to ``path``, or not any more."""
        return replace(self, record=path)

    def held(
        self,
        lease: float,
        at_most: float,
        commit_to: Side,
        commit_token: str,
        *,
        reads: bool = False,
    ) -> GateState:
        """With a hold.  An existing hold is renewed and gets the new token; its cap stays.  Reads
        that it lets pass may end with that, but not begin; then it is to be drained again."""
        now = time.time()
        cap, cap_until = at_most, now + at_most
        drained = False
        if self.hold is not None:
            cap, cap_until = self.hold.cap, self.hold.cap_until
            reads = reads and self.hold.reads
            drained = self.hold.drained and reads is self.hold.reads
        hold = Hold(lease, now + lease, cap, cap_until, commit_to, commit_token, drained, reads)
        return replace(self, hold=hold)

    def renewed(self, lease: float) -> GateState:
        """With the lease ending ``lease`` seconds from now.  Raises NotHeld."""
        until = time.time() + lease
        return replace(self, hold=replace(self._hold(), lease=lease, lease_until=until))

    def emptied(self) -> GateState:
        """With the mark that nothing is in flight to the side.  Raises NotHeld."""
        return replace(self, hold=replace(self._hold(), drained=True), drained=self.side)

    def switched(self, side: Side) -> GateState:
        """With traffic going to ``side``.  Raises NotHeld."""
        self._hold()
        drained = None if self.drained is side else self.drained
        return replace(self, side=side, epoch=self.epoch + 1, drained=drained)

    def released(self) -> GateState:
        """Without a hold.  A side that gets the traffic back is not a drained one any more."""
        return replace(self, hold=None, drained=None if self.drained is self.side else self.drained)

    def _hold(self) -> Hold:
        if self.hold is None:
            raise NotHeld
        return self.hold


@dataclass(slots=True)
class Counters:
    """Requests since the state was made.

    total      complete heads taken in
    failed     answered by the gate itself with 5xx
    refused    answered by the gate itself with 4xx
    cut        answers that broke off because the application did
    served_after_drain     sent to the drained side after it was drained (see GateState.drained)
    writes_since_switch    unsafe methods answered 2xx or 3xx by the side since the last switch
    """

    total: int = 0
    failed: int = 0
    refused: int = 0
    cut: int = 0
    served_after_drain: int = 0
    writes_since_switch: int = 0

    def as_json(self) -> dict[str, int]:
        """The counters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
