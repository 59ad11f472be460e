"""How fast to copy: bends to how long a commit takes on the old server.

A transaction that only puts a message into the log (nobody reads it) is timed before the copy and
again and again while it runs: like every user's, it waits for a processor and for the disk.  When
it takes clearly longer than before while others use the server, every stream rests for a share of
its time; when it is quick again, or nobody is there, the share shrinks.  An operator's fixed rate
(bytes a second) replaces all that.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import LiteralString

from crossfade.drivers.databases.postgres.connect import connect, explained, one
from crossfade.model import Endpoint

__all__ = ["Pace", "pace_of"]

_PROBES = 15  # commits to time before the copy
_LATEST = 5  # of them to judge by while it runs
_EVERY = 0.1  # seconds between two of them
_PROBE: LiteralString = """
select exists (select from pg_catalog.pg_stat_activity where backend_type = 'client backend'
    and application_name not like 'crossfade%' and state_change > clock_timestamp() - interval '1 s'
  ), pg_catalog.pg_logical_emit_message(true, 'crossfade', '')"""
_LEAST_DUTY = 0.1  # the share of time in which we copy, at the least


class Pace:
    """Streams call ``spent`` after each block; it rests as long as it must.

    rate is bytes a second over all streams, or None.  What is timed takes slower times longer than
    before, and seconds longer: then we are in the way.  duty is the share of time to copy; others
    tells whether anybody else uses the server."""

    def __init__(
        self, rate: float | None = None, *, slower: float = 2.0, seconds: float = 0.002
    ) -> None:
        self.rate, self._slower, self._seconds = rate, slower, seconds
        self.duty = 1.0
        self.others = False
        self.rested = 0.0
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def gentle(self) -> bool:
        """Whether there is somebody, or a rate, to be gentle for."""
        return self.others or self.rate is not None

    def spent(self, size: int, seconds: float) -> None:
        """A block of ``size`` bytes was moved in ``seconds``."""
        rest = 0.0
        if self.rate is not None:
            with self._lock:
                now = time.monotonic()
                self._free_at = max(self._free_at, now - 0.1) + size / self.rate
                rest = self._free_at - now
        elif self.duty < 1.0:
            rest = min(1.0, seconds * (1.0 / self.duty - 1.0))
        if rest > 0:
            self.rested += rest
            time.sleep(rest)

    def judge(self, usual: float, now: float) -> None:
        """Compare how long it takes, usually and now (seconds), and bend."""
        if self.others and now > max(usual * self._slower, usual + self._seconds):
            self.duty = max(_LEAST_DUTY, self.duty * 0.8)
        else:
            self.duty = min(1.0, self.duty * 1.1)


@contextlib.contextmanager
def pace_of(old: Endpoint, rate: float | None) -> Iterator[Pace]:
    """A fixed rate (bytes a second), or a pace that watches how long a commit takes on ``old``, as
    long as the context lasts.  Raises Failed."""
    pace = Pace(rate)
    if rate is not None:
        yield pace
        return
    ended = threading.Event()
    with connect(old, application_name="crossfade pace") as conn:

        def commit() -> float:
            began = time.perf_counter()
            pace.others = bool(one(conn, _PROBE))
            return time.perf_counter() - began

        with explained("time a commit", old):
            usual = median(commit() for _ in range(_PROBES))

        def watch() -> None:
            seen: deque[float] = deque(maxlen=_LATEST)
            with contextlib.suppress(Exception):  # the copy itself meets what went wrong
                while not ended.wait(_EVERY):
                    seen.append(commit())
                    pace.judge(usual, median(seen))

        watcher = threading.Thread(target=watch, name="crossfade-pace", daemon=True)
        watcher.start()
        try:
            yield pace
        finally:
            ended.set()
            watcher.join(5.0)
