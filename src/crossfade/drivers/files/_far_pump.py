"""Bytes from one machine to another: straight, or through this process, and then nothing of them
lands on its disk."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from crossfade.drivers.files._far_squeeze import WORTH_A_TRIAL, Squeeze, squeeze_for
from crossfade.drivers.files._far_straight import Straight, Straights
from crossfade.ports import Host

__all__ = ["Pump"]

_PORTION: Final = 1 << 17
"""Bytes in a pipe, and in our hands.  What fits into a processor's cache goes quicker than a
megabyte, and quicker than when the kernel moves pages from pipe to pipe (benchmarks/README.md)."""
_STEP: Final = 1 << 16


class Pump:
    """Moves bytes, at most ``rate`` of them a second when that is not 0.  With ``straights`` many
    bytes go straight where that can be.  ``way`` is how they went, in words."""

    def __init__(
        self, rate: int, told: Callable[[int], None], straights: Straights | None = None
    ) -> None:
        self._rate, self._told = rate, told
        self._straights = straights
        self._straight: Straight | None = None
        self._squeeze: Squeeze | None = None
        self.way = ""
        self._tried = False

    def prepare(self, old: Host, new: Host, size: int) -> None:
        """Find out, once, how to send ``size`` bytes or more from one to the other.  The trial
        keeps no rate: it is the link that it asks about."""
        if not self._tried and size >= WORTH_A_TRIAL:
            self._tried = True
            if self._straights is not None:
                self._straight = self._straights.open(old, new)
                self.way = self._straights.words(old, new, self._straight)
            trial = Pump(0, lambda count: None)
            trial._straight = self._straight
            self._squeeze = squeeze_for(old, new, trial.join)

    def close(self) -> None:
        """End what was made for it."""
        if self._straight is not None:
            self._straight.close()

    def join(self, old: Host, reader: Sequence[str], new: Host, writer: Sequence[str]) -> None:
        """Run a command on either host, the output of one being the input of the other."""
        if self._squeeze is not None:
            reader, writer = self._squeeze.reader(reader), self._squeeze.writer(writer)
        if self._straight is not None:
            self._straight.join(reader, writer, self._told)
            return
        with old.reading(reader) as out, new.feeding(writer) as into:
            for stream in (out, into):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PORTION)
            self._move(out, into)

    def _move(self, out: BinaryIO, into: BinaryIO) -> None:
        read = getattr(out, "read1", out.read)
        size = _STEP if self._rate else _PORTION
        began, moved = time.monotonic(), 0
        while portion := read(size):
            into.write(portion)
            moved += len(portion)
            self._told(len(portion))
            if self._rate:
                time.sleep(max(0.0, moved / self._rate - (time.monotonic() - began)))
