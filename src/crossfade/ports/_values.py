"""Plain values that ports speak of."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from crossfade.model import Address, Digest, Finding, Problem, Side
from crossfade.ports._measured import Measured
from crossfade.ports._relay import PortState

__all__ = [
    "Carrying",
    "Completed",
    "CopyReport",
    "DatabaseTraits",
    "Heed",
    "Kept",
    "KeptBackup",
    "Late",
    "Limits",
    "MadeMachine",
    "Muted",
    "Progress",
    "Rendering",
    "ServiceState",
    "TrafficState",
    "TrafficTraits",
    "WayBack",
]

Progress = Callable[[int, int | None], None]
"""Called with how much is done and how much there is in all (None when unknown)."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended: its argv, exit status, and what it printed."""

    argv: tuple[str, ...]
    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Whether a service runs: all its process ids, and one sentence for people.

    foreign is the command that somebody else started it with, if it is not ours."""

    running: bool
    pids: tuple[int, ...]
    detail: str
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseTraits:
    """What a kind of database can do.

    strategy is the best it has; fence is how it is fenced, in words; lasting_position says that
    ``position`` still means something days after the fence; keeps_fence that a fence can outlive
    us (``Held.keep``); reads_while_fenced that a program that runs may read behind its fence."""

    strategy: str = "dump"
    online_copy: bool = True
    fence: str = ""
    lasting_position: bool = False
    keeps_fence: bool = False
    reads_while_fenced: bool = False


@dataclass(frozen=True, slots=True)
class Carrying:
    """How a database will be carried.

    strategy is dump (copied inside the pause) or stream; why is one sentence, said when it is not
    the kind's best.  size is bytes of the old database; needs is disk space in bytes by place, on
    this machine, needs_there on the new side's; touches are changes on the old side.
    facts must not change between rehearsal and cutover (schema's fingerprint, versions).
    """

    strategy: str
    why: str = ""
    size: int = 0
    actions: tuple[str, ...] = ()
    touches: tuple[str, ...] = ()
    needs: Mapping[Path, int] = field(default_factory=dict)
    needs_there: Mapping[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A database in a kept backup.

    file is its name in the backup's directory; kind and version are the database program's; digest
    is the old side's at the moment of the backup; findings have what came of restoring it; how are
    the commands that restore it by hand, as argv tuples, run in that directory."""

    file: str
    kind: str
    version: str
    digest: Digest
    findings: tuple[Finding, ...]
    how: tuple[tuple[str, ...], ...]

    def as_json(self) -> dict[str, object]:
        """Plain data for ``backup.json``."""
        tables = {n: [part.count, part.checksum] for n, part in self.digest.parts.items()}
        return {
            "file": self.file,
            "kind": self.kind,
            "version": self.version,
            "tables": tables,
            "restore": [shlex.join(argv) for argv in self.how],
        }


@dataclass(frozen=True, slots=True)
class KeptBackup:
    """A backup that counts: of which upgrade and attempt, when it was made (wall clock), where it
    is, and all of its ``backup.json``."""

    upgrade: str
    attempt: str
    made: float
    path: Path
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WayBack:
    """What going back costs: whether a reverse feed keeps the old side whole, in one sentence."""

    lossless: bool
    words: str


@dataclass(frozen=True, slots=True)
class MadeMachine:
    """A machine that a provisioner made: the name that we gave it, the upgrade whose id it bears,
    and what its provisioner said: a host name or an IP address, its host keys (empty when they
    were not told), and what the provisioner itself calls it."""

    name: str
    upgrade: str
    address: str
    host_keys: tuple[str, ...] = ()
    id: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain data, for the journal and for the provisioner."""
        return {
            "name": self.name,
            "upgrade": self.upgrade,
            "address": self.address,
            "host_key": list(self.host_keys),
            "id": self.id,
        }


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy of a tree did: entries copied, entries removed, bytes written; and by which way
    many bytes went, in words, where there was a choice."""

    copied: int
    removed: int
    bytes: int
    way: str = ""


@dataclass(frozen=True, slots=True)
class TrafficTraits:
    """What a kind of gate can do.  counts_late: it counts who still comes to the old address;
    passes_reads: it can let safe requests pass while the others are held."""

    hold: bool
    exact_drain: bool
    settles_in: float
    counts_late: bool = False
    passes_reads: bool = False


@dataclass(frozen=True, slots=True)
class Late:
    """Who came to the gate after the names led elsewhere: the name that was asked for, the client's
    address, how often, and when first and last (wall clock)."""

    OTHER: ClassVar[str] = "another name"
    """Stands for all names that are nobody's: machines that try every address ask for those."""

    name: str
    address: str
    count: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class TrafficState:
    """How the gate stands.

    side is where traffic goes (or would go when released).  The counters are requests since the
    gate's state was made: total, answered by the gate itself with 5xx (failed), dispatched to the
    old side after the last drain (served_after_drain), and per side the unsafe-method requests
    that were answered with 2xx or 3xx since the last switch (writes_since_switch).  late are those
    who came since late_since (wall clock; 0: nobody counts them), the last first.  passing are
    reads in flight that a hold lets pass (in_flight does not count them).  before_switch and
    since_switch are what was measured of the side before the last switch and of the one since, None
    where nobody did.  metrics is the address where the counters are handed out.  ports are those
    whose connections are passed on as they are.  names are those that requests asked for most.
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
    passing: int = 0
    before_switch: Measured | None = None
    since_switch: Measured | None = None
    metrics: str | None = None
    ports: tuple[PortState, ...] = ()
    late: tuple[Late, ...] = ()
    late_since: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one setting of a configuration file, fit to be shown: secrets are masked.

    file is its path on the old side; setting its names from the outside in, none for what is about
    the whole file.  verdict and choices are words of ``crossfade.merge``; it is a question
    while there are choices and no ``answer``.  proposed is the choice that is offered first.
    old_default, yours and new_default are empty where a text does not have the setting.  gone: it
    is in use, and the new version knows it no longer.  binding is what an answer holds for: it
    changes with each of the three values.  given is the fingerprint of the value that was answered.
    """

    file: str
    setting: tuple[str, ...]
    verdict: str
    why: str
    old_default: str = ""
    yours: str = ""
    new_default: str = ""
    line: int = 0
    moved_to: str = ""
    choices: tuple[str, ...] = ()
    proposed: str = ""
    gone: bool = False
    binding: str = ""
    answer: str = ""
    given: str = ""

    @property
    def decided(self) -> bool:
        """Whether somebody decided, where there was a question."""
        return bool(self.choices and self.answer)

    @property
    def open(self) -> bool:
        """Whether somebody still has to decide."""
        return bool(self.choices) and not self.answer

    def as_json(self) -> dict[str, object]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"open": self.open}


@dataclass(frozen=True, slots=True)
class Muted:
    """A setting that a rehearsal has otherwise, so that an effect on the outside is silent.

    file is its name in the recipe (or "environment"), key its names with dots between them; without
    one the whole file is not there.  taken_out: the setting is not there; else it has a value of
    the recipe's."""

    effect: str
    file: str
    key: str
    taken_out: bool

    @property
    def words(self) -> str:
        """What is done, without any value."""
        place = f"{self.file} {self.key}" if self.key else self.file
        return f"{self.effect}: {place} {'taken out' if self.taken_out else 'set'}"

    def as_json(self) -> dict[str, object]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Rendering:
    """Configuration for the new side: bytes by relative path (mode beside), and what was shown.

    difference is a unified diff with secrets masked; findings are the proof of each file.
    settings are what was decided about files that are merged into the new version's; merged are
    those of ``files``.  All others, and one with an open question, are the old side's, whole.
    originals are the old side's files as they were read, by their path there.  mutes are the
    settings that a rehearsal has otherwise; the cutover's rendering has none.  variables are those
    of its service that it has for that.
    """

    files: Mapping[str, tuple[bytes, int]]
    difference: str
    findings: tuple[Finding, ...]
    sources: Mapping[str, str]
    settings: tuple[Judgement, ...] = ()
    merged: frozenset[str] = frozenset()
    originals: Mapping[str, bytes] = field(default_factory=dict)
    mutes: tuple[Muted, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def questions(self) -> tuple[Judgement, ...]:
        """The settings that somebody still has to decide about."""
        return tuple(setting for setting in self.settings if setting.open)


@dataclass(frozen=True, slots=True)
class Heed:
    """When the watch after the switch finds the new side too bad to stay on.

    error_rate is by how much more of the requests may go wrong than before (0 to 1), and
    client_error_rate by how much more may be answered with 4xx; latency how many times as long 95 %
    of the answers may take, None: this is not looked at.  least is how many requests must have been
    seen on both sides, before which nothing is said; go_back whether the run then goes back by
    itself."""

    error_rate: float = 0.05
    client_error_rate: float = 0.25
    latency: float | None = None
    least: int = 50
    go_back: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator accepts, in seconds: the longest pause, how long to watch after the switch,
    the lease that keeps a pause alive, and how long each side may take to start and to stop.

    reads says that safe requests go on to the old side during the pause; heed is what the watch
    goes by.
    """

    max_pause: float
    watch: float
    lease: float
    start: float
    stop: float
    reads: bool = False
    heed: Heed = Heed()
