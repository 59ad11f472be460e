"""What is on a machine: itself, the program that runs there, and how that is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from crossfade.model import Address, Finding
from crossfade.ports._values import Completed, MadeMachine, Progress, ServiceState

__all__ = ["Host", "Install", "Jobs", "Machine", "Provisioner", "ReachedBySsh", "Service"]


class Host(Protocol):
    """A machine: commands and files on it."""

    name: str

    def connect(self) -> None:
        """See that it can be reached, and has the programs that we need there.  Raises Failed."""

    def give_up_at(self, moment: float | None) -> None:
        """From now on do not wait beyond this moment (``time.monotonic()``) for a link that is cut;
        None: wait as long as usual."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """Run a command to its end.  Raises Failed for any status not in ``ok``, or on timeout."""

    def outside(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with which somebody else on this machine (the dead-man's switch) runs
        ``argv`` there; it ends with 255 when the host cannot be reached."""

    def reading(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> AbstractContextManager[BinaryIO]:
        """A command's standard output as a stream; its input is empty.  What was read counts only
        once the ``with`` was left normally: that reads on to the end, waits, and raises Failed for
        a status other than 0 or a link that was cut.  An exception ends the command's whole group.
        """

    def feeding(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> AbstractContextManager[BinaryIO]:
        """A stream into a command's standard input; its output is dropped.  Leaving the ``with``
        normally closes it, waits, and raises Failed as ``reading`` does; so does writing to a
        command that has ended badly.  An exception ends the command's whole group."""

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed when it cannot be read."""

    def write(self, path: Path, data: bytes, *, mode: int = 0o600) -> None:
        """Write a file atomically (temporary name, fsync, rename); makes missing parents."""

    def exists(self, path: Path) -> bool:
        """Whether something stands at ``path``."""

    def make_directory(self, path: Path, *, mode: int = 0o700) -> None:
        """Make a directory and its missing parents; fine when it is there."""

    def remove(self, path: Path) -> None:
        """Remove a file or a whole tree; fine when it is gone."""

    def free_bytes(self, path: Path) -> int:
        """Bytes that we may still write on the file system that holds, or will hold, ``path``."""

    def file_system(self, path: Path) -> str:
        """A name for that file system, equal for two paths on the same one."""

    def listener(self, address: Address) -> str | None:
        """Who listens at ``address`` ("pid 12 (python)", or "somebody"); None when it is free."""


@runtime_checkable
class ReachedBySsh(Host, Protocol):
    """A machine that one logs in to by ssh, so that it has an sshd, and others may reach it too."""

    def by_login(self) -> ReachedBySsh:
        """The same machine as the account that logs in there, without sudo."""


class Jobs(Protocol):
    """What a machine runs at set times for one side: timers and cron jobs.  Those of the old side
    are found; ``carry`` makes the new side's, and writes down both."""

    def known(self) -> list[str]:
        """Those of this side that ``carry`` wrote down, each by its timer or file."""

    def found(self) -> tuple[list[str], list[str]]:
        """What would be handed over, and what would not and why, each in words.  Reads only."""

    def ending(self) -> tuple[list[str], str]:
        """What would only be switched off, for the new side can have none, in words; and why.
        Reads only."""

    def facts(self) -> Mapping[str, str]:
        """A digest of each of the old side's, by its name.  Reads only."""

    def carry(self) -> None:
        """Write the new side's, switched off, before the pause."""

    def switch(self, on: bool, wait: float = 0) -> list[Finding]:
        """Switch them on, or off; read back.  What a timer has started and still runs is waited
        for, ``wait`` seconds at most, and ended.  Nothing, and no command, when none are known."""

    def revival(self) -> list[tuple[str, ...]]:
        """The commands with which somebody else (the dead-man's switch) switches them on."""

    def remove(self) -> list[Finding]:
        """Remove the new side's, as we made them; fine when there are none.  Raises Failed."""

    def retire(self, archive: Path) -> list[Finding]:
        """Step retire: keep the old side's below ``archive``, on this machine, and only then remove
        them.  Raises Failed."""


class Service(Protocol):
    """The running program of one side."""

    def held(self) -> list[Finding]:
        """What became of the last ``prepare``: who waited for the databases, and that nothing had
        reached them when the doors were opened.  A plain start in its place is no failure."""

    def look(self) -> ServiceState:
        """How it stands, without changing anything."""

    def command(self) -> tuple[str, ...]:
        """The command that ``start`` would run."""

    def prepare(self) -> None:
        """Held start: do all of the start that needs no data, then wait.  Optional; repeatable."""

    def start(self) -> None:
        """Start it (let a prepared one go on).  Returns at once; readiness is a check's business.

        Fine when it already runs."""

    def stop(self, timeout: float, *, keep_prepared: bool = False) -> None:
        """Stop it gracefully and whole; kill what is left after ``timeout`` seconds.  A prepared
        one that waits is ended too, unless it is kept.  Fine when nothing runs."""

    def revival(self) -> tuple[str, ...]:
        """The command with which somebody else (the dead-man's switch) starts it again."""

    def burial(self) -> tuple[str, ...]:
        """The command with which somebody else stops it at once."""

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its log."""

    def at_boot(self) -> bool | None:
        """Whether the machine starts it when it boots; None where nothing can say so."""

    def set_at_boot(self, on: bool) -> None:
        """Say whether the machine starts it when it boots, where that can be said."""

    def account(self) -> str:
        """The account that it runs as, in its own machine's or image's words; empty for ours or
        root's."""

    def own(self, paths: Sequence[Path]) -> None:
        """Give files that we wrote to the account that it runs as, where that is another one."""

    def stands(self) -> list[str]:
        """What we made for it on its machine and is there now, the program's own files aside, each
        in words such as "unit app.service on app2".  Changes nothing."""

    def remove(self) -> None:
        """Remove what we made for it on its machine, the program's own files aside; fine when
        there is nothing.  Somebody else's is left alone."""

    def retire(self, archive: Path) -> list[Finding]:
        """Step retire: keep what describes it on its machine below ``archive``, on this machine,
        and only then remove that, where nobody else (a package) looks after it."""


class Install(Protocol):
    """How a version of the application gets onto a host."""

    def describe(self) -> tuple[str, ...]:
        """What ``install`` will do, in sentences."""

    def done(self) -> bool:
        """Whether an installation that we completed stands there."""

    def install(self, progress: Progress | None = None) -> None:
        """Install it; what a broken earlier try left is replaced.  Raises Failed."""

    def fingerprint(self) -> str:
        """A digest of what was installed (names, versions, file sums); empty when nothing is."""

    def remove(self) -> None:
        """Remove what ``install`` made; fine when it is gone."""


class Provisioner(Protocol):
    """Makes machines and removes them."""

    making: str
    """How it makes one, in words."""
    removing: str
    """How it removes one, in words."""

    def make(self, name: str, upgrade: str) -> MadeMachine:
        """Make the machine of this name, or find it when it was made before; it bears the upgrade's
        id.  Raises Failed; a machine that bears another id is refused (provision-not-ours)."""

    def found(self, name: str, upgrade: str) -> MadeMachine | None:
        """The machine of this name, of which it is not known how far it was made, for its removal;
        None when there is none.  Its address may be empty.  Raises Failed as ``make`` does."""

    def remove(self, machine: MadeMachine) -> None:
        """Remove a machine that was made; fine when it is gone.  Raises Failed."""


class Machine(Protocol):
    """The machine of a side that an upgrade has made, and that may be removed."""

    name: str

    def describe(self) -> str:
        """How it will be removed, in a sentence."""

    def going(self) -> bool:
        """Whether its removal was begun before."""

    def remove(self) -> list[Finding]:
        """Remove it, and see that it does not answer any more.  Fine when it is gone."""
