"""One command over a connection: a process of ssh, and what comes out of it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import IO, Final

from crossfade.drivers.hosts._ssh_shell import READY
from crossfade.drivers.hosts.commands import feed, piped

__all__ = ["Session", "Stream", "sign"]

_NOISE: Final = 65536
_LONGEST_LINE: Final = 200
_GRACE: Final = 2.0


class Session:
    """A far shell that waits for its orders.  To be used in a ``with``, which leaves no process.

    keep is how many bytes of each stream are kept, the last ones; None keeps all.  marked says
    that the command's part begins with a line of its own."""

    def __init__(
        self, argv: Sequence[str], token: str, keep: int | None, *, marked: bool = False
    ) -> None:
        self._process = subprocess.Popen(
            tuple(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._events: SimpleQueue[str] = SimpleQueue()
        begin = token.encode() + b" begin " if marked else READY
        signs = sign(begin), sign(token.encode() + b" end ")
        self.out = Stream(piped(self._process.stdout), signs, keep, self._events)
        self.err = Stream(piped(self._process.stderr), signs, keep, self._events)
        self._feeder: threading.Thread | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ready(self, timeout: float) -> int | None:
        """The process id of the far shell; None when it did not come."""
        self._until(lambda: self.out.shell is not None or self.out.over, timeout)
        return self.out.shell

    def send(self, orders: str, stdin: bytes) -> None:
        """Say what to do, and give it its input."""
        data = orders.encode("ascii") + stdin
        pipe = piped(self._process.stdin)
        self._feeder = threading.Thread(target=feed, args=(pipe, data), daemon=True)
        self._feeder.start()

    def wait(self, timeout: float) -> str | None:
        """What stands in place of the status; None when the session ended without any, or when
        the time is over (``running``)."""
        streams = (self.out, self.err)
        self._until(lambda: all(one.word is not None or one.over for one in streams), timeout)
        return self.err.word if self.out.word is not None else None

    def running(self) -> bool:
        """Whether the session has not ended by itself."""
        return not (self.out.over and self.err.over)

    def began(self) -> bool:
        """Whether the command's part began."""
        return self.err.begin is not None

    def end(self) -> int:
        """End what is left on this side, with a little patience when all was said; the status."""
        told = self.out.word is not None and self.err.word is not None
        if told:  # a process that was left behind may keep the streams open
            self._until(lambda: not self.running(), _GRACE)
        if self.running():
            self._process.kill()
        status = self._process.wait()
        if self._feeder is None:
            with contextlib.suppress(OSError):
                piped(self._process.stdin).close()
        else:
            self._feeder.join(_GRACE)
        for stream in (self.out, self.err):
            stream.finish(_GRACE)
        return status

    def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            with contextlib.suppress(Empty):
                self._events.get(timeout=max(0.0, deadline - time.monotonic()))
                continue
            return


def sign(start: bytes) -> re.Pattern[bytes]:
    """A line of ours, with one word."""
    return re.compile(re.escape(start) + rb"([a-z0-9]+)\n")


_SHELL: Final = sign(READY)


class Stream:
    """Reads a stream in a thread: what the login shell says, then the command, then its end.

    shell is the far shell's process id, begin the number in the line that begins the command's
    part, word what stands in the one that ends it; each None until it came.  over says that the
    stream has ended."""

    def __init__(
        self,
        pipe: IO[bytes],
        signs: tuple[re.Pattern[bytes], re.Pattern[bytes]],
        keep: int | None,
        events: SimpleQueue[str],
    ) -> None:
        self.shell: int | None = None
        self.begin: int | None = None
        self.word: str | None = None
        self.over = False
        self._pipe, self._keep, self._events = pipe, keep, events
        self._begins, self._ends = signs
        self._noise = bytearray()
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def data(self) -> bytes:
        """What the command said."""
        return bytes(self._kept if self._keep is None else self._kept[-self._keep :])

    def noise(self) -> bytes:
        """The end of what came before the command's part."""
        return bytes(self._noise)

    def finish(self, timeout: float) -> None:
        """Wait for the end of the stream."""
        self._thread.join(timeout)

    def _read(self) -> None:
        with self._pipe:
            while portion := os.read(self._pipe.fileno(), 65536):
                if self.begin is None:
                    self._before(portion)
                elif self.word is None:
                    self._within(portion)
        self.over = True
        self._events.put("over")

    def _before(self, portion: bytes) -> None:
        """Look for the far shell, and for the beginning of the command's part."""
        self._noise += portion
        begin, shell = self._begins.search(self._noise), _SHELL.search(self._noise)
        rest = b""
        if begin:
            self.begin = int(begin[1])
            rest = bytes(self._noise[begin.end() :])
        if self.shell is None and shell:
            self.shell = int(shell[1])
            self._events.put("ready")
        if begin:
            self._within(rest)
        else:
            del self._noise[:-_NOISE]

    def _within(self, portion: bytes) -> None:
        """Keep what the command says, up to its end."""
        start = max(0, len(self._kept) - _LONGEST_LINE)
        self._kept += portion
        if end := self._ends.search(self._kept, start):
            word = end[1].decode()
            del self._kept[end.start() :]
            self.word = word
            self._events.put("end")
        elif self._keep is not None:
            del self._kept[: -self._keep - _LONGEST_LINE]
