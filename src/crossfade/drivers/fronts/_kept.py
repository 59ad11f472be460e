"""Connections that clients keep: those that go past the gate, and their end.

HTTP can tell a client to leave only in an answer, and the application that gives it does not know
of us.  So a connection is ended between two requests: when the last answer was received, and
nothing has come since.  That is what a server's own limit for idle connections does.

Whether the last thing on a connection was an answer is seen by looking often: the kernel's times
are too coarse to tell a request from an answer that left in the same tick.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass

from crossfade.drivers.sockdiag import Connection, connected, end
from crossfade.model import Address

__all__ = ["Watched", "end_past", "wait_for"]

_PATIENCE = 10.0
_LOOKS = 0.0005
_CLEAR = 0.02  # seconds beyond the grain of the kernel's times
_LONG = 0.5
_FLOOR = 0.005
_CYCLES = 3


@dataclass(slots=True)
class Watched:
    """What was seen of one connection; times are by our clock, 0 when unknown.

    answered: the last that happened is an answer, True, or a request, False, or we do not know,
    None; since when.  began: when that answer did; took: for how long the application gave parts
    of it.  rest: the shortest time between an answer and the next request, in ``cycles`` of them.
    """

    last: Connection
    answered: bool | None
    since: float = 0.0
    began: float = 0.0
    took: float = 0.0
    rest: float = _LONG
    cycles: int = 0

    @classmethod
    def first(cls, seen: Connection) -> Watched:
        """Nothing was asked yet, or the answer clearly is later than the request."""
        rests = not seen.came or (seen.went and seen.received - seen.sent > _CLEAR)
        return cls(seen, True if rests else None)

    def look(self, seen: Connection, now: float) -> None:
        """Take up what has happened since the last look."""
        came, went = seen.came - self.last.came, seen.went - self.last.went
        goes_on, self.last = self.last.pending > 0, seen
        if came and self.answered and self.since:
            self.rest, self.cycles = min(self.rest, now - self.since), self.cycles + 1
        if came and went:
            # One segment after an answer is the next request, so what went is its answer.
            self.answered = True if came == 1 and self.answered else None
            self.began = self.since = now if self.answered else 0.0
        elif came:
            self.answered, self.began = False, 0.0
        elif went:
            self.began = self.began or now
            if not goes_on:  # what was still to be sent (Nagle, delayed ACKs) is no new part
                self.took = max(self.took, now - self.began)
            self.answered, self.since = True, now

    def rests(self, now: float) -> bool:
        """Whether it is between two requests: idle for long; or answered a moment ago, in the first
        half of the rest that this client takes, and in one piece, as its answers are."""
        if not self.answered or self.last.pending:
            return False
        if min(self.last.sent, self.last.received) >= _LONG:
            return True
        if self.cycles < _CYCLES or not self.since or self.took > _CLEAR:
            return False
        return max(_FLOOR, 2 * self.took) <= now - self.since <= self.rest / 2


def end_past(port: int, own: Address) -> tuple[int, int, str]:
    """End the clients' connections to a port, but for those to ``own``, where the gate itself
    connects.  How many were ended, how many are left, and why those could not be ended, if the
    kernel says so."""
    until, ended = time.monotonic() + _PATIENCE, 0
    watched: dict[bytes, Watched] = {}
    while True:
        found = [seen for seen in connected(port) if str(seen.here) != own.host]
        now = time.monotonic()
        if not found or now > until:
            return ended, len(found), ""
        for seen in found:
            if known := watched.get(seen.key):
                known.look(seen, now)
            else:
                watched[seen.key] = Watched.first(seen)
        try:
            for seen in found:
                ended += watched[seen.key].rests(now) and end(seen)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
                raise
            return ended, len(found), error.strerror or str(error)
        time.sleep(_LOOKS)


def wait_for(count: Callable[[], int], seconds: float) -> int:
    """Wait until nothing is left, for so long at most.  What is left."""
    until = time.monotonic() + seconds
    while (left := count()) and time.monotonic() < until:
        time.sleep(0.05)
    return left
