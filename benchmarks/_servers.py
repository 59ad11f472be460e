"""What the benchmarks of databases on servers share: sizes, a clock, and pairs of servers.

Sizes come from the environment, so that all of it can be tried small; and the filled servers can
be kept in a directory for the next time:

    BENCH_POSTGRES_GB=0.02 BENCH_MARIADB_GB=0.02 BENCH_ROUNDS=1 BENCH_DIRECTORY=/tmp/filled \
      python -m benchmarks copy

``BENCH_NEW_DIRECTORY`` puts the new PostgreSQL server elsewhere, on another disk.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from crossfade.drivers import procfs
from crossfade.model import Endpoint, Finding
from crossfade.ports import Carrier, Progress
from crossfade.testing.servers import MariadbServer, PostgresServer

__all__ = [
    "TAG",
    "On",
    "Pair",
    "busy",
    "gigabytes",
    "hold",
    "median",
    "programs",
    "rounds",
    "wanted",
]

TAG = "crossfade_0be0c40000"
DATABASE = "app"
Server = PostgresServer | MariadbServer
Way = Callable[[], Mapping[str, float]]
"""A way to copy: it ends when the copy stands, and says how long its parts took."""


def gigabytes(kind: str) -> float:
    """How large the database is: ``BENCH_POSTGRES_GB`` (2) and ``BENCH_MARIADB_GB`` (1)."""
    return float(os.environ.get(f"BENCH_{kind.upper()}_GB", {"postgres": 2, "mariadb": 1}[kind]))


def rounds(usual: int) -> int:
    """How often each is measured: ``BENCH_ROUNDS``."""
    return int(os.environ.get("BENCH_ROUNDS", usual))


def wanted(part: str) -> bool:
    """Whether a part was asked for: ``BENCH_ONLY`` names some, separated by commas."""
    only = os.environ.get("BENCH_ONLY", "")
    return not only or part in only.split(",")


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def busy() -> float:
    """The share of the processors that others use while we do nothing (0 to 1).

    Waits up to ``BENCH_PATIENCE`` (0) seconds until it is less than a fifth."""
    deadline = time.monotonic() + float(os.environ.get("BENCH_PATIENCE", 0))
    while True:
        share = _busy(1.0)
        if share < 0.2 or time.monotonic() > deadline:
            return share


def _busy(seconds: float) -> float:
    def ticks() -> tuple[int, int]:
        numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    whole, idle = ticks()
    time.sleep(seconds)
    then, unused = ticks()
    return 1.0 - (unused - idle) / max(1, then - whole)


@dataclass
class Processor:
    """Seconds of processor time: of both servers, and of everything that we run."""

    pair: Pair
    old: float = 0.0
    new: float = 0.0
    ours: float = 0.0

    def __enter__(self) -> Processor:
        time.sleep(0.5)  # what ended just now is counted with its server only then
        self._before = self._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        time.sleep(0.5)
        self.old, self.new, self.ours = (
            then - before for before, then in zip(self._before, self._now(), strict=True)
        )

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.old + self.new + self.ours

    def __str__(self) -> str:
        return f"processor {self.seconds:.1f} s: old {self.old:.1f}, new {self.new:.1f}"

    def _now(self) -> tuple[float, float, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = children.ru_utime + children.ru_stime + time.process_time()
        return _of(self.pair.old), _of(self.pair.new), ours


def _of(server: Server) -> float:
    """Seconds of a server's process, its living children, and those that have ended."""
    pids = procfs.descendants([server.pid or 0])
    own = [_times(pid) for pid in pids]
    return sum(own) / os.sysconf("SC_CLK_TCK")


def _times(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(word) for word in words[11:15])


def hold(findings: Sequence[Finding]) -> None:
    """Raises SystemExit when one of them does not hold, or when there is none."""
    broken = [f"{finding.claim}: {finding.observed}" for finding in findings if not finding.holds]
    if broken or not findings:
        raise SystemExit("\n".join(["does not hold:", *broken]))


def programs(*commands: Sequence[object], env: Mapping[str, str], log: Path) -> None:
    """Run commands, each one's output piped into the next.  Raises SystemExit."""
    running: list[subprocess.Popen[bytes]] = []
    with log.open("wb") as said:
        for number, command in enumerate(commands):
            last = number == len(commands) - 1
            running.append(
                subprocess.Popen(
                    [str(word) for word in command],
                    env={**os.environ, **env},
                    stdin=running[-1].stdout if running else subprocess.DEVNULL,
                    stdout=said if last else subprocess.PIPE,
                    stderr=said,
                )
            )
        for process in running[:-1]:
            assert process.stdout is not None
            process.stdout.close()  # so that it notices when the next one ends
        ended = [process.wait() for process in running]
    if any(ended):
        words = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{Path(str(commands[0][0])).name} ended with {ended}:\n{words}")


class On:
    """What a step gives to a carrier: it keeps when each part began, and how long it took."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.spans: dict[str, tuple[float, float]] = {}

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a part; the database's name is left out of the part's."""
        part = name.removesuffix(f" {DATABASE}")
        began = time.time()
        try:
            yield
        finally:
            self.spans[part] = began, time.time()
            self.parts[part] = self.parts.get(part, 0.0) + self.spans[part][1] - began

    def tell(self, text: str) -> None:
        """Print it."""
        print(f"  {text}", flush=True)

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Nobody looks."""
        del what
        yield lambda done, total: None


class Pair(ABC):
    """An old and a new server that wait for the disk as real ones do, equal in every setting."""

    kind: ClassVar[str]
    old: Server
    new: Server

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "said.log"
        self._attempts = 0

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Any]:
        """The pair, as long as the context lasts."""
        with contextlib.ExitStack() as stack:
            kept = os.environ.get("BENCH_DIRECTORY", "")
            if not kept:
                scratch = tempfile.TemporaryDirectory(prefix="crossfade-bench-")
                kept = stack.enter_context(scratch)
            place = Path(kept) / cls.kind
            place.mkdir(parents=True, exist_ok=True)
            place.parent.chmod(0o755)  # the servers run as accounts of their own
            pair = cls(place)
            stack.callback(shutil.rmtree, place / "attempts", ignore_errors=True)
            with pair.old, pair.new:
                yield pair

    def filled(self, gb: float) -> Endpoint:
        """A database on the old server of about ``gb`` gigabytes with its indexes."""
        database = f"app{gb:g}".replace(".", "_")
        if not self.old.secret_of("app").exists():
            self.new.create("unused", user="app")
            self.old.create("unused", user="app")
        marker = self.directory / f"{database}.filled"
        if not marker.exists():
            began = time.monotonic()
            self.fill(self.old.create(database, user="app"), gb)
            marker.touch()
            took, size = time.monotonic() - began, self.size(database)
            print(f"{self.kind}: {size / 1e9:.3f} GB filled in {took:.0f} s", flush=True)
        return self.old.endpoint(database, user="app")

    @abstractmethod
    def fill(self, where: Endpoint, gb: float) -> None:
        """Fill an empty database of the old server."""

    @abstractmethod
    def carrier(self, old: Endpoint, new: Endpoint, directory: Path) -> tuple[Any, Any, Carrier]:
        """Ours: both databases as ``ports.Database``, and what carries the one to the other."""

    @abstractmethod
    def ways(self, database: str) -> dict[str, Way]:
        """The others' ways to copy a database into the empty one of its name on the new server."""

    @abstractmethod
    def by_hand(self, old: Endpoint, new: Endpoint) -> float:
        """The manual way: dump to a file, then restore; the seconds that it took."""

    @abstractmethod
    def size(self, database: str) -> int:
        """Bytes of the old database, with its indexes."""

    @abstractmethod
    def counts(self, server: Server, database: str) -> dict[str, int]:
        """Rows of every table, and how many indexes and foreign keys there are."""

    @abstractmethod
    def settle(self) -> None:
        """Nothing of what was done before is still to be written to the disk."""

    @abstractmethod
    def tidy(self, database: str) -> None:
        """Clear away what a writer left in the old database."""

    @abstractmethod
    def make_empty(self, database: str) -> None:
        """Make a new database, for those who do not make it themselves."""

    @abstractmethod
    def drop(self, database: str) -> None:
        """Drop a database of the new server, whoever made it."""

    def place(self, database: str) -> Endpoint:
        """Where the copy of a database will be; it does not exist yet."""
        return self.new.endpoint(database, user="app")

    def attempt(self) -> Path:
        """A new directory, as an attempt has one of its own."""
        self._attempts += 1
        path = self.directory / "attempts" / str(self._attempts)
        path.mkdir(parents=True)
        return path

    def same(self, database: str) -> None:
        """Raises SystemExit unless both sides have the same tables with as many rows."""
        old, new = self.counts(self.old, database), self.counts(self.new, database)
        wrong = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if wrong:
            seen = ", ".join(f"{name} {old.get(name)} -> {new.get(name)}" for name in wrong[:5])
            raise SystemExit(f"the copy differs: {seen}")
