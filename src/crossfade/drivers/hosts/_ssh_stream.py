"""One command over a connection whose output, or input, is a stream of bytes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, BinaryIO, Final, cast

from crossfade.drivers.hosts import _ssh_shell as shell
from crossfade.drivers.hosts._ssh_session import Stream, sign
from crossfade.drivers.hosts.commands import KEPT, piped

__all__ = ["Streaming"]

_GRACE: Final = 2.0
_LINE: Final = 65536
_LONGEST_SIGN: Final = 200


class Streaming:
    """A far shell that waits for its orders, and then lets bytes through.

    What it says itself goes with the errors, so no byte of the stream is looked at once it has
    begun.  ``word`` stands in place of the status, when it came.  ``reads`` says that the output
    is the stream, else the input is."""

    def __init__(
        self,
        argv: Sequence[str],
        token: str,
        mark: str,
        socket: Path,
        *,
        reads: bool,
        marked: bool,
    ) -> None:
        self.socket = socket
        self.word: str | None = None
        self._mark, self._reads = mark, reads
        self._process = subprocess.Popen(
            tuple(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._out, self._in = piped(self._process.stdout), piped(self._process.stdin)
        self._events: SimpleQueue[str] = SimpleQueue()
        begins = sign(token.encode() + b" begin " if marked else shell.READY)
        signs = begins, sign(token.encode() + b" end ")
        self.err = Stream(piped(self._process.stderr), signs, KEPT, self._events)
        self.out = _Skipping(self._out, begins, to_the_end=not reads)

    @property
    def stream(self) -> BinaryIO:
        """The bytes of the command."""
        return cast("BinaryIO", self._out if self._reads else self._in)

    def ready(self, timeout: float) -> int | None:
        """The process id of the far shell; None when it did not come."""
        deadline = time.monotonic() + timeout
        while self.err.shell is None and not self.err.over:
            try:
                self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
        return self.err.shell

    def begin(self, orders: str) -> bool:
        """Say what to do; whether the command's part began.  Waits as long as the link stands."""
        with contextlib.suppress(OSError):
            self._in.write(orders.encode("ascii"))
            self._in.flush()
        while self.err.begin is None and not self.err.over:
            time.sleep(0.002)  # only sudo makes us wait here
        if self.err.begin is None:
            return False
        if self._reads:
            self.out.join()
        return True

    def finish(self) -> None:
        """Read what is left, or end the input; then wait for the word."""
        if self._reads:
            while self._out.read(1 << 20):
                continue
        with contextlib.suppress(OSError):
            self._in.close()
        while self.err.word is None and not self.err.over:
            self._events.get()
        self.word = self.err.word

    def running(self) -> bool:
        """Whether the session has not ended by itself."""
        return not self.err.over

    def ending(self) -> str:
        """Shell text that ends the command, if it still runs."""
        return shell.ending(self.err.shell or 0, self._mark, self.err.begin or 0)

    def end(self) -> int:
        """End what is left on this side; the status.  Twice is fine."""
        if self.word is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        if self._process.poll() is None:
            self._process.kill()
        status = self._process.wait()
        with contextlib.suppress(OSError):
            self._in.close()
        self.err.finish(_GRACE)
        self.out.join(_GRACE)
        self._out.close()
        return status


class _Skipping:
    """Reads a stream in a thread up to the line with which the command's part begins, or to the
    end of it all."""

    def __init__(self, pipe: IO[bytes], begins: re.Pattern[bytes], *, to_the_end: bool) -> None:
        self._pipe, self._begins, self._to_the_end = pipe, begins, to_the_end
        self._tail = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def noise(self) -> bytes:
        """The last of what came before."""
        return self._tail

    def join(self, timeout: float | None = None) -> None:
        """Wait until that line was read."""
        self._thread.join(timeout)

    def _read(self) -> None:
        while line := self._pipe.readline(_LINE):
            self._tail = self._tail[-_LONGEST_SIGN:] + line
            if self._begins.search(self._tail):
                break
        if self._to_the_end:
            while os.read(self._pipe.fileno(), _LINE):
                continue
