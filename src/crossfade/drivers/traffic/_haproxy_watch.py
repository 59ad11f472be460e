"""A process that outlives a tool that was killed right after the commit: it looks for the token.

HAProxy is usually in a chroot and has no rights where the token is, so this tells it: as soon as
the token of the hold exists, the hold is marked, and HAProxy lets requests go to the committed side
when the lease ends.  Without this process, or before it has looked, the side stays as it was.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from crossfade.drivers.traffic._haproxy_socket import NotRunning, RuntimeSocket
from crossfade.drivers.traffic._haproxy_state import StateFile
from crossfade.errors import Failed

__all__ = ["start"]

# What it needs of our environment.  The rest may hold secrets, and it outlives us.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_LOOK = 0.02
_LATER = 5.0
"""How much longer than the lease it stays, in seconds: HAProxy's clock decides, not this one's."""


def start(directory: Path, backend: str, runtime: Path) -> None:
    """Start it, in a session of its own, unless one watches.  Raises Failed."""
    file = StateFile(directory, backend)
    with suppress(BlockingIOError):
        os.close(_watching(file))
        argv = [sys.executable, "-P", "-m", __name__, str(directory), backend, str(runtime)]
        # posix_spawn rather than subprocess: nobody is to wait for it.
        try:
            os.posix_spawn(
                sys.executable,
                argv,
                {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
            )
        except OSError as error:
            raise Failed(
                "gate-not-started",
                f"The process that looks for the commit did not start: {error.strerror}.",
                where=" ".join(argv),
            ) from None


def _watching(file: StateFile) -> int:
    """The right to watch, until closed.  Raises BlockingIOError when somebody has it, Failed."""
    try:
        fd = os.open(file.watching, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            "gate-state",
            f"HAProxy's hold cannot be watched: {error.strerror}.",
            where=str(file.watching),
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise
    return fd


def _watch(file: StateFile, backend: str, runtime: RuntimeSocket) -> None:
    """Until the hold is marked or over."""
    until, renewed = 0.0, -1.0
    while (now := file.read()) is not None and now.hold is not None and not now.hold.decided:
        if now.hold.lease_until != renewed:
            renewed = now.hold.lease_until
            until = time.monotonic() + now.hold.lease + _LATER
        if time.monotonic() > until:
            return
        if now.hold.token.exists():
            _mark(file, now.hold.token)
            with suppress(NotRunning, Failed):
                runtime.gate(backend)  # it reads the file; else it does so by itself
            return
        time.sleep(_LOOK)


def _mark(file: StateFile, token: Path) -> None:
    with file.locked():
        now = file.read()
        if now is not None and now.hold is not None and now.hold.token == token:
            hold = replace(now.hold, decided=True)
            file.write(replace(now, hold=hold, serial=now.serial + 1))


def _main(directory: str, backend: str, runtime: str) -> None:
    file = StateFile(Path(directory), backend)
    with suppress(BlockingIOError):
        fd = _watching(file)
        try:
            _watch(file, backend, RuntimeSocket(Path(runtime)))
        finally:
            os.close(fd)


if __name__ == "__main__":
    _main(*sys.argv[1:])
