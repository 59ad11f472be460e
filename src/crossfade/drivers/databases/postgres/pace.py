"""How fast to copy: bends to how quickly the old server answers others.

A tiny query is timed before the copy and again and again while it runs.  When the answers take
clearly longer than before, every stream rests for a share of its time; when they are quick again,
the share shrinks.  An operator's fixed rate (bytes a second) replaces all that.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from statistics import median

from crossfade.drivers.databases.postgres.connect import connect, one
from crossfade.model import Endpoint

__all__ = ["Pace", "bending_pace", "fixed_pace"]

_PROBES = 15  # answers to take before the copy, and to judge by while it runs
_EVERY = 0.05  # seconds between two probes
_SLOWER = 3.0  # an answer takes this many times longer than before ...
_AT_LEAST = 0.004  # ... and this many seconds longer: the old server is busy
_LEAST_DUTY = 0.1  # the share of time in which we copy, at the least


class Pace:
    """Streams call ``spent`` after each block; it rests as long as it must.

    rate is bytes a second over all streams, or None.  duty is the share of time to copy."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self.duty = 1.0
        self.rested = 0.0
        self._lock = threading.Lock()
        self._free_at = 0.0

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

    def judge(self, idle: float, now: float) -> None:
        """Compare the answer's usual time, before and now (seconds), and bend."""
        if now > idle * _SLOWER and now > idle + _AT_LEAST:
            self.duty = max(_LEAST_DUTY, self.duty * 0.8)
        else:
            self.duty = min(1.0, self.duty * 1.1)


def fixed_pace(rate: float | None) -> Pace:
    """A pace that does not look at the server: ``rate`` bytes a second, or as fast as it goes."""
    return Pace(rate)


@contextlib.contextmanager
def bending_pace(old: Endpoint) -> Iterator[Pace]:
    """A pace that watches how quickly ``old`` answers, as long as the context lasts."""
    pace = Pace()
    ended = threading.Event()
    with connect(old, application_name="crossfade pace") as conn:

        def answer() -> float:
            began = time.perf_counter()
            one(conn, "select 1")
            return time.perf_counter() - began

        idle = median(answer() for _ in range(_PROBES))

        def watch() -> None:
            seen: deque[float] = deque(maxlen=_PROBES)
            with contextlib.suppress(Exception):  # the copy itself meets what went wrong
                while not ended.wait(_EVERY):
                    seen.append(answer())
                    if len(seen) >= _PROBES // 3:
                        pace.judge(idle, median(seen))

        watcher = threading.Thread(target=watch, name="crossfade-pace", daemon=True)
        watcher.start()
        try:
            yield pace
        finally:
            ended.set()
            watcher.join(5.0)
