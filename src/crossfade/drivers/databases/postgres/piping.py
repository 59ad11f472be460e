"""One table's rows from server to server, or to and from a file, without passing through Python.

Two psql processes hold the sessions; between their pipes the kernel moves the bytes (``splice``),
so that we count and pace them at next to no cost.  A row at a time through Python would cost more
than the servers' own work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.drivers.databases.postgres.programs import (
    Access,
    Programs,
    program_failed,
    server_arguments,
)
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Psql", "move", "session"]

_BLOCK = 1 << 20
_PATIENCE = 600.0  # seconds for psql to end after its last byte: a commit behind a checkpoint


@dataclass(frozen=True, slots=True)
class Psql:
    """A psql that runs some statements in one session; its pipe carries a COPY's data."""

    process: subprocess.Popen[bytes]
    complaints: IO[bytes]
    doing: str
    where: str

    @property
    def pipe(self) -> int:
        """The file descriptor of the data: to read from, or to write to."""
        stream = self.process.stdout or self.process.stdin
        assert stream is not None  # noqa: S101 - one of them was asked for
        return stream.fileno()

    def finish(self) -> None:
        """Close the pipe, wait for the end.  Raises Failed when a statement failed."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            status = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(
                "database-hangs", f"Crossfade cannot {self.doing}: no end.", where=self.where
            ) from None
        if status != 0:
            self.complaints.seek(0)
            said = self.complaints.read().decode("utf-8", "replace")
            raise program_failed("psql", status, said, doing=self.doing, where=self.where)

    def end(self) -> None:
        """Make sure that it does not run any more."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def session(
    programs: Programs,
    by: Access,
    endpoint: Endpoint,
    statements: Sequence[str],
    *,
    reads: bool,
    encoding: str,
    doing: str,
) -> Iterator[Psql]:
    """A psql that runs ``statements`` one after another, and stops at the first error.

    reads: its pipe gives what a COPY TO STDOUT says; else it takes what a COPY FROM STDIN wants.
    encoding is the session's; statements are UTF-8, or ASCII in another one.
    """
    argv = [programs.path("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *server_arguments(endpoint)]
    argv += [f"--command={statement}" for statement in statements]
    with TemporaryFile() as complaints:
        process = subprocess.Popen(
            argv,
            bufsize=0,
            stdin=subprocess.DEVNULL if reads else subprocess.PIPE,
            stdout=subprocess.PIPE if reads else subprocess.DEVNULL,
            stderr=complaints,
            env={**by.environment, "PGCLIENTENCODING": encoding},
            pass_fds=(by.descriptor,),
        )
        psql = Psql(process, complaints, doing, str(endpoint))
        try:
            with contextlib.suppress(OSError):  # a smaller pipe is only slower
                fcntl.fcntl(psql.pipe, fcntl.F_SETPIPE_SZ, _BLOCK)
            yield psql
        finally:
            psql.end()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def move(source: int, target: int, pace: Pace, told: Callable[[int], None]) -> int:
    """Move all bytes from one file descriptor to another, at least one of them a pipe.

    told is called with the size of each block.  Returns the bytes moved; ends early when nobody
    reads the target any more (its process will say why).
    """
    total = 0
    while True:
        began = time.monotonic()
        try:
            size = os.splice(source, target, _BLOCK)
        except BrokenPipeError:
            return total
        if not size:
            return total
        total += size
        told(size)
        pace.spent(size, time.monotonic() - began)
