"""Run one command of this machine whose output, or input, is a stream of bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from crossfade.drivers.hosts.commands import Tail, piped
from crossfade.ports import Completed

__all__ = ["Running", "begin"]


class Running:
    """A command that runs in a process group of its own."""

    def __init__(
        self, process: subprocess.Popen[bytes], argv: Sequence[str], *, reads: bool
    ) -> None:
        self._process, self._argv, self._reads = process, tuple(argv), reads
        self._pipe = piped(process.stdout if reads else process.stdin)
        self._errors = Tail(piped(process.stderr))

    @contextlib.contextmanager
    def streaming(self) -> Iterator[BinaryIO]:
        """Its stream.  Leaving waits for its end; an exception kills the group first."""
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                yield cast("BinaryIO", self._pipe)
            if self._reads:
                while self._pipe.read(1 << 20):
                    continue
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()
            self._process.wait()
        except BaseException:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            raise
        finally:
            self._process.wait()
            with contextlib.suppress(OSError):
                self._pipe.close()

    def completed(self) -> Completed:
        """How it ended."""
        self._errors.finish_soon()
        return Completed(self._argv, self._process.returncode, b"", self._errors.data())


def begin(
    argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, *, reads: bool
) -> Running:
    """Start it; raises OSError when it does not start."""
    process = subprocess.Popen(
        tuple(argv),
        stdin=subprocess.DEVNULL if reads else subprocess.PIPE,
        stdout=subprocess.PIPE if reads else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=None if env is None else os.environ | dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    return Running(process, argv, reads=reads)
