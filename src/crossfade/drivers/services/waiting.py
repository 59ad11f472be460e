"""Who waits in a held start, and does not run yet: marked by a token that a file names."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from crossfade.drivers import procfs
from crossfade.drivers.listeners import listening_pids
from crossfade.drivers.services.holder import HELD
from crossfade.drivers.services.spawn import signal_all
from crossfade.errors import Failed
from crossfade.model import Address

__all__ = ["Doors", "Note", "Waiter", "end_all", "ended", "tokens"]

Doors = dict[str, dict[str, Any]]
_GRACE = 0.5
_PATIENCE = 10.0


def tokens(token: str) -> tuple[str, str]:
    """What the program's processes bear, and what the migration's."""
    return token, f"{token}-migrate"


class Note:
    """The file that holds the token of what waits now."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, token: str) -> None:
        """Whoever bears this token waits from now on."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.write_text(token, encoding="ascii")

    def remove(self) -> None:
        """Nobody waits any longer."""
        self._path.unlink(missing_ok=True)

    def token(self) -> str:
        """The token, or nothing."""
        try:
            return self._path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def held(self, pids: set[int]) -> set[int]:
        """Those of the processes that wait, whoever asks."""
        token = self.token()
        return {pid for pid in pids if _token_of(pid) in tokens(token)} if token else set()


def _token_of(pid: int) -> str:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    wanted = f"{HELD}=".encode()
    found = (one[len(wanted) :] for one in environment.split(b"\0") if one.startswith(wanted))
    return os.fsdecode(next(found, b""))


def ended(child: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether a child ends within so many seconds; noticed at once."""
    until = time.monotonic() + timeout
    if child.poll() is None:
        descriptor = os.pidfd_open(child.pid)
        try:
            select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        finally:
            os.close(descriptor)
    return child.poll() is not None


def end_all(token: str) -> None:
    """End every process with a token: nothing was let through to it, so it has nothing to save.

    Raises Failed when one is still there after all."""
    began = time.monotonic()
    while left := procfs.with_mark(HELD, token):
        waited = time.monotonic() - began
        signal_all(left, signal.SIGTERM if waited < _GRACE else signal.SIGKILL)
        if waited > _PATIENCE:
            raise Failed(
                "service-does-not-stop",
                "What was started before the pause is still there after SIGKILL.",
                where=f"pid {min(left)}",
            )
        time.sleep(0.01)


class Waiter:
    """A command that was started and waits at its doors.  why says why it does not any more."""

    def __init__(self, child: subprocess.Popen[bytes], token: str, doors: list[str]) -> None:
        self.child = child
        self.token = token
        self.doors = doors
        self.why = ""
        self.listens = False

    def lives(self) -> bool:
        """Whether it, or what it left behind when it went to the background, is there."""
        return self.child.poll() is None or bool(procfs.with_mark(HELD, self.token))

    def at_door(self, doors: Doors) -> bool:
        """Whether it has a connection waiting, or has come up without needing one."""
        return self.listens or self.connections(doors) > 0

    def connections(self, doors: Doors) -> int:
        """How many of its connections wait."""
        return sum(doors[name]["waiting"] for name in self.doors)

    def see_whether_it_listens(self, address: str) -> None:
        """Some programs come up and connect only when somebody asks them something."""
        at = listening_pids(Address.parse(address)) if address else set()
        self.listens = any(_token_of(pid) == self.token for pid in at)

    def drop(self, why: str) -> None:
        """End it; the first reason counts."""
        self.why = self.why or why
        self.end()

    def end(self) -> None:
        """End it, also when it hides its token; reap it."""
        end_all(self.token)
        if not ended(self.child, _GRACE):
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
