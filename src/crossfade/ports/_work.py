"""What a step is, and what it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from crossfade.model import Evidence, Finding, Installation, PlannedStep, Reversal, Run
from crossfade.ports._dns import Names
from crossfade.ports._drivers import (
    Carrier,
    Check,
    Configuration,
    Database,
    DeadMan,
    Files,
    Traffic,
)
from crossfade.ports._fronts import Front
from crossfade.ports._machines import Host, Install, Jobs, Machine, Service
from crossfade.ports._values import KeptBackup, Limits, Progress, Rendering

__all__ = [
    "Backups",
    "Committing",
    "Journal",
    "Parts",
    "Step",
    "Teller",
    "Work",
]

T = TypeVar("T")


class Parts(Protocol):
    """Everything of one side, joined.

    held is the installation as a held start sees it: its databases' addresses are doors that stay
    closed until the data is there.  None when no held start through doors is possible.
    machine is the one that an upgrade has made for this side, if one did."""

    installation: Installation
    held: Installation | None
    host: Host
    install: Install
    service: Service
    installed_version: Check
    health: Check
    checks: Sequence[Check]
    machine: Machine | None
    jobs: Jobs

    @property
    def databases(self) -> Mapping[str, Database]:
        """This side's databases by name."""

    @property
    def files(self) -> Mapping[str, Files]:
        """This side's trees by name."""


class Journal(Protocol):
    """The durable record.  Append-only; keyed by names, never by positions."""

    def append(self, run: str, name: str, kind: str, payload: Mapping[str, object]) -> None:
        """Add an entry and make it durable.  Raises JournalError."""

    def entries(
        self, *, run: str | None = None, kind: str | None = None
    ) -> Iterator[Mapping[str, object]]:
        """Entries in order: seq, at, run, name, kind, payload."""


class Backups(Protocol):
    """Where kept backups are.  A backup counts from ``finish`` on; nothing else is ever listed."""

    @property
    def place(self) -> Path:
        """The directory, on the machine that has them."""

    @property
    def host(self) -> Host | None:
        """That machine; None for this one."""

    @property
    def machine(self) -> str:
        """What it is called; empty for this one."""

    @property
    def wanted(self) -> bool:
        """Whether a cutover makes one."""

    @property
    def stage(self) -> Path:
        """The directory on this machine below which databases' backups are made."""

    def begin(self, label: str) -> AbstractContextManager[Path]:
        """An empty private directory on this machine for the attempt's backup.  Raises Failed."""

    def pair(self, label: str, tree: Files, host: Host, to: Path) -> tuple[Files, Files]:
        """A tree of ``host``, as it is copied from, and its copy in the attempt's backup; ``to`` is
        what ``begin`` gave."""

    def bring(self, label: str, to: Path, files: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
        """Bring what was made in ``to`` to where it is kept, and read it back; files has size and
        SHA-256 of each by its (quoted) path.  Raises Failed."""

    def finish(self, label: str, about: Mapping[str, object]) -> Path:
        """It was proven: describe it, make it durable and let it count.  Raises Failed."""

    def discard(self) -> list[str]:
        """Remove what was begun and never proven; its paths."""

    def surplus(self, coming: str = "") -> list[KeptBackup]:
        """Which would be removed now, or once the attempt ``coming`` has one."""

    def thin_out(self) -> list[str]:
        """Remove the surplus; names of what was removed.  Raises Failed."""


class Work(Protocol):
    """What a step gets: both sides, the gate, the journal's once(), and places of its own.

    front is the web server before the gate, where the manifest names one.
    label names this attempt ("cutover-2") and directory is its own place below the state
    directory, on this machine, which is here.  held is closed when the attempt ends: fences and the
    keeper of the pause's lease live there.  straight is the new side's configuration with the
    databases' own addresses, once it was made; written are its files as this attempt wrote them, by
    their paths.  pause_began is the wall clock at the hold, or None
    outside a pause.  unmuted says that the operator accepts a rehearsal whose effects are not
    muted; accepted has the other named flags by which the operator skips a safety.  names are those
    in the DNS, if the site has some.  canaries seal with the old side's keys and read with the new
    side's; checkers ask the new version about the files as a cutover has them; answers asks the new
    side under the names that users ask for.
    """

    run: Run
    label: str
    unmuted: bool
    accepted: frozenset[str]
    names: Names | None
    here: Host
    old: Parts
    new: Parts
    traffic: Traffic
    front: Front | None
    configuration: Configuration
    canaries: Sequence[Check]
    checkers: Sequence[Check]
    answers: Check | None
    dead_man: DeadMan
    backups: Backups
    limits: Limits
    directory: Path
    held: ExitStack
    straight: Rendering | None
    written: Mapping[str, bytes]
    pause_began: float | None

    @property
    def carriers(self) -> Mapping[str, Carrier]:
        """What carries each database from the old side to the new one, by the database's name."""

    def once(self, name: str, do: Callable[[], T]) -> T:
        """Do something that cannot be made repeatable; its JSON result is remembered."""

    def at_fence(self) -> Mapping[str, str]:
        """The old side's positions at the fence of the last cutover, from the journal."""

    def timed(self, name: str) -> AbstractContextManager[None]:
        """Measure a part of the step under this name, for predictions and the timeline."""

    def tell(self, text: str) -> None:
        """Progress for people."""

    def progress(self, what: str) -> AbstractContextManager[Progress]:
        """A bar for long work."""


class Teller(Protocol):
    """Where progress goes."""

    def say(self, text: str) -> None:
        """One line for people."""

    def bar(self, what: str) -> AbstractContextManager[Progress]:
        """A bar for long work."""


class Step(Protocol):
    """One of the nine.  A module may be a step."""

    name: str
    reversal: Reversal

    def preview(self, work: Work) -> PlannedStep:
        """What ``run`` would do.  Changes nothing."""

    def run(self, work: Work) -> Evidence:
        """Look, act, prove.  Running it again after a crash is safe."""

    def undo(self, work: Work) -> Evidence:
        """Take back what ``run`` did, also half of it."""


@runtime_checkable
class Committing(Protocol):
    """A step with a commit point: after it there is only forward."""

    def finish(self, work: Work) -> Evidence:
        """What remains to be done after the commit point; repeatable."""
