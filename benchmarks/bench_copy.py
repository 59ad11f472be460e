"""A whole copy of a database on a server, beside the usual tools: ``python -m benchmarks copy``.

PostgreSQL 2 GB and MariaDB 1 GB, each between two servers of its own that are equal and wait for
the disk.  All ways take turns, five rounds, in alternating order.  Ours is proven (digests of both
sides) and followed; the others' results are only counted here, after the clock has stopped.

``BENCH_ONLY=postgres`` or ``mariadb`` measures one of them; see ``_servers.py`` for the sizes.
All of it takes about 30 minutes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks._mariadb import MariadbPair
from benchmarks._postgres import PostgresPair
from benchmarks._servers import (
    On,
    Pair,
    Processor,
    busy,
    gigabytes,
    hold,
    median,
    rounds,
    wanted,
)

from crossfade.model import Endpoint

ROUNDS = 5
OURS = "Crossfade, proven equal"
WHOLE = "Crossfade, until it follows"
COPYING = ("feed", "schema", "tables", "copy", "indexes", "definitions", "digest")
"""The parts after which the copy stands and is proven."""


@dataclass(frozen=True)
class Copied:
    """One copy: seconds until it stands, seconds of processor time, and seconds by part."""

    seconds: float
    processor: float
    parts: Mapping[str, float]


def ours(pair: Pair, old: Endpoint, new: Endpoint) -> dict[str, Copied]:
    """Copy, prove, analyze, follow; then let go.  Until it is proven, and all of it."""
    _, _, carrier = pair.carrier(old, new, pair.attempt())
    on = On()
    with Processor(pair) as processor:
        began = time.monotonic()
        findings = carrier.back_up(on) + carrier.restore(on)
        whole = time.monotonic() - began
    hold(findings)
    pair.same(old.database)
    carrier.let_go()
    after = sum(took for part, took in on.parts.items() if part not in COPYING)
    print(f"    {processor}, programs {processor.ours:.1f}")
    return {
        OURS: Copied(whole - after, processor.seconds, on.parts),
        WHOLE: Copied(whole, processor.seconds, {}),
    }


def theirs(pair: Pair, database: str, name: str) -> dict[str, Copied]:
    """One of the others' ways."""
    with Processor(pair) as processor:
        began = time.monotonic()
        parts = pair.ways(database)[name]()
        seconds = time.monotonic() - began
    pair.same(database)
    print(f"    {processor}, programs {processor.ours:.1f}")
    return {name: Copied(seconds, processor.seconds, parts)}


def one_round(pair: Pair, old: Endpoint, turn: int) -> dict[str, Copied]:
    """Every way once."""
    copied: dict[str, Copied] = {}
    database = old.database
    names = [OURS, *pair.ways(database)]
    for name in reversed(names) if turn % 2 else names:
        if name != OURS:
            pair.make_empty(database)
        pair.settle()
        others = busy()
        if name == OURS:
            done = ours(pair, old, pair.place(database))
        else:
            done = theirs(pair, database, name)
        copied |= done
        listed = ", ".join(f"{part} {took:.2f}" for part, took in done[name].parts.items())
        print(
            f"  {pair.kind} round {turn + 1}: {name}: {done[name].seconds:.2f} s "
            f"({listed or 'whole'}); others use {others:.0%}, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        pair.drop(database)
    return {name: copied[name] for name in (OURS, WHOLE, *pair.ways(database))}


def table(kind: str, size: int, seen: list[dict[str, Copied]]) -> str:
    """All ways in Markdown: medians, and the medians of the rounds' ratios to ours."""
    lines = [
        f"Copy of {size / 1e9:.2f} GB {kind}, medians of {len(seen)} rounds",
        "",
        "| way | s | MB/s | its time / ours | processor, s | proven equal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in seen[0]:
        took = median([one[name].seconds for one in seen])
        ratio = median([one[name].seconds / one[OURS].seconds for one in seen])
        used = median([one[name].processor for one in seen])
        proven = "every row" if name in (OURS, WHOLE) else "no"
        lines.append(
            f"| {name} | {took:.1f} | {size / took / 1e6:.0f} | {ratio:.2f} | {used:.1f} "
            f"| {proven} |"
        )
    others = [name for name in seen[0] if name not in (OURS, WHOLE)]
    for name in (OURS, WHOLE):
        best = [min(one[n].seconds for n in others) / one[name].seconds for one in seen]
        lines += ["", f"best of the others / {name}: {median(best):.2f} (goal {GOALS[kind]})"]
    return "\n".join(lines)


GOALS = {"postgres": "at least 1, better 1.3", "mariadb": "at least 0.95"}


def measured(pair: Pair) -> None:
    """Fill, take turns, print."""
    old = pair.filled(gigabytes(pair.kind))
    size = pair.size(old.database)
    pair.drop(old.database)  # what a run that was broken off has left
    seen = [one_round(pair, old, turn) for turn in range(rounds(ROUNDS))]
    print(f"\n{table(pair.kind, size, seen)}\n")
    for name in seen[0]:
        parts = [one[name].parts for one in seen]
        listed = {part: median([one.get(part, 0.0) for one in parts]) for part in parts[0]}
        if listed:
            words = ", ".join(f"{part} {took:.2f}" for part, took in listed.items())
            print(f"{name}, parts in s (medians): {words}", flush=True)


def main() -> None:
    """Run all of it, or what ``BENCH_ONLY`` names."""
    for kind, pairs in (("postgres", PostgresPair), ("mariadb", MariadbPair)):
        if wanted(kind):
            with pairs.running() as pair:
                measured(pair)


if __name__ == "__main__":
    main()
