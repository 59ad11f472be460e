"""How many configuration files merge by themselves, by three ways: ``python -m benchmarks merge``.

Real templates of two versions, each customised by seeded administrators: ours by settings, a merge
by lines (our own diff3), and copying the old file over the new one.  Everything is compared with
what independent parsers read.  ``ADMINISTRATORS=10`` makes it quicker.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter

from tests.merge.measured import WAYS, Outcome, administrated, measured
from tests.merge.pairs import PAIRS, Pair

ADMINISTRATORS = int(os.environ.get("ADMINISTRATORS", "40"))
GOAL = 0.150  # seconds a file
_HEAD = "| pair | format | diff3: right / asks (needless) / wrong | by settings: right / asks"
_HEAD += " (true conflicts) / wrong, refused | copying loses | ms, most |"


def outcomes(pair: Pair) -> list[Outcome]:
    """All administrators of one pair."""
    return [
        measured(pair, administrated(pair, way, number))
        for way in WAYS
        for number in range(ADMINISTRATORS)
    ]


def counted(found: list[Outcome]) -> Counter[str]:
    """The numbers of one row, or of all."""
    numbers: Counter[str] = Counter()
    for outcome in found:
        by_us = "refused" if outcome.refused else "asks" if outcome.questions else "right"
        numbers["wrong" if outcome.wrong else by_us] += 1
        numbers[f"lines {outcome.by_lines}"] += 1
        numbers["lines needless"] += outcome.by_lines == "asks" and not outcome.conflicts
        numbers["conflicts"] += bool(outcome.conflicts)
        numbers["needless"] += outcome.needless
        numbers["questions"] += outcome.questions
        numbers["settings"] += outcome.customised
        numbers["loses"] += bool(outcome.copying_loses)
    return numbers


def row(name: str, format: str, found: list[Outcome]) -> str:
    """A row of the table."""
    has = counted(found)
    by_lines = f"{has['lines right']} / {has['lines asks']} ({has['lines needless']})"
    by_us = f"{has['right']} / {has['asks']} ({has['conflicts']}) / {has['wrong']}"
    loses = statistics.mean(outcome.copying_loses for outcome in found)
    slowest = max(outcome.seconds for outcome in found) * 1000
    typical = statistics.median(outcome.seconds for outcome in found) * 1000
    return (
        f"| {name} | {format} | {by_lines} / {has['lines wrong']} "
        f"| {by_us}, {has['refused']} | {loses:.0f} | {typical:.0f}, {slowest:.0f} |"
    )


def main() -> None:
    """Run all pairs, and print the table."""
    print(f"{ADMINISTRATORS} administrators a pair by keys, and as many by lines")
    print(f"{_HEAD}\n|{' --- |' * 6}", flush=True)
    everything: list[Outcome] = []
    for pair in PAIRS:
        found = outcomes(pair)
        everything += found
        print(row(pair.name, found[0].format or "none", found), flush=True)
    print(row(f"**all {len(everything)}**", "", everything))
    has = counted(everything)
    free = len(everything) - has["conflicts"]
    by_lines = sum(o.by_lines == "right" and not o.conflicts for o in everything)
    print(
        f"without a true conflict: {free}; finished by settings {free - has['needless']} "
        f"({1 - has['needless'] / free:.1%}), by lines {by_lines} ({by_lines / free:.1%})"
    )
    print(f"{has['settings']} settings customised, {has['questions']} questions")
    print(f"copying loses settings of the new version in {has['loses']} of {len(everything)} files")
    quick = sum(outcome.seconds <= GOAL for outcome in everything)
    print(
        f"{quick / len(everything):.1%} of the files within {GOAL * 1000:.0f} ms of processor time"
    )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
