"""The pause of a Synapse with 1 GB on PostgreSQL, with and without held start, in one run.

``python -m benchmarks held``.  Synapse 1.100.0 on PostgreSQL 15 becomes 1.163.2 on PostgreSQL 17;
its database is the demo's, with every room cloned until it is about ``BENCH_SYNAPSE_GB`` (1) large.
Both ways take turns, ``BENCH_ROUNDS`` (3) each, every round from the same files.  A client writes
about ten times a second.  What the migrations themselves need is what Synapse's own log says: from
its look at the schema until its stores are made.

All of it takes about 20 minutes.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks._servers import busy, median, rounds
from benchmarks._synapse import Client, run
from benchmarks._synapse_on_postgres import FilledOnPostgres

from crossfade.account import account
from crossfade.demo.outcome import parts_of_pause
from crossfade.model import Side

ROOMS_FOR_A_GIGABYTE = 110
GOAL = 1.0
_TIME = r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) - .* - "
_BEGINS = re.compile(_TIME + r".*Checking existing schema version$", re.MULTILINE)
_ENDS = re.compile(_TIME + r".*Starting 'main' database$", re.MULTILINE)


@dataclass(frozen=True)
class Pause:
    """Seconds of a pause, of the migrations inside it and of its parts; the client's longest gap
    between two acknowledged writes, and how many of its writes failed."""

    seconds: float
    migrations: float
    parts: dict[str, float]
    gap: float
    failed: int

    @property
    def more(self) -> float:
        """What the pause needs besides the migrations."""
        return self.seconds - self.migrations


def cut_over(filled: FilledOnPostgres) -> Pause:
    """Rehearse (not measured), then cut over."""
    place = filled.place
    site = place.site()
    site.traffic.ensure({Side.OLD: place.old, Side.NEW: place.new})
    site.journal.close()
    run(place.manifest, "rehearse")
    with Client(place.gate, filled.user) as client:
        run(place.manifest, "cutover", "--yes")
    site = place.site()
    data = account(site)
    site.journal.close()
    strategies = {
        name
        for step in data["runs"][-1]["steps"]
        for name in step["details"].get("strategies", {}).values()
    }
    if data["outcome"] != "done" or strategies != {"stream"}:
        raise SystemExit(f"the cutover ended as {data['outcome']}, by {strategies}")
    log = Path(f"{place.data}-new") / "homeserver.log"
    migrations = _migrations(log.read_text(encoding="utf-8"))
    parts = parts_of_pause(data)
    return Pause(data["pause"]["seconds"], migrations, parts, client.longest, client.failed)


def _migrations(log: str) -> float:
    """Seconds between the two lines, as they were written last."""
    began, ended = (
        datetime.strptime(pattern.findall(log)[-1], "%Y-%m-%d %H:%M:%S,%f")
        for pattern in (_BEGINS, _ENDS)
    )
    return (ended - began).total_seconds()


def main() -> None:
    """Run all of it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled modules are kept, as for anybody
    gb = float(os.environ.get("BENCH_SYNAPSE_GB", 1))
    found: dict[str, list[Pause]] = {"held start": [], "plain start": []}
    with tempfile.TemporaryDirectory(prefix="crossfade-bench-") as directory:
        Path(directory).chmod(0o755)  # the servers run as accounts of their own
        filled = FilledOnPostgres(Path(directory))
        filled.build(rooms=max(1, round(ROOMS_FOR_A_GIGABYTE * gb)))
        print(f"database {filled.size / 1e9:.2f} GB")
        for turn in range(rounds(3)):
            for way in found if turn % 2 else reversed(found):
                try:
                    filled.hold_starts(way == "held start")
                    filled.reset()
                    others = busy()
                    found[way].append(cut_over(filled))
                finally:
                    filled.stop()
                print(_line(way, found[way][-1]), f"(others used {others:.0%})", flush=True)
    for way, pauses in found.items():
        pause, migrations, more = (
            median([getattr(p, name) for p in pauses]) for name in ("seconds", "migrations", "more")
        )
        print(f"{way}: pause {pause:.2f} s = migrations {migrations:.2f} s + {more:.2f} s")
        parts = {name: median([p.parts.get(name, 0.0) for p in pauses]) for name in pauses[0].parts}
        print(f"{way}, parts: {', '.join(f'{n} {s:.3f}' for n, s in parts.items())}")
    held, plain = (median([p.seconds for p in pauses]) for pauses in found.values())
    print(f"pause, held / plain start: {held / plain:.2f}")
    more = median([p.more for p in found["held start"]])
    print(f"held start: {more:.2f} s more than the migrations (goal: at most {GOAL:.1f} s)")


def _line(way: str, pause: Pause) -> str:
    return (
        f"  {way}: pause {pause.seconds:.2f} s, of it migrations {pause.migrations:.2f} s; the "
        f"client's longest gap {pause.gap:.2f} s, {pause.failed} failed writes"
    )


if __name__ == "__main__":
    main()
