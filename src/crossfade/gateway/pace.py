"""How many requests may be in flight at once while others wait.

After a pause many wait, and the application has just been started: if all of them went at once,
it would take hundreds of connections and be busy with nothing else.  So a step goes, and from
second to second a step more, up to one more than were in flight when the hold began.  There are
three reasons to let more go than that:

* Nothing was answered: every place may be taken by a long poll.
* Some have been in flight for much longer than the others are (by Little's law the usual time is
  how many are in flight, by how many are answered in a second).  Those are long, and do not count.
* The queue gets shorter only slowly, or not at all: a step more is tried, and kept if more is
  answered by it.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Pace"]

_MUCH = 3  # times the usual time in flight
_OF_USE = 1.1  # so much more is answered, where a try was of use
_SLOWLY = 0.9  # of the queue are left a second later
_REST = 5  # looks until it is tried again


class Pace:
    """One release.  step is a number of requests, usual how many were in flight before the hold;
    allowed is how many may be now.  Times are in seconds."""

    def __init__(self, step: int, usual: int, waiting: int) -> None:
        self.allowed = self._step = step
        self._least = step + usual
        self._left = waiting
        self._done = 0
        self._more = 0  # tried, and of use
        self._before = 0  # what was answered before the try that is under way
        self._rest = 0  # looks until the next try

    def ended(self) -> None:
        """One was answered, or has left."""
        self._done += 1

    def look(self, ages: Iterable[float], waiting: int, seconds: float) -> None:
        """``seconds`` since the last look: who has been in flight for how long, how many wait."""
        done, self._done = self._done, 0
        ages = tuple(ages)
        if not done:
            self.allowed += self._step
            return
        self._try(done, waiting)
        usual = len(ages) * seconds / done
        long = sum(age > max(seconds, _MUCH * usual) for age in ages)
        self.allowed = min(self._least + self._more + long, self.allowed + self._step)

    def _try(self, done: int, waiting: int) -> None:
        """A step more while the queue is long for long; back if that was of no use."""
        if self._before:
            if done < _OF_USE * self._before:
                self._more -= self._step
                self._rest = _REST
            self._before = 0
        elif self._rest:
            self._rest -= 1
        elif waiting > _SLOWLY * self._left:
            self._before = done
            self._more += self._step
        self._left = waiting
