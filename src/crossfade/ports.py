"""What the steps need, as protocols.  Drivers implement them; only ``wiring`` joins the two.

Abilities are data (traits), asked when planning, never discovered by a failing call.  Commands are
argv tuples, never shell strings.  Every method that changes something may be called again after a
crash: it looks first.  Methods raise ``crossfade.errors.Failed`` with *what* and *where*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from crossfade.model import (
    Address,
    Digest,
    Evidence,
    Finding,
    Installation,
    PlannedStep,
    Reversal,
    Run,
    Side,
)

__all__ = [
    "Check",
    "Committing",
    "Completed",
    "Configuration",
    "CopyReport",
    "Database",
    "DatabaseTraits",
    "DeadMan",
    "Files",
    "Held",
    "Host",
    "Install",
    "Journal",
    "Limits",
    "Parts",
    "Progress",
    "Rendering",
    "Service",
    "ServiceState",
    "Step",
    "Teller",
    "Traffic",
    "TrafficState",
    "TrafficTraits",
    "Work",
]

T = TypeVar("T")

Progress = Callable[[int, int | None], None]
"""Called with how much is done and how much there is in all (None when unknown)."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended: its argv, exit status, and what it printed."""

    argv: tuple[str, ...]
    status: int
    out: bytes
    err: bytes


class Host(Protocol):
    """A machine: commands and files on it."""

    name: str

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


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Whether a service runs: all its process ids, and one sentence for people."""

    running: bool
    pids: tuple[int, ...]
    detail: str


class Service(Protocol):
    """The running program of one side."""

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


@dataclass(frozen=True, slots=True)
class DatabaseTraits:
    """What a kind of database can do."""

    strategy: str = "dump"
    online_copy: bool = True
    fence: str = ""


class Held(Protocol):
    """A fence that holds: writes are refused until it is closed.  Dies with the tool."""

    def close(self) -> None:
        """Lift the fence; fine when it is lifted."""


class Database(Protocol):
    """One database of one side."""

    name: str
    traits: DatabaseTraits

    def describe(self) -> str:
        """Kind, place and mode in a few words."""

    def version(self) -> str:
        """Version of the database program, or of the library for an embedded one."""

    def size(self) -> int:
        """Bytes, with everything that belongs to it."""

    def copy_to(self, target: Path, progress: Progress | None = None) -> int:
        """A consistent copy as a file at ``target`` while the application writes.

        Never changes this database.  Replaces ``target`` atomically, makes its missing parents;
        returns its bytes.
        """

    def place(self, copy: Path) -> None:
        """Make this database equal to a copy that ``copy_to`` made (new side only)."""

    def matches(self, copy: Path) -> bool:
        """Whether this database is, byte for byte, a copy that ``copy_to`` made."""

    def digest(self) -> Digest:
        """Rows and checksum of every table, and of the schema.  Does not change anything."""

    def sound(self) -> Finding:
        """The database's own integrity check."""

    def position(self) -> str:
        """A cheap mark that changes with every committed write."""

    def fence(self) -> Held:
        """Refuse writes from everybody until closed.  Raises Failed if somebody still writes."""

    def prove_fence(self) -> Finding:
        """Try whether a writer would be refused right now."""

    def export_beyond(self, other: Path, to: Path) -> int:
        """Write the rows that this database has and the database file at ``other`` lacks as JSON
        lines below ``to``; returns how many."""

    def remove(self) -> None:
        """Remove it with everything that belongs to it (new side only); fine when it is gone."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy of a tree did: entries copied, entries removed, bytes written."""

    copied: int
    removed: int
    bytes: int


class Files(Protocol):
    """One tree of files of one side (uploads, media, keys)."""

    name: str
    path: Path

    def size(self) -> tuple[int, int]:
        """Entries and bytes."""

    def copy_to(self, target: Path, progress: Progress | None = None) -> CopyReport:
        """Make ``target`` equal to this tree; only what differs is copied.  In use is fine."""

    def digest(self) -> Digest:
        """Every entry with its kind, content, owner, mode, times, links and extended attributes."""

    def position(self) -> str:
        """A mark over names, sizes and times of all entries: changes with every usual write."""

    def remove(self) -> None:
        """Remove the tree (new side only); fine when it is gone."""


@dataclass(frozen=True, slots=True)
class TrafficTraits:
    """What a kind of gate can do."""

    hold: bool
    exact_drain: bool
    settles_in: float


@dataclass(frozen=True, slots=True)
class TrafficState:
    """How the gate stands.

    side is where traffic goes (or would go when released).  The counters are requests since the
    gate's state was made: total, answered by the gate itself with 5xx (failed), dispatched to the
    old side after the last drain (served_after_drain), and per side the unsafe-method requests
    that were answered with 2xx or 3xx since the last switch (writes_since_switch).
    """

    side: Side
    held: bool
    in_flight: int
    waiting: int
    tunnels: int
    total: int
    failed: int
    served_after_drain: int
    writes_since_switch: int
    lease_left: float
    targets: Mapping[Side, Address]


class Traffic(Protocol):
    """Whatever stands in front of the application and can hold."""

    traits: TrafficTraits
    listen: Address

    def look(self) -> TrafficState | None:
        """How it stands; None when it does not run."""

    def ensure(self, targets: Mapping[Side, Address]) -> None:
        """Make sure that it runs and knows both addresses.  Never changes the side."""

    def hold(self, *, lease: float, at_most: float, commit_to: Side, commit_token: Path) -> None:
        """Make requests wait.  The lease (seconds) must be renewed; no hold outlasts ``at_most``.

        When the lease ends, requests go to ``commit_to`` if ``commit_token`` exists, else to the
        side that they went to before."""

    def renew(self, lease: float) -> None:
        """Renew the lease.  Raises Failed when the hold is over."""

    def drain(self, timeout: float) -> TrafficState:
        """Wait until no request is in flight.  Raises Failed after ``timeout`` seconds."""

    def switch(self, side: Side) -> None:
        """Point traffic at ``side``; only while held.  Closes pools, cuts tunnels."""

    def release(self, pace: int = 64) -> None:
        """Let waiting requests go, at most ``pace`` in flight at once at first."""

    def record(self, path: Path | None) -> None:
        """Write a line for every request to ``path`` from now on; None ends it."""

    def stop(self) -> None:
        """End the gate's process.  Fine when it does not run."""


class Check(Protocol):
    """Something that is asked of a running application (or of an installed one)."""

    name: str

    def run(self) -> Finding:
        """Ask once, quickly.  Never raises for an application that fails: the finding says so."""


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


@dataclass(frozen=True, slots=True)
class Rendering:
    """Configuration for the new side: bytes by relative path (mode beside), and what was shown.

    difference is a unified diff with secrets masked; findings are the proof of each file.
    identity has a keyed fingerprint for each opaque or secret file that must stay the same.
    """

    files: Mapping[str, tuple[bytes, int]]
    difference: str
    findings: tuple[Finding, ...]
    sources: Mapping[str, str]


class Configuration(Protocol):
    """Carries the old side's custom configuration over."""

    def render(self, new: Installation) -> Rendering:
        """Read the old side's files and rewrite what must differ.  Changes nothing."""

    def active_effects(self, rendering: Rendering) -> tuple[str, ...]:
        """Side effects on the outside that the application, so configured, would have."""


class DeadMan(Protocol):
    """Starts a side again if nobody renews: the lease that outlives us.

    The token is one file.  Renaming it decides the race between us and the switch: exactly one of
    ``commit``, ``stand_down`` and the firing switch gets it.
    """

    def arm(self, revival: Sequence[tuple[str, ...]], lease: float) -> None:
        """Start the watching process with a new token.  When it fires it kills the runner if that
        still lives (one writer), then runs the revival's commands in order."""

    def renew(self, lease: float) -> bool:
        """Put the deadline off.  False when the token is gone."""

    def commit(self) -> bool:
        """Take the token for the commit point.  False when it fired first; True again later."""

    def stand_down(self) -> bool:
        """Take the token for going back.  False when it fired first (it revives by itself)."""

    def state(self) -> str:
        """One of: none, armed, committed, stood-down, fired."""

    @property
    def commit_token(self) -> Path:
        """The file that exists if, and only if, ``commit`` succeeded."""


class Parts(Protocol):
    """Everything of one side, joined."""

    installation: Installation
    host: Host
    install: Install
    service: Service
    installed_version: Check
    health: Check
    checks: Sequence[Check]

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator accepts, in seconds: the longest pause, how long to watch after the switch,
    the lease that keeps a pause alive, and how long each side may take to start and to stop.
    """

    max_pause: float
    watch: float
    lease: float
    start: float
    stop: float


class Work(Protocol):
    """What a step gets: both sides, the gate, the journal's once(), and places of its own.

    label names this attempt ("cutover-2") and directory is its own place below the state
    directory.  held is closed when the attempt ends: fences and the keeper of the pause's lease
    live there.  pause_began is the wall clock at the hold, or None outside a pause.  unmuted says
    that the operator accepts a rehearsal whose effects are not muted.
    """

    run: Run
    label: str
    unmuted: bool
    old: Parts
    new: Parts
    traffic: Traffic
    configuration: Configuration
    dead_man: DeadMan
    limits: Limits
    directory: Path
    held: ExitStack
    pause_began: float | None

    def copy(self, kind: str, name: str) -> Database:
        """The copy of database ``name`` that this attempt keeps as ``kind`` (backup, final)."""

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
