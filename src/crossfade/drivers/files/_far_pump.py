"""Bytes from one machine to another through this process: nothing of them lands on its disk."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from crossfade.ports import Host

__all__ = ["Pump"]

_PORTION: Final = 1 << 20
_STEP: Final = 1 << 16


class Pump:
    """Moves bytes, at most ``rate`` of them a second when that is not 0."""

    def __init__(self, rate: int, told: Callable[[int], None]) -> None:
        self._rate, self._told = rate, told
        self.moved = 0
        self.seconds = 0.0

    def join(self, old: Host, reader: Sequence[str], new: Host, writer: Sequence[str]) -> None:
        """Run a command on either host, the output of one being the input of the other."""
        with old.reading(reader) as out, new.feeding(writer) as into:
            for stream in (out, into):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PORTION)
            self._move(out, into)

    def _move(self, out: BinaryIO, into: BinaryIO) -> None:
        read = getattr(out, "read1", out.read)
        size = _STEP if self._rate else _PORTION
        portion = read(size)
        began, moved = time.monotonic(), 0
        while portion:
            into.write(portion)
            moved += len(portion)
            self._told(len(portion))
            if self._rate:
                time.sleep(max(0.0, moved / self._rate - (time.monotonic() - began)))
            portion = read(size)
        self.moved += moved
        self.seconds += time.monotonic() - began
