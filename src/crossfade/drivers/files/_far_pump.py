"""Bytes from one machine to another through this process: nothing of them lands on its disk."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from crossfade.drivers.files._far_squeeze import WORTH_A_TRIAL, Squeeze, squeeze_for
from crossfade.ports import Host

__all__ = ["Pump"]

_PORTION: Final = 1 << 20
_STEP: Final = 1 << 16


class Pump:
    """Moves bytes, at most ``rate`` of them a second when that is not 0."""

    def __init__(self, rate: int, told: Callable[[int], None]) -> None:
        self._rate, self._told = rate, told
        self._squeeze: Squeeze | None = None
        self._tried = False
        self.moved = 0
        self.seconds = 0.0

    def prepare(self, old: Host, new: Host, size: int) -> None:
        """Find out, once, how to send ``size`` bytes or more from one to the other.  The trial
        keeps no rate: it is the link that it asks about."""
        if not self._tried and size >= WORTH_A_TRIAL:
            self._tried = True
            self._squeeze = squeeze_for(old, new, Pump(0, lambda count: None).join)

    def join(self, old: Host, reader: Sequence[str], new: Host, writer: Sequence[str]) -> None:
        """Run a command on either host, the output of one being the input of the other."""
        if self._squeeze is not None:
            reader, writer = self._squeeze.reader(reader), self._squeeze.writer(writer)
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
