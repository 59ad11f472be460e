"""The ``process`` service: a program as a process group of its own that outlives us.

A process that we start carries ``CROSSFADE_SERVICE=<mark>`` in its environment, and so do all its
children: that is how it is found again after a crash of ours, and stopped whole even when a child
left the group.  An old side that somebody else started is found by its own pid file or by who
listens at its address.  Its description is kept as a file of mode 0600 so that the dead-man's
switch can start it without us: ``python -m crossfade.drivers.services.process start FILE``.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from crossfade.drivers import procfs
from crossfade.drivers.listeners import listening_pids
from crossfade.drivers.services.spawn import MARK, ProcessSpec, signal_all, spawn
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import ServiceState

__all__ = ["ProcessService", "ProcessSpec"]

HELD_START = Path(__file__).with_name("held_start.py")
_READY_TIMEOUT = 120.0
_OURS = "started by Crossfade"
_started: list[subprocess.Popen[bytes]] = []
"""Children of this process.  They outlive us, but while we live somebody has to reap them."""


class ProcessService:
    """One side's program, started and stopped on this machine.

    spec describes it; ``keep`` is the directory for its description and lock (made, mode 0700).
    """

    def __init__(self, spec: ProcessSpec, keep: Path) -> None:
        self.spec = spec
        self.keep = keep
        self._held: subprocess.Popen[bytes] | None = None

    @property
    def _description(self) -> Path:
        return self.keep / f"{self.spec.mark}.json"

    def command(self) -> tuple[str, ...]:
        """The command that ``start`` runs."""
        return self.spec.command

    def look(self) -> ServiceState:
        """Whether it runs, by mark, pid file or listener, in this order."""
        _reap()
        found = procfs.with_mark(MARK, self.spec.mark) - self._held_pids()
        how = _OURS
        if not found and (pid := self._from_pid_file()):
            found, how = procfs.descendants([pid]), f"pid file {self.spec.pid_file}"
        if not found and self.spec.address:
            address = Address.parse(self.spec.address)
            listeners = {pid for pid in listening_pids(address) if self._may_be_ours(pid)}
            found = procfs.descendants(listeners) if listeners else set()
            how = f"listens at {address}"
        if not found:
            return ServiceState(False, (), "no process")
        pids = tuple(sorted(found))
        command = procfs.command_of(pids[0])
        foreign = command if how != _OURS and command != self.spec.command else ()
        words = " ".join(command[:6])[:120]
        return ServiceState(True, pids, f"pid {pids[0]} ({how}): {words}", foreign)

    def _may_be_ours(self, pid: int) -> bool:
        ours = procfs.command_of(pid) == self.spec.command
        return pid != os.getpid() and (ours or not self.spec.strict)

    @property
    def _held_note(self) -> Path:
        return self.keep / f"{self.spec.mark}.held"

    def _held_pids(self) -> set[int]:
        """A process that waits in its held start does not run yet, whoever asks."""
        try:
            return {int(self._held_note.read_text(encoding="ascii"))}
        except (OSError, ValueError):
            return set()

    def _from_pid_file(self) -> int | None:
        try:
            pid = int(Path(self.spec.pid_file).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None
        return pid if procfs.alive(pid) else None

    def prepare(self) -> None:
        """Start the interpreter and import what needs no data; then it waits.

        Without ``preload`` this does nothing.  Raises Failed when the imports fail."""
        words = self.spec.command
        if not self.spec.preload or self._held or len(words) < 3 or words[1] != "-m":
            return
        read, write = os.pipe()
        argv = (words[0], str(HELD_START), str(write), ",".join(self.spec.preload), *words[1:])
        self.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._held = spawn(self.spec, argv, stdin=subprocess.PIPE, pass_fds=(write,))
        finally:
            os.close(write)
        self._held_note.write_text(str(self._held.pid), encoding="ascii")
        with open(read, "rb") as ready:  # noqa: PTH123 - a descriptor
            if select.select([ready], [], [], _READY_TIMEOUT)[0] and ready.readline():
                return
        self._let_go_of_held()
        raise Failed(
            "service-does-not-start",
            f"The program could not even be loaded: {words[0]} -m {words[2]}.",
            where="\n".join([" ".join(words), *self.log_tail(5)]),
        )

    def start(self) -> None:
        """Start it, or let the prepared one go on; fine when it already runs."""
        with self._alone():
            if self.look().running:
                return
            if self._held and (go := self._held.stdin):
                held, self._held = self._held, None
                self._held_note.unlink(missing_ok=True)
                try:
                    go.write(b"go\n")
                    go.close()
                except OSError:
                    held.wait()  # it died while waiting: start afresh
                else:
                    _started.append(held)
                    return
            _started.append(spawn(self.spec, self.spec.command, stdin=subprocess.DEVNULL))

    def stop(self, timeout: float, *, keep_prepared: bool = False) -> None:
        """SIGTERM to every process of it, SIGKILL after ``timeout`` seconds to what is left."""
        if not keep_prepared:
            self._let_go_of_held()
        with self._alone():
            known = set(self.look().pids)
            for patience, signum in ((timeout, signal.SIGTERM), (10.0, signal.SIGKILL)):
                signal_all(known, signum)
                until = time.monotonic() + patience
                while any(procfs.alive(pid) for pid in known) and time.monotonic() < until:
                    _reap()
                    time.sleep(0.005)
                newborn = set(self.look().pids)  # children made while their parents ended
                if not newborn:
                    return
                known = newborn
        raise Failed(
            "service-does-not-stop",
            "The program is still there after SIGTERM and SIGKILL.",
            where=self.look().detail,
        )

    def revival(self) -> tuple[str, ...]:
        """The command that starts it without us; keeps the description it needs."""
        self._keep_description()
        return (sys.executable, "-m", __name__, "start", str(self._description))

    def burial(self) -> tuple[str, ...]:
        """The command that stops it without us, at once; keeps the description it needs."""
        self._keep_description()
        return (sys.executable, "-m", __name__, "stop", str(self._description))

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its log (at most 200 characters each)."""
        try:
            with Path(self.spec.log).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 16384))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line[:200] for line in text.splitlines()[-lines:]]

    def _keep_description(self) -> None:
        self.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._description.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            json.dump(asdict(self.spec), file)
        partial.replace(self._description)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Starting and stopping exclude each other, also between us and the dead-man's switch."""
        self.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.keep / f"{self.spec.mark}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _let_go_of_held(self) -> None:
        if self._held is None:
            return
        held, self._held = self._held, None
        if held.stdin:
            held.stdin.close()
        self._held_note.unlink(missing_ok=True)
        try:
            held.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(held.pid, signal.SIGKILL)
            held.wait()


def _reap() -> None:
    _started[:] = [child for child in _started if child.poll() is None]


def main() -> None:
    """``start FILE`` or ``stop FILE``, for the dead-man's switch."""
    verb, file = sys.argv[1:]
    service = ProcessService(ProcessSpec.load(Path(file)), Path(file).parent)
    if verb == "start":
        service.start()
    else:
        service.stop(timeout=2.0)


if __name__ == "__main__":
    main()
