"""The parts of a side, and what stands in front of both: what drivers implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from crossfade.model import Address, Digest, Finding, Installation, Side
from crossfade.ports._values import (
    Completed,
    CopyReport,
    DatabaseTraits,
    Progress,
    Rendering,
    ServiceState,
    TrafficState,
    TrafficTraits,
)

__all__ = [
    "Check",
    "Configuration",
    "Database",
    "DeadMan",
    "Files",
    "Held",
    "Host",
    "Install",
    "Service",
    "Traffic",
]


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

    def place(self, copy: Path, *, move: bool = False) -> None:
        """Make this database equal to a copy that ``copy_to`` made (new side only).  With ``move``
        the copy may be used up for it, which is quicker."""

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


class Traffic(Protocol):
    """Whatever stands in front of the application and can hold."""

    traits: TrafficTraits
    listen: Address

    def look(self) -> TrafficState | None:
        """How it stands; None when it does not run."""

    def ensure(self, targets: Mapping[Side, Address]) -> None:
        """Make sure that it runs and knows both addresses.  Never changes where traffic goes: an
        address that is the other side's now takes the side along."""

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
