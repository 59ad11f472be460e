"""Run one command to its end, in a process group of its own, with its output bounded."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from crossfade.ports import Completed

__all__ = ["KEPT", "Tail", "TimedOut", "feed", "piped", "run"]

KEPT: Final = 1024 * 1024
"""How many bytes of each stream are kept: the last ones."""

_GRACE: Final = 2.0


class TimedOut(Exception):
    """The command did not end in time; its whole group was killed.  Holds what it printed."""

    def __init__(self, completed: Completed) -> None:
        super().__init__("timed out")
        self.completed = completed


def run(
    argv: Sequence[str],
    *,
    stdin: bytes,
    timeout: float,
    env: Mapping[str, str] | None,
    cwd: Path | None,
) -> Completed:
    """Run ``argv``; raises TimedOut, or OSError when it does not start.

    Whatever ends this call, nothing of the command's group is left running after a time-out or an
    interruption.  A command may leave processes behind on purpose (a server that detaches).
    """
    process = subprocess.Popen(
        tuple(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else os.environ | dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    out, err = Tail(piped(process.stdout)), Tail(piped(process.stderr))
    feeder = threading.Thread(target=feed, args=(piped(process.stdin), stdin), daemon=True)
    feeder.start()
    late = False
    try:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            late = True
    finally:
        if process.poll() is None:
            _kill(process)
    deadline = time.monotonic() + _GRACE
    for tail in (out, err):
        tail.finish(deadline)
    feeder.join(max(0.0, deadline - time.monotonic()))
    done = Completed(tuple(argv), process.returncode, out.data(), err.data())
    if late:
        raise TimedOut(done)
    return done


def piped(pipe: IO[bytes] | None) -> IO[bytes]:
    """A stream of a process that was started with pipes."""
    assert pipe is not None  # noqa: S101 (we asked for pipes)
    return pipe


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command's whole group at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def feed(pipe: IO[bytes], data: bytes) -> None:
    """Give a command its input and close it; fine when it does not take all of it."""
    try:
        with pipe:
            pipe.write(data)
    except OSError:  # the command ended, or does not want its input
        return


class Tail:
    """Reads a pipe in a thread and keeps the last bytes of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while portion := os.read(self._pipe.fileno(), 65536):
                with self._lock:
                    self._kept += portion
                    del self._kept[:-KEPT]

    def finish(self, deadline: float) -> None:
        """Wait for the end of the stream, but not for processes that were left behind with it."""
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def finish_soon(self) -> None:
        """The same, with the usual patience."""
        self.finish(time.monotonic() + _GRACE)

    def data(self) -> bytes:
        """What was kept."""
        with self._lock:
            return bytes(self._kept)
