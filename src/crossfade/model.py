"""The nouns: frozen values that plans, steps, the journal and the report share.

Every value turns into plain JSON (``as_json``) so that the journal outlives the program that
wrote it.  Secrets are never part of them: at most the name of where a secret is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from urllib.parse import quote

__all__ = [
    "Address",
    "Digest",
    "Endpoint",
    "Evidence",
    "Finding",
    "Installation",
    "Part",
    "Plan",
    "PlannedStep",
    "Problem",
    "Reversal",
    "Run",
    "Side",
]


class Side(StrEnum):
    """One of the two installations of an upgrade."""

    OLD = "old"
    NEW = "new"

    @property
    def other(self) -> Side:
        """The side opposite to this one."""
        return Side.NEW if self is Side.OLD else Side.OLD


class Run(StrEnum):
    """What the steps are run for."""

    REHEARSAL = "rehearsal"
    CUTOVER = "cutover"
    ROLLBACK = "rollback"
    RETIRE = "retire"


class Reversal(IntEnum):
    """What going back costs once a step was begun.  Higher is dearer."""

    FREE = 0
    RESTART = 1
    LOSES_WRITES = 2
    IMPOSSIBLE = 3

    @property
    def words(self) -> str:
        """The price in words for people."""
        return ("free", "a restart", "the writes made since", "impossible")[self]


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address.  ``host`` is a name or an IP address, ``port`` 1 to 65535."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``; an IPv6 host stands in brackets.  Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise ValueError(f"not host:port: {text!r}")
        if not 1 <= int(port) <= 65535:
            raise ValueError(f"port out of range: {text!r}")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A database on a server: where it is, and as whom the application and Crossfade log in.

    kind is the driver (postgres, mysql); database its name on the server.  user and password are
    the application's; admin and admin_password are ours (rights to copy, replicate and fence).
    Passwords are secret references (env:, file: relative to ``base``) or empty, never values.
    passfile is where the application finds its password, in the form of the kind's own clients
    (pgpass, option file).  reached_at is how the other side's server reaches this one, where that
    differs.  bookkeeping names tables in which the application notes its own schema's version:
    they belong to one version and are never brought back.  strategy is the operator's wish: dump,
    or empty for the best that is possible.  host_lists says that the application takes lists of
    hosts and ports in place of each, as libpq 14 does; beyond is the second one of such a list.
    """

    kind: str
    address: Address
    database: str
    user: str
    password: str
    admin: str
    admin_password: str
    base: Path
    reached_at: Address | None = None
    passfile: Path = Path()
    bookkeeping: tuple[str, ...] = ()
    strategy: str = ""
    host_lists: bool = False
    beyond: Address | None = None

    def variables(self) -> dict[str, str]:
        """What follows the database's name and a dot in a recipe's placeholders."""
        hosts = [self.address, *([self.beyond] if self.beyond else [])]
        each = ",".join(map(str, hosts))
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        place = f"{user}@{each}/{database}"
        alchemy = f"{place}?"
        if self.beyond:  # SQLAlchemy takes a list of hosts in its own way
            alchemy = f"{user}@/{database}?" + "".join(f"host={host}&" for host in hosts)
        scheme, library, option = {
            "postgres": ("postgresql", "psycopg2", f"passfile={quote(str(self.passfile))}"),
            "mysql": ("mysql", "pymysql", f"read_default_file={quote(str(self.passfile))}"),
        }.get(self.kind, (self.kind, self.kind, ""))
        return {
            "host": ",".join(host.host for host in hosts),
            "port": ",".join(str(host.port) for host in hosts),
            "address": each,
            "database": self.database,
            "user": self.user,
            "url": f"{scheme}://{place}",
            "sqlalchemy": f"{scheme}+{library}://{alchemy}{option}",
            "passfile": str(self.passfile),
        }

    def __str__(self) -> str:
        return f"{self.kind}://{self.user}@{self.address}/{self.database}"


@dataclass(frozen=True, slots=True)
class Installation:
    """One version of the application on one host.

    root is where the program stands (a virtual environment, say), config where its configuration
    files are, data where its databases and uploads are; all absolute.  config and data may be the
    same directory.  databases are those on servers, by name.  address is where it answers us and
    its clients; listens where the program itself listens, when that is another one (a container).
    """

    application: str
    version: str
    side: Side
    host: str
    root: Path
    config: Path
    data: Path
    address: Address
    databases: Mapping[str, Endpoint] = field(default_factory=dict)
    listens: Address | None = None

    @property
    def inside(self) -> Address:
        """Where the program listens, as its configuration says."""
        return self.listens or self.address

    def variables(self, *, outside: bool = False) -> dict[str, str]:
        """What ``{name}`` stands for in a recipe's commands and paths on this installation.

        A database on a server is ``{<its name>.url}`` and so on.  host, port and address are those
        that the program listens at, or from outside those that it is asked at."""
        at = self.address if outside else self.inside
        of_databases = {
            f"{name}.{key}": value
            for name, endpoint in self.databases.items()
            for key, value in endpoint.variables().items()
        }
        return of_databases | {
            "version": self.version,
            "root": str(self.root),
            "config": str(self.config),
            "data": str(self.data),
            "host": at.host,
            "port": str(at.port),
            "address": str(at),
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim and what was seen of it.  ``source`` says how it was observed."""

    claim: str
    expected: str
    observed: str
    source: str
    holds: bool

    @classmethod
    def equal(cls, claim: str, expected: object, observed: object, source: str) -> Finding:
        """A finding that holds when what was observed is what was expected."""
        return cls(claim, str(expected), str(observed), source, expected == observed)

    @classmethod
    def same(
        cls,
        what: str,
        expected: Digest,
        observed: Digest,
        source: str = "rows and checksum of every part, on both sides",
    ) -> Finding:
        """A finding that holds when both digests are equal; it names what differs."""
        differing = expected.differences(observed)
        seen = str(observed)
        if differing:
            seen += f"; differs in {', '.join(differing[:5])}"
        claim = f"{what} is equal on both sides"
        return cls(claim, str(expected), seen, source, not differing)

    def as_json(self) -> dict[str, object]:
        """Plain data for the journal and the report."""
        return {
            "claim": self.claim,
            "expected": self.expected,
            "observed": self.observed,
            "source": self.source,
            "holds": self.holds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Finding:
        """Read what ``as_json`` wrote."""
        return cls(
            str(data["claim"]),
            str(data["expected"]),
            str(data["observed"]),
            str(data["source"]),
            bool(data["holds"]),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a step counts as done.  Evidence without findings does not hold.

    details is anything else worth showing (plain JSON, no secrets).  watched are findings that come
    too late for the step to fail by them; they are shown with the others, and heeded elsewhere."""

    step: str
    findings: tuple[Finding, ...]
    details: Mapping[str, object] = field(default_factory=dict)
    watched: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        """True when there are findings and all of them hold."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """Plain data for the journal and the report."""
        findings = [finding.as_json() for finding in (*self.findings, *self.watched)]
        return {"step": self.step, "findings": findings, "details": dict(self.details)}


@dataclass(frozen=True, slots=True)
class Part:
    """One table or one tree entry of a digest: how many rows, and their checksum (hex)."""

    count: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Digest:
    """Rows and checksum of every table of a database, or of every entry of a tree."""

    parts: Mapping[str, Part]

    @property
    def count(self) -> int:
        """Rows (or entries) in all parts together."""
        return sum(part.count for part in self.parts.values())

    @property
    def checksum(self) -> str:
        """One checksum over all parts and their names (hex)."""
        from hashlib import blake2b

        whole = blake2b(digest_size=16)
        for name in sorted(self.parts):
            part = self.parts[name]
            line = f"{name}\0{part.count}\0{part.checksum}\0"
            whole.update(line.encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def differences(self, other: Digest) -> tuple[str, ...]:
        """Names of the parts that differ, sorted; empty when both are equal."""
        names = self.parts.keys() | other.parts.keys()
        return tuple(sorted(n for n in names if self.parts.get(n) != other.parts.get(n)))

    def __str__(self) -> str:
        return f"{len(self.parts)} parts, {self.count} rows, {self.checksum}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that makes a run refuse before it changes anything."""

    code: str
    finding: Finding
    next: str


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What one step will do, in sentences, and what going back costs once it was begun.

    touches are changes on the old side; pause says whether the step runs inside the pause; needs
    is the disk space in bytes that it takes, by place, on the machine that runs us, needs_there on
    the new side's, needs_kept on the one that has the backups; seconds is the predicted duration,
    if something was measured; problems make the run refuse, warnings do not.  mutes are settings
    that only a rehearsal has, so that nothing goes out.
    """

    name: str
    actions: tuple[str, ...]
    reversal: Reversal
    touches: tuple[str, ...] = ()
    pause: bool = False
    seconds: float | None = None
    needs: Mapping[Path, int] = field(default_factory=dict)
    needs_there: Mapping[Path, int] = field(default_factory=dict)
    needs_kept: Mapping[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    mutes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Plain data for the journal, ``--json`` and the report."""
        return {
            "name": self.name,
            "actions": list(self.actions),
            "mutes": list(self.mutes),
            "reversal": self.reversal.name.lower(),
            "touches": list(self.touches),
            "pause": self.pause,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upgrade will do.  The fingerprint covers ``world``: all that must stay as planned.

    world is a flat mapping of facts (versions, digests of configuration, addresses, paths) so that
    a later run can say which of them changed.  disk has, for each file system, the bytes needed
    and free.  warnings never block; problems do.
    """

    old: Installation
    new: Installation
    steps: tuple[PlannedStep, ...]
    world: Mapping[str, str]
    disk: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    predicted_pause: float | None = None

    @property
    def fingerprint(self) -> str:
        """16 hex digits over ``world``."""
        import json
        from hashlib import sha256

        text = json.dumps(dict(sorted(self.world.items())), ensure_ascii=False)
        return sha256(text.encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, object]:
        """Plain data for the journal, ``--json`` and the report."""
        return {
            "fingerprint": self.fingerprint,
            "application": self.new.application,
            "old_version": self.old.version,
            "new_version": self.new.version,
            "steps": [step.as_json() for step in self.steps],
            "world": dict(self.world),
            "disk": {name: {"needed": n, "free": f} for name, (n, f) in self.disk.items()},
            "warnings": list(self.warnings),
            "problems": [
                {"code": p.code, **p.finding.as_json(), "next": p.next} for p in self.problems
            ],
            "predicted_pause_seconds": self.predicted_pause,
        }
