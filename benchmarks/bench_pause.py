"""The pause of Crossfade beside that of the manual method, on the same Synapse, in one run.

``python -m benchmarks pause``.  Installs Synapse 1.100.0 and 1.163.2, fills the old one as the demo
does, and then pauses it both ways in turns, each time from fresh copies of the same data: as
filled (1x), and grown inside the database (20x).  Prints the ratios, and what the time inside
Crossfade's pause was spent on.  What each number means stands in ``benchmarks/README.md``.

All of it takes about 8 minutes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._manual import Pause, manual
from benchmarks._synapse import Client, Filled, run

from crossfade.account import account
from crossfade.model import Side

ROUNDS = 3
ROOMS, MEDIA = 25, 20
"""How often rooms (with their events) and media are multiplied for 20x.  The file of an empty
Synapse is 1.8 MB of tables without rows, so 25 times the rows make a file 20 times as big."""

NEEDS_THE_PAUSE = {
    "drain": "no request may be in flight when the old side stops",
    "stop": "the old side's own shutdown",
    "fence": "proves that nobody writes to the old side",
    "copy main": "the database as it was at the last write",
    "compare main": "that copy is the old side's database, byte for byte",
    "place main": "the copy becomes the new side's database",
    "files media": "what changed since the copy before the pause; both trees' digests",
    "start": "the new side opens and migrates that last copy",
    "checks": "the new side answers right, on that data",
    "commit": "the commit point",
    "switch": "the gate goes to the new side and lets requests go",
}
"""Every part that may run inside the pause, and why it cannot run before."""


def crossfade(filled: Filled) -> tuple[Pause, dict[str, float]]:
    """Rehearse and cut over; the pause from the report, and the parts that ran before it."""
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
    pause = data["pause"]
    assert pause is not None
    assert data["outcome"] == "done"
    before, inside = _parts(data["runs"][-1]["steps"], pause["began"], pause["ended"])
    return Pause(pause["seconds"], inside, client.longest, client.failed), before


def _parts(steps: Any, began: float, ended: float) -> tuple[dict[str, float], dict[str, float]]:
    """The journal's parts before the pause (with their step), and those that ran inside it."""
    before, inside = {}, {}
    for step in steps:
        for part in step["parts"]:
            starts = part["began"]
            if starts + part["seconds"] <= began:
                before[f"{step['name']}: {part['name']}"] = part["seconds"]
            elif starts < ended:
                inside[part["name"]] = part["seconds"]
    return before, inside


@dataclass(frozen=True)
class Result:
    """The median pause of each way in seconds, and the median of the rounds' ratios: on a machine
    that others use too, only what was measured side by side compares."""

    ours: float
    theirs: float
    ratio: float
    gaps: float


def side_by_side(filled: Filled, name: str) -> Result:
    """Both ways in turns.  Prints what was seen."""
    size, files, media = filled.sizes()
    print(f"{name}: database {size / 1e6:.1f} MB, {files} media files ({media / 1e6:.1f} MB)")
    theirs: list[Pause] = []
    ours: list[Pause] = []
    before: dict[str, float] = {}
    for turn in range(ROUNDS):
        for way in ("manual", "crossfade") if turn % 2 else ("crossfade", "manual"):
            try:
                filled.reset()
                if way == "manual":
                    theirs.append(manual(filled))
                else:
                    pause, before = crossfade(filled)
                    ours.append(pause)
            finally:
                filled.stop()
            print(_round(name, way, (theirs if way == "manual" else ours)[-1]), flush=True)
    _spent(name, "manual", theirs)
    _spent(name, "crossfade", ours)
    _proof(name, ours, before)
    pairs = list(zip(ours, theirs, strict=True))
    return Result(
        statistics.median(pause.seconds for pause in ours),
        statistics.median(pause.seconds for pause in theirs),
        statistics.median(our.seconds / their.seconds for our, their in pairs),
        statistics.median(our.gap / their.gap for our, their in pairs),
    )


def _round(name: str, way: str, pause: Pause) -> str:
    load = os.getloadavg()[0]
    return (
        f"  {name} {way}: pause {pause.seconds:.2f} s; the client's longest gap {pause.gap:.2f} s, "
        f"{pause.failed} failed writes (load {load:.1f})"
    )


def _spent(name: str, way: str, pauses: list[Pause]) -> None:
    names = list(pauses[0].parts)
    medians = {n: statistics.median(p.parts.get(n, 0.0) for p in pauses) for n in names}
    listed = ", ".join(f"{n} {seconds:.3f}" for n, seconds in medians.items())
    print(f"{name} {way}, seconds inside the pause (medians): {listed}")


def _proof(name: str, pauses: list[Pause], before: dict[str, float]) -> None:
    """Everything inside the pause has to be there; everything else ran before it began."""
    inside = {part for pause in pauses for part in pause.parts}
    if foreign := inside - NEEDS_THE_PAUSE.keys():
        raise SystemExit(f"ran inside the pause without need: {', '.join(sorted(foreign))}")
    between = statistics.median(p.seconds - sum(p.parts.values()) for p in pauses)
    listed = ", ".join(f"{n} {seconds:.3f}" for n, seconds in before.items())
    print(f"{name} crossfade, between those parts (journal, gate, lease): {between:.3f} s")
    print(f"{name} crossfade, done before the pause began: {listed}")


def main() -> None:
    """Run all of it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled modules are kept, as for anybody
    with tempfile.TemporaryDirectory(prefix="crossfade-bench-") as directory:
        filled = Filled(Path(directory))
        filled.build()
        _warm(filled)
        one = side_by_side(filled, "1x")
        print(f"  cloning rooms {ROOMS} times and media {MEDIA} times", flush=True)
        filled.grow(rooms=ROOMS, media=MEDIA)
        twenty = side_by_side(filled, "20x")
    for name, result in (("1x", one), ("20x", twenty)):
        print(
            f"pause, Crossfade / manual, {name} data: {result.ratio:.2f} "
            f"({result.ours:.2f} s and {result.theirs:.2f} s); "
            f"a client's longest gap: {result.gaps:.2f}"
        )
    print(f"pause, Crossfade 20x / 1x: {twenty.ours / one.ours:.2f}")
    print(f"pause, manual 20x / 1x: {twenty.theirs / one.theirs:.2f}")


def _warm(filled: Filled) -> None:
    """One manual pause that is not counted: the new version compiles its modules at its first
    start, which anybody who tried it beforehand has behind them."""
    try:
        filled.reset()
        manual(filled)
    finally:
        filled.stop()


if __name__ == "__main__":
    main()
