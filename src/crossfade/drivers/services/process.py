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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex

from crossfade.drivers import procfs
from crossfade.drivers.listeners import listening_pids
from crossfade.drivers.services.held import HeldAtDoors, finish
from crossfade.drivers.services.holder import HELD
from crossfade.drivers.services.spawn import MARK, ProcessSpec, signal_all, spawn
from crossfade.drivers.services.waiting import Note
from crossfade.errors import Failed
from crossfade.model import Address, Finding
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
        self._note = Note(keep / f"{spec.mark}.held")
        self._at_doors = HeldAtDoors(spec, keep, self._note)

    @property
    def _description(self) -> Path:
        return self.keep / f"{self.spec.mark}.json"

    def command(self) -> tuple[str, ...]:
        """The command that ``start`` runs."""
        return self.spec.command

    def look(self) -> ServiceState:
        """Whether it runs, by mark, pid file or listener, in this order."""
        _reap()
        found = procfs.with_mark(MARK, self.spec.mark)
        held = self._note.held(found)
        found -= held
        how = _OURS
        if not found and (pid := self._from_pid_file()):
            found, how = procfs.descendants([pid]), f"pid file {self.spec.pid_file}"
        if not found and self.spec.address:
            address = Address.parse(self.spec.address)
            listeners = {pid for pid in listening_pids(address) if self._may_be_ours(pid)}
            found = procfs.descendants(listeners - held) - held
            how = f"listens at {address}"
        if not found:
            return ServiceState(False, (), "no process")
        pids = tuple(sorted(found))
        command = procfs.command_of(pids[0])
        foreign = command if how != _OURS and command != self.spec.command else ()
        words = " ".join(command[:6])[:120]
        return ServiceState(True, pids, f"pid {pids[0]} ({how}): {words}", foreign)

    def _may_be_ours(self, pid: int) -> bool:
        ours = procfs.command_of(pid) in (self.spec.command, self.spec.held_command)
        return pid != os.getpid() and (ours or not self.spec.strict)

    def _from_pid_file(self) -> int | None:
        try:
            pid = int(Path(self.spec.pid_file).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None
        return pid if procfs.alive(pid) else None

    def prepare(self) -> None:
        """Do as much of the start as needs no data; then it waits.  See ``ProcessSpec.hold_by``.

        Raises Failed when it cannot even be loaded."""
        match self.spec.held_by(running=bool(self.spec.doors) and self.look().running):
            case "holder":
                self._at_doors.prepare()
            case "preload":
                self._preload()

    def held(self) -> list[Finding]:
        """What became of the last ``prepare``, and what had passed the doors when they opened."""
        return list(self._at_doors.findings)

    def _preload(self) -> None:
        if self._held:
            return
        words = self.spec.command
        read, write = os.pipe()
        argv = (words[0], str(HELD_START), str(write), ",".join(self.spec.preload), *words[1:])
        self._note.write(token := token_hex(8))
        try:
            self._held = spawn(
                self.spec, argv, stdin=subprocess.PIPE, pass_fds=(write,), extra={HELD: token}
            )
        finally:
            os.close(write)
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
        """Migrate, then start it, or let the prepared one go on; fine when it already runs."""
        with self._alone():
            if self.look().running:
                return
            self._migrate()
            child = self._go() if self._held else self._at_doors.serve()
            _started.append(child or spawn(self.spec, self.spec.command))

    def _migrate(self) -> None:
        spec = self.spec
        if not spec.migrate:
            return
        status = self._at_doors.migrate(spec.migrate_at_most)
        if status is None:
            status = finish(spec, spawn(spec, spec.migrate), spec.migrate_at_most)
        if status != 0:
            raise Failed(
                "migration-failed",
                f"The migration ended with status {status}.",
                where="\n".join([" ".join(spec.migrate), *self.log_tail(5)]),
            )

    def _go(self) -> subprocess.Popen[bytes] | None:
        """Let the preloaded one go on; None when it died while it waited."""
        held, self._held = self._held, None
        if held is None or held.stdin is None:
            return None
        self._note.remove()
        self._at_doors.close()  # an earlier start's
        try:
            held.stdin.write(b"go\n")
            held.stdin.close()
        except OSError:
            held.wait()
            return None
        return held

    def stop(self, timeout: float, *, keep_prepared: bool = False) -> None:
        """SIGTERM to every process of it, SIGKILL after ``timeout`` seconds to what is left."""
        if not keep_prepared:
            self._let_go_of_held()
            if self._at_doors.waits or self._note.token():
                self._at_doors.end()
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
                    if not keep_prepared:
                        self._at_doors.close()
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

    def at_boot(self) -> None:
        """Nobody starts a mere process at boot."""

    def set_at_boot(self, on: bool) -> None:
        """Nothing to say it to."""

    def account(self) -> str:
        """It runs as we do."""
        return ""

    def own(self, paths: Sequence[Path]) -> None:
        """It runs as we do."""

    def stands(self) -> list[str]:
        """Nothing is made for it but what belongs to the state directory."""
        return []

    def remove(self) -> None:
        """Nothing is made for it but what belongs to the state directory."""

    def retire(self, archive: Path) -> list[Finding]:
        """Nothing describes a mere process."""
        del archive
        return []

    def _keep_description(self) -> None:
        self.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._description.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            json.dump(asdict(self.spec.plain()), file)
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
        self._note.remove()
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
