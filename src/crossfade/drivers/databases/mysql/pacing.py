"""How fast to copy from a MariaDB or MySQL server: bends to how quickly it answers others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from statistics import median

from crossfade.drivers.databases.mysql.connect import connect, one, quietly_close
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.model import Endpoint

__all__ = ["pace_of"]

_PROBES, _EVERY = 15, 0.05


@contextlib.contextmanager
def pace_of(old: Endpoint, rate: float | None) -> Iterator[Pace]:
    """A fixed rate (bytes a second), or one that bends as long as the context lasts."""
    pace = Pace(rate, slower=3.0, seconds=0.004)
    pace.others = True  # who they are cannot be told from our own sessions
    if rate is not None:
        yield pace
        return
    conn = connect(old, database="")
    ended = threading.Event()

    def answer() -> float:
        began = time.perf_counter()
        one(conn, "select 1")
        return time.perf_counter() - began

    idle = median(answer() for _ in range(_PROBES))
    seen: deque[float] = deque(maxlen=_PROBES)

    def watch() -> None:
        with contextlib.suppress(Exception):  # whoever copies will say what is wrong
            while not ended.wait(_EVERY):
                seen.append(answer())
                pace.judge(idle, median(seen))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield pace
    finally:
        ended.set()
        watcher.join(10)
        quietly_close(conn)
