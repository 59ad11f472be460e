"""The record: one line of CSV for every finished request.

``arrival,method,status,side,total_ms,held_ms``: no path and no headers, since they hold secrets.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress

__all__ = ["Recorder"]

_FLUSH_SECONDS = 0.4
_log = logging.getLogger("crossfade.gateway")


class Recorder:
    """Appends lines to the file at ``path`` (mode 0600).  Raises OSError if it cannot be opened."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        os.fchmod(self._fd, 0o600)
        self._loop = loop
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._broken = False

    def add(
        self, arrived: float, method: str, status: int, side: str, total: float, held: float
    ) -> None:
        """Note a request: wall-clock arrival and two durations, all in seconds."""
        self._lines.append(
            f"{arrived:.3f},{method},{status},{side},{total * 1000:.3f},{held * 1000:.3f}\n"
        )
        if self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is buffered.  A full disk ends the record, never the traffic."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        data = "".join(self._lines).encode()
        self._lines.clear()
        if self._broken or not data:
            return
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self._broken = True
            _log.error("the record of requests ends here: %s", error.strerror)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        with suppress(OSError):
            os.close(self._fd)
