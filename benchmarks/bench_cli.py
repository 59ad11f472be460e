"""How quick the command line answers, and what the journal costs: ``python -m benchmarks cli``.

- wall time of ``crossfade --help`` (goal: at most 0.2 s) and of ``crossfade status`` on a site that
  was cut over (goal: at most 0.3 s), medians of 10 after one that is not counted, as fractions of
  their goals; beside it processor time, which other programs disturb less;
- the journal's whole overhead in a rehearsal and a cutover of the Notes testbed (goal: below
  0.2 s): all time spent in opening it, appending to it, reading it, and in its lease, measured
  while they run.

All of it takes about 20 s.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tests.testbed.site import Site, site_at

from crossfade import upgrade
from crossfade.engine.journal import SqliteJournal
from crossfade.wiring import WiredSite

TIMES = 10
HELP_GOAL, STATUS_GOAL, JOURNAL_GOAL = 0.2, 0.3, 0.2
PROGRAM = Path(sys.executable).with_name("crossfade")


def taken(*argv: str | Path) -> tuple[float, float]:
    """Seconds from start to end of a command, as medians: wall time, and the processor's."""
    walls, processor = [], []
    for _ in range(TIMES + 1):
        before = _of_children()
        began = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        walls.append(time.perf_counter() - began)
        processor.append(_of_children() - before)
    return statistics.median(walls[1:]), statistics.median(processor[1:])


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Spent:
    """Seconds and calls by name.  What is called inside of what is measured counts once."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.appends: list[float] = []
        self._inside = False

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Measure a block."""
        if self._inside:
            yield
            return
        self._inside, began = True, time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self._inside = False
            self.seconds[name] += took  # type: ignore[assignment]
            self.calls[name] += 1
            if name == "append":
                self.appends.append(took)


def measured(spent: Spent) -> type[SqliteJournal]:
    """A journal that is the real one, with a clock around each of its methods."""

    class Measured(SqliteJournal):
        def __init__(self, path: Path, upgrade: str = "") -> None:
            with spent.on("open"):
                super().__init__(path, upgrade)

        def append(self, run: str, name: str, kind: str, payload: Mapping[str, object]) -> None:
            with spent.on("append"):
                super().append(run, name, kind, payload)

        def entries(
            self, *, run: str | None = None, kind: str | None = None
        ) -> Iterator[Mapping[str, object]]:
            with spent.on("read"):
                found = list(super().entries(run=run, kind=kind))
            return iter(found)

    return Measured


class MeasuredSite(WiredSite):
    """A site with a clock around taking and giving back the lease."""

    spent: Spent

    @contextmanager
    def _timed_lease(self, what: str) -> Iterator[None]:
        held = super().lease(what)
        with self.spent.on("lease"):
            held.__enter__()
        try:
            yield
        finally:
            with self.spent.on("lease"):
                held.__exit__(None, None, None)

    def lease(self, what: str) -> AbstractContextManager[None]:
        """The right to run.  Raises LeaseHeld."""
        return self._timed_lease(what)


def journal_overhead(site: Site) -> Spent:
    """A rehearsal and a cutover, each opening its journal as a command does."""
    spent = Spent()
    for verb in (upgrade.rehearse, upgrade.cut_over):
        plain = site.wired()
        plain.journal.close()
        journal = measured(spent)(plain.journal.path, plain.journal.upgrade)
        wired = MeasuredSite(plain.manifest, journal)
        wired.spent = spent
        verb(wired)
        with spent.on("close"):
            journal.close()
    return spent


def _of(goal: float, name: str, seconds: float) -> str:
    return f"{name}: {seconds / goal:.2f} of its goal ({seconds:.3f} s, goal {goal} s)"


def main() -> None:
    """Run all of it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled modules are kept, as for anybody
    with tempfile.TemporaryDirectory() as directory, site_at(Path(directory) / "site") as site:
        spent = journal_overhead(site)
        asked = {
            "crossfade --help": (HELP_GOAL, *taken(PROGRAM, "--help")),
            "crossfade status": (STATUS_GOAL, *taken(PROGRAM, "status", "-f", site.manifest)),
        }
    for name, (goal, wall, processor) in asked.items():
        print(f"{_of(goal, name, wall)}; processor time {processor:.3f} s")
    wall, processor = taken(sys.executable, "-c", "pass")
    load = os.getloadavg()[0]
    print(f"  Python that does nothing: {wall:.3f} s, processor {processor:.3f} s; load {load:.1f}")
    whole: Any = sum(spent.seconds.values())
    print(_of(JOURNAL_GOAL, "journal, rehearsal and cutover", whole))
    for name, seconds in spent.seconds.items():
        print(f"  {name}: {spent.calls[name]} times, {seconds * 1000:.1f} ms")
    print(f"  append: median {statistics.median(spent.appends) * 1000:.2f} ms")


if __name__ == "__main__":
    main()
