"""The dead-man's switch: a detached process that brings a side back unless we keep renewing.

Everything hangs on one file, the token.  Its modification time is the last renewal.  Renaming it
decides: ``token.committed`` (we passed the commit point), ``token.stood-down`` (we went back
ourselves), or ``token.fired`` (the switch did it).  rename(2) is atomic, so exactly one wins.

When it fires it first kills the runner that armed it, if that still lives: a runner that stopped
renewing may be frozen, and must never wake up and write.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from crossfade.drivers import procfs
from crossfade.errors import Failed

__all__ = ["LocalDeadMan"]

_watchers: list[subprocess.Popen[bytes]] = []
"""Children that outlive us on purpose; kept, for Python warns of those that are forgotten."""
_UNREACHED = 255
"""What ssh ends with when it cannot reach a machine (``Host.outside``)."""
_LONGEST_OUTAGE = 86400.0
_ENDS = ("committed", "stood-down", "fired")


class LocalDeadMan:
    """One attempt's switch on this machine.  directory is that attempt's own (made, mode 0700)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._token = directory / "token"

    @property
    def commit_token(self) -> Path:
        """The file that exists if, and only if, ``commit`` succeeded."""
        return self.directory / "token.committed"

    def arm(self, revival: Sequence[tuple[str, ...]], lease: float) -> None:
        """Write the token and start the watcher.  Raises Failed when this attempt has ended."""
        if self.state() not in ("none", "armed"):
            raise Failed("dead-man-over", "This attempt's dead-man's switch was used already.")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {
            "revival": [list(argv) for argv in revival],
            "lease": lease,
            "runner": [os.getpid(), procfs.start_time(os.getpid())],
        }
        partial = self.directory / "token.partial"
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(self._token)
        with (self.directory / "log").open("ab") as log:
            watcher = subprocess.Popen(
                (sys.executable, "-m", __name__, str(self.directory)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("CROSSFADE_")},
            )
        _watchers.append(watcher)
        until = time.monotonic() + 20
        while not (self.directory / "watching").exists():
            if watcher.poll() is not None or time.monotonic() > until:
                self._token.unlink(missing_ok=True)
                raise Failed(
                    "dead-man-missing",
                    "The dead-man's switch did not start.",
                    where=str(self.directory / "log"),
                )
            time.sleep(0.01)
        self.renew(lease)

    def renew(self, lease: float) -> bool:
        """Put the deadline off to now plus the lease.  False when the token is gone."""
        try:
            os.utime(self._token)
        except FileNotFoundError:
            return False
        return True

    def commit(self) -> bool:
        """Take the token for the commit point."""
        return self._take("committed")

    def stand_down(self) -> bool:
        """Take the token for going back ourselves."""
        return self._take("stood-down")

    def hand_over(self) -> None:
        """Let the watcher bring the side back, which we could not; it leaves us alone then."""
        self._take("fired")

    def _take(self, end: str) -> bool:
        try:
            self._token.rename(self.directory / f"token.{end}")
        except FileNotFoundError:
            return (self.directory / f"token.{end}").exists()
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return True

    def state(self) -> str:
        """none, armed, committed, stood-down or fired."""
        if self._token.exists():
            return "armed"
        return next((end for end in _ENDS if (self.directory / f"token.{end}").exists()), "none")


def watch(directory: Path) -> None:
    """Wait for the token to be taken, or for its lease to run out; then fire."""
    token = directory / "token"
    content = json.loads(token.read_text(encoding="utf-8"))
    (directory / "watching").touch()
    while True:
        try:
            renewed = token.stat().st_mtime
        except FileNotFoundError:
            if (directory / "token.fired").exists():  # handed over to us
                _revive(content["revival"])
            return
        if time.time() > renewed + content["lease"]:
            break
        time.sleep(min(0.2, content["lease"] / 10))
    try:
        token.rename(directory / "token.fired")
    except FileNotFoundError:
        return
    pid, started = content["runner"]
    if procfs.start_time(pid) == started:
        os.kill(pid, signal.SIGKILL)
    _revive(content["revival"])


def _revive(commands: Sequence[Sequence[str]]) -> None:
    """Run them in order.  Those whose machine cannot be reached are tried again, in the end every
    few seconds, for a day: an outage may last, and nobody else is there to do it."""
    left, until, pause = list(commands), time.monotonic() + _LONGEST_OUTAGE, 0.5
    while left and time.monotonic() < until:
        unreached = []
        for argv in left:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False)
            sys.stdout.write(f"{time.time():.3f} {argv[-2:]} ended with {done.returncode}\n")
            sys.stdout.flush()
            if done.returncode == _UNREACHED:
                unreached.append(argv)
        left = unreached
        if left:
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
