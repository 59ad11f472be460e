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

from benchmarks._mariadb import MariadbPair
from benchmarks._postgres import PostgresPair
from benchmarks._servers import DATABASE, On, Pair, busy, gigabytes, hold, median, rounds, wanted

from crossfade.model import Endpoint

ROUNDS = 5
OURS = "Crossfade, proven equal"
WHOLE = "Crossfade, until it follows"
COPYING = ("feed", "schema", "tables", "copy", "indexes", "definitions", "digest")
"""The parts after which the copy stands and is proven."""


def ours(pair: Pair, old: Endpoint, new: Endpoint) -> dict[str, float]:
    """Copy, prove, analyze, follow; then let go.  Its parts, and both sums."""
    _, _, carrier = pair.carrier(old, new, pair.attempt())
    on = On()
    began = time.monotonic()
    findings = carrier.back_up(on) + carrier.restore(on)
    whole = time.monotonic() - began
    hold(findings)
    pair.same(DATABASE)
    carrier.let_go()
    proven = sum(on.parts.get(part, 0.0) for part in COPYING)
    unnamed = whole - sum(on.parts.values())  # sessions, looking: all of it before the proof
    return {OURS: proven + unnamed, WHOLE: whole, **on.parts}


def one_round(
    pair: Pair, old: Endpoint, turn: int, told: dict[str, list[Mapping[str, float]]]
) -> dict[str, float]:
    """Every way once; seconds by way."""
    seconds: dict[str, float] = {}
    names = [OURS, *pair.ways()]
    for name in reversed(names) if turn % 2 else names:
        if name != OURS:
            pair.make_empty()
        pair.settle()
        others = busy()
        began = time.monotonic()
        parts = ours(pair, old, pair.place(DATABASE)) if name == OURS else pair.ways()[name]()
        seconds[name] = parts.get(OURS, time.monotonic() - began)
        if name == OURS:
            seconds[WHOLE] = parts[WHOLE]
        pair.same(DATABASE)
        told.setdefault(name, []).append(parts)
        listed = ", ".join(f"{part} {took:.2f}" for part, took in parts.items() if part != OURS)
        print(
            f"  {pair.kind} round {turn + 1}: {name}: {seconds[name]:.2f} s ({listed or 'whole'}); "
            f"others use {others:.0%}, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        pair.drop(DATABASE)
    return seconds


def table(kind: str, size: int, seen: list[dict[str, float]]) -> str:
    """All ways in Markdown: medians, and the medians of the rounds' ratios to ours."""
    lines = [
        f"Copy of {size / 1e9:.2f} GB {kind}, medians of {len(seen)} rounds",
        "",
        "| way | s | MB/s | its time / ours | checked |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in seen[0]:
        took = median([one[name] for one in seen])
        ratio = median([one[name] / one[OURS] for one in seen])
        checked = "every row, by digests" if name in (OURS, WHOLE) else "no"
        lines.append(f"| {name} | {took:.1f} | {size / took / 1e6:.0f} | {ratio:.2f} | {checked} |")
    best = median(
        [min(v for k, v in one.items() if k not in (OURS, WHOLE)) / one[OURS] for one in seen]
    )
    lines += ["", f"best of the others / ours: {best:.2f} (goal {GOALS[kind]})"]
    return "\n".join(lines)


GOALS = {"postgres": "at least 1, better 1.3", "mariadb": "at least 0.95"}


def measured(pair: Pair) -> None:
    """Fill, take turns, print."""
    began = time.monotonic()
    old = pair.fill(DATABASE, gigabytes(pair.kind))
    size = pair.size(DATABASE)
    print(
        f"{pair.kind}: {size / 1e9:.3f} GB, filled in {time.monotonic() - began:.0f} s", flush=True
    )
    told: dict[str, list[Mapping[str, float]]] = {}
    seen = [one_round(pair, old, turn, told) for turn in range(rounds(ROUNDS))]
    print(f"\n{table(pair.kind, size, seen)}\n")
    for name, parts in told.items():
        listed = {part: median([one.get(part, 0.0) for one in parts]) for part in parts[0]}
        if listed:
            words = ", ".join(f"{part} {took:.2f}" for part, took in listed.items())
            print(f"{name}, parts in s (medians): {words}")


def main() -> None:
    """Run all of it, or what ``BENCH_ONLY`` names."""
    for kind, pairs in (("postgres", PostgresPair), ("mariadb", MariadbPair)):
        if wanted(kind):
            with pairs.running() as pair:
                measured(pair)


if __name__ == "__main__":
    main()
