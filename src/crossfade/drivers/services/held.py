"""A start that is held at doors: program and migration are started before the pause and wait."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from secrets import token_hex

from crossfade.drivers import procfs
from crossfade.drivers.services.holder import HELD, Plan
from crossfade.drivers.services.holding import Holding
from crossfade.drivers.services.spawn import MARK, ProcessSpec, spawn
from crossfade.drivers.services.waiting import Doors, Note, Waiter, end_all, ended, tokens
from crossfade.errors import Failed
from crossfade.model import Finding

__all__ = ["HeldAtDoors", "finish"]

_LINGER = 30.0
_POLL = 0.02
_LOOK_EVERY = 0.5
_SETTLE = 1.0
"""Nobody new has come for so long: a program's several processes do not all come at once."""
_COME_AGAIN = 1.0
"""How long a program that gave up may take to come again when its door is to be opened."""


class HeldAtDoors:
    """One program, and its migration, that wait at the doors of a holder of ours.

    ``findings`` says what became of it; a plain start in its place is no failure."""

    def __init__(self, spec: ProcessSpec, keep: Path, note: Note) -> None:
        self.spec = spec
        self.findings: list[Finding] = []
        self._note = note
        self._holding = Holding(keep / f"{spec.mark}.holder.json")
        self._program: Waiter | None = None
        self._migration: Waiter | None = None

    @property
    def _waiters(self) -> list[Waiter]:
        return [waiter for waiter in (self._migration, self._program) if waiter]

    @property
    def waits(self) -> bool:
        """Whether anything was prepared and was not let go yet."""
        return bool(self._waiters)

    def prepare(self) -> None:
        """Start both, and return when they wait.  What does not come to wait is ended.

        Raises Failed when a command cannot be run at all."""
        if self.waits and self._holding.doors() is not None:
            return
        self.end()
        self.findings.clear()
        token = token_hex(8)
        self._note.write(token)
        try:
            self._begin(token)
        except Failed as error:
            self.end()
            if error.code != "holder-not-started":
                raise
            self._tell(f"the holder did not start: {error.where}")
        except BaseException:
            self.end()
            raise
        else:
            self._wait()

    def _begin(self, token: str) -> None:
        spec, (of_program, of_migration) = self.spec, tokens(token)
        starter = (os.getpid(), procfs.start_time(os.getpid()))
        mark = (MARK, spec.mark)
        doors = dict(spec.doors)
        limits = spec.hold_at_most, _LINGER
        self._holding.begin(Plan(doors, mark, tokens(token), starter, *limits, spec.sends_on))
        if spec.migrate and spec.migrate_doors:
            extra = {**spec.held_migrate_environment, HELD: of_migration}
            child = spawn(spec, spec.held_migrate or spec.migrate, extra=extra)
            self._migration = Waiter(child, of_migration, list(spec.migrate_doors))
        extra = {**spec.held_environment, HELD: of_program}
        child = spawn(spec, spec.held_command or spec.command, extra=extra)
        others = [name for name in doors if name not in spec.migrate_doors]
        self._program = Waiter(child, of_program, others)

    def _wait(self) -> None:
        """Until everything that lives waits, and nobody new comes."""
        until = time.monotonic() + self.spec.ready_within
        accepted, quiet_since, looked = -1, 0.0, 0.0
        while (now := time.monotonic()) < until:
            doors = self._holding.doors()
            if doors is None:
                self._drop_all("the holder ended")
                break
            if now - looked > _LOOK_EVERY and self._program and not self._program.at_door(doors):
                looked = now
                self._program.see_whether_it_listens(self.spec.address)
            for waiter in self._waiters:
                if not waiter.lives():
                    self._drop(waiter, f"it ended ({_how(waiter.child)}) before it waited")
            count = sum(door["accepted"] for door in doors.values())
            if count != accepted:
                accepted, quiet_since = count, now
            settled = now - quiet_since >= _SETTLE
            if settled and all(waiter.at_door(doors) for waiter in self._waiters):
                self._tell_who_waits(doors)
                break
            time.sleep(_POLL)
        else:
            self._drop_the_late()

    def _drop_the_late(self) -> None:
        doors = self._holding.doors() or {}
        for waiter in self._waiters:
            if not (doors and waiter.at_door(doors)):
                self._drop(waiter, f"it did not come to wait in {self.spec.ready_within:g} s")
        self._tell_who_waits(doors)

    def _tell_who_waits(self, doors: Doors) -> None:
        for waiter in self._waiters:
            count = waiter.connections(doors)
            words = "listens already" if waiter.listens else f"waits with {count} connections"
            self._tell(words, waiter)

    def migrate(self, timeout: float) -> int | None:
        """Open the doors of the migration that waits.  Its exit status when it has ended, None
        when none waits (any more): run it plainly.  Raises Failed after ``timeout`` seconds."""
        migration = self._migration
        if migration is None or not self._may_pass(migration):
            return None
        self._open(migration)
        return finish(self.spec, migration.child, timeout)

    def serve(self) -> subprocess.Popen[bytes] | None:
        """Open the doors of the program that waits, which is returned.  None when none waits (any
        more): start it plainly; then the holder is gone as well."""
        program = self._program
        if program is None or not self._may_pass(program):
            self.end()
            return None
        self._note.remove()  # before it can write: from here on it counts as running
        for name in self.spec.migrate_doors:
            self._holding.give_up(name)
        if not self._open(program):
            self._drop(program, "the holder ended")
            self.end()
            return None
        self._program = self._migration = None
        return program.child

    def _may_pass(self, waiter: Waiter) -> bool:
        """Whether it still waits; it may just be between two tries.  Else it is ended."""
        until = time.monotonic() + _COME_AGAIN
        while True:
            doors = self._holding.doors()
            if doors is None or any(doors[name]["state"] == "given-up" for name in waiter.doors):
                why = "the holder held no longer"
                break
            if not waiter.lives():
                why = f"it ended ({_how(waiter.child)}) while it waited"
                break
            if waiter.at_door(doors):
                return True
            if time.monotonic() > until:
                why = "it gave up waiting"
                break
            time.sleep(_POLL)
        self._drop(waiter, why)
        return False

    def _open(self, waiter: Waiter) -> bool:
        for name in waiter.doors:
            doors = self._holding.open(name)
            if doors is None:
                return False
            door = doors[name]
            count = door["accepted"] - door["gave_up"]
            self.findings += [
                Finding.equal(
                    f"{what} that reached {door['target']} before door {name} was opened",
                    0,
                    door["before"][what],
                    f"the holder's count; {count} connections waited",
                )
                for what in ("connections", "bytes")
            ]
        return True

    def end(self) -> None:
        """End the holder and everything that waits, also what another process of ours left."""
        token = self._note.token()
        self._holding.end()
        for one in tokens(token) if token else ():
            end_all(one)
        self._note.remove()
        for waiter in self._waiters:
            waiter.end()
        self._program = self._migration = None

    def close(self) -> None:
        """End the holder alone: the program has been stopped."""
        self._holding.end()

    def _drop_all(self, why: str) -> None:
        for waiter in self._waiters:
            self._drop(waiter, why)

    def _drop(self, waiter: Waiter, why: str) -> None:
        waiter.drop(why)
        self._tell(f"a plain start instead: {why}", waiter)
        if waiter is self._migration:
            self._migration = None
        else:
            self._program = None

    def _tell(self, observed: str, waiter: Waiter | None = None) -> None:
        what = "migration" if waiter and waiter is self._migration else "program"
        self.findings.append(
            Finding(
                f"the {what} is loaded before the pause and waits for its database",
                "it waits, or is started plainly in the pause",
                observed,
                "holder",
                True,
            )
        )


def _how(child: subprocess.Popen[bytes]) -> str:
    return f"status {child.returncode}"


def finish(spec: ProcessSpec, child: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait for the migration's end.  Raises Failed when it takes too long, and ends it."""
    if ended(child, timeout):
        return child.returncode
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    raise Failed(
        "migration-failed",
        f"The migration did not end within {timeout:g} s.",
        where=" ".join(spec.migrate),
    )
