"""What the gate measures of each side, so that the new one can be compared with the old one.

Kept in memory only: after a restart of the gate there is nothing to compare with, and who asks is
told so.  The size is bounded: a few counts a side, and one copy of them for each of the last
minutes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from crossfade.model import Side
from crossfade.ports import BOUNDS, Measured

if TYPE_CHECKING:
    from crossfade.gateway.exchange import Exchange

__all__ = ["Measures", "SideCounts"]

_EVERY = 60.0
_MINUTES = 15
_CUT = 0
_LEFT = 499


class SideCounts:
    """Counts of one side since the gate was started: requests by the class of their status (at 2
    those of 2xx, and so on; at 0 answers that were broken off), times by bucket, and their sum."""

    def __init__(self) -> None:
        self.by_class = [0] * 6
        self.times = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def measured(self) -> Measured:
        """As a value."""
        errors = self.by_class[5] + self.by_class[_CUT]
        return Measured(sum(self.by_class), errors, tuple(self.times), self.by_class[4])


class Measures:
    """The counts of both sides.  before are those of the side that served until the last switch, of
    its last quarter of an hour; since_switch those of the side that serves, from then on."""

    def __init__(self) -> None:
        self.sides = {side: SideCounts() for side in Side}
        self.before: Measured | None = None
        self._at_switch = Measured()
        self._minutes: deque[dict[Side, Measured]] = deque(maxlen=_MINUTES)
        self._minute = monotonic()

    def add(self, exchange: Exchange, serving: Side) -> None:
        """A request is finished."""
        status = exchange.status or _LEFT
        if exchange.side is None and status < 500:
            return  # whose client left before it was sent on: nobody's fault
        counts = self.sides[exchange.side or serving]
        counts.by_class[_CUT if exchange.was_cut else min(status // 100, 5)] += 1
        if exchange.sent_at is not None and exchange.head_at and not exchange.waited:
            seconds = max(0.0, exchange.head_at - exchange.sent_at)
            counts.times[bisect_left(BOUNDS, seconds)] += 1
            counts.seconds += seconds

    def tick(self) -> None:
        """Called about once a second: remember how things stood a quarter of an hour ago."""
        if monotonic() - self._minute >= _EVERY:
            self._minute = monotonic()
            self._minutes.append({side: counts.measured() for side, counts in self.sides.items()})

    def switched(self, away: Side, to: Side) -> None:
        """Traffic goes elsewhere from now on."""
        then = self._minutes[0][away] if len(self._minutes) == _MINUTES else Measured()
        self.before = self.sides[away].measured().since(then)
        self._at_switch = self.sides[to].measured()

    def since_switch(self, side: Side) -> Measured:
        """What the side that serves has done since the last switch."""
        return self.sides[side].measured().since(self._at_switch)
