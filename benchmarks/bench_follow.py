"""What remains of the pause when data is followed: ``python -m benchmarks follow``.

For PostgreSQL (0.2 and 2 GB) and MariaDB (0.2 and 1 GB), five runs each, both sizes in turns: the
database is copied and followed while 150 transactions a second are committed; then the fence is
taken in the middle of them, and the pause's data part begins.  Every acknowledged commit is looked
for on the new side.  Once for each size, the manual way's dump and restore stand beside it.

Then pgbench on the old side: as fast as it can, undisturbed, while it is copied, and while it is
followed (``_pgbench.py``).

``BENCH_ONLY`` names some of ``postgres``, ``mariadb`` and ``pgbench``; sizes as in ``_servers.py``
(the small one is a tenth of PostgreSQL's, a fifth of MariaDB's).  All of it takes about 30 minutes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from benchmarks._mariadb import MariadbPair
from benchmarks._pgbench import beside_pgbench
from benchmarks._postgres import PostgresPair
from benchmarks._servers import On, Pair, busy, gigabytes, hold, median, rounds, wanted
from benchmarks._writer import Writer

from crossfade.model import Endpoint

RUNS = 5
FOLLOWED = 5.0  # seconds that the writer goes on after the new side follows
INSIDE = ("fence", "fence proven", "last changes", "proof", "sequences", "detach", "between")
TABLES = {"postgres": "pgbench_accounts", "mariadb": "accounts"}
GOAL, ALIKE = 0.5, 0.2


@dataclass(frozen=True)
class Pause:
    """The pause's data part in seconds, without and with the proof of the fence; its parts; how
    many commits were acknowledged, and how many of them the new side lacks."""

    seconds: float
    with_fence_proven: float
    parts: dict[str, float]
    acknowledged: int
    lost: int


@dataclass(frozen=True)
class Sized:
    """One old database, and how many rows of it a writer may update."""

    gb: float
    where: Endpoint
    size: int
    accounts: int
    documents: int


def fill(pair: Pair, gb: float) -> Sized:
    """An old database of about this many gigabytes."""
    where = pair.filled(gb)
    counts = pair.counts(pair.old, where.database)
    size = pair.size(where.database)
    return Sized(gb, where, size, counts[TABLES[pair.kind]], counts["documents"])


def once(pair: Pair, sized: Sized) -> Pause:
    """Copy, follow, fence, bring the last changes; then all is put back."""
    pair.settle()
    others = busy()
    attempt = pair.attempt()
    old, new, carrier = pair.carrier(sized.where, pair.place(sized.where.database), attempt)
    on, name = On(), sized.where.database
    with Writer(sized.where, attempt / "noted", sized.accounts, sized.documents) as writer:
        started = time.time()
        hold(carrier.back_up(on) + carrier.restore(on))
        followed = time.time()
        time.sleep(FOLLOWED)
        began, load = time.time(), os.getloadavg()[0]
        with on.timed("fence"):
            held = old.fence()
        with on.timed("fence proven"):
            proven = old.prove_fence()
        findings = carrier.bring_last(on, still=True)
        seconds = time.time() - began
        writer.end()
    hold([proven, *findings])
    tokens = writer.acknowledged()
    there = {str(row[0]) for row in pair.new.sql("select token from writes", database=name)}
    lost = len(tokens.keys() - there)
    pair.same(name)
    held.close()
    carrier.let_go()
    new.remove()
    pair.tidy(name)
    inside = {part: on.parts.get(part, 0.0) for part in INSIDE}
    inside["between"] = seconds - sum(inside.values())
    pause = Pause(seconds - inside["fence proven"], seconds, inside, len(tokens), lost)
    print(
        f"  {pair.kind} {sized.gb:g} GB: {pause.seconds * 1000:.0f} ms "
        f"({', '.join(f'{part} {took * 1000:.0f}' for part, took in inside.items())}); "
        f"prepared in {followed - started:.1f} s; "
        f"copied: {writer.seen(started, followed)}; followed: {writer.seen(followed, began)}; "
        f"{lost} of {len(tokens)} lost; others use {others:.0%}, load {load:.1f}",
        flush=True,
    )
    if lost:
        raise SystemExit("acknowledged commits are missing on the new side")
    return pause


def measured(pair: Pair, sizes: tuple[float, float]) -> None:
    """Both sizes in turns; a table."""
    filled = [fill(pair, gb) for gb in sizes]
    for sized in filled:
        print(f"{pair.kind}: {sized.gb:g} GB asked for: {sized.size / 1e9:.3f} GB", flush=True)
    seen: dict[float, list[Pause]] = {gb: [] for gb in sizes}
    for turn in range(rounds(RUNS)):
        for sized in reversed(filled) if turn % 2 else filled:
            seen[sized.gb].append(once(pair, sized))
    by_hand = {}
    for sized in filled:
        pair.settle()
        by_hand[sized.gb] = pair.by_hand(sized.where, pair.place(sized.where.database))
        pair.same(sized.where.database)
        pair.drop(sized.where.database)
        print(f"  {pair.kind} {sized.gb:g} GB by hand: {by_hand[sized.gb]:.1f} s", flush=True)
    print(f"\n{table(pair.kind, filled, seen, by_hand)}\n", flush=True)


def table(
    kind: str, filled: list[Sized], seen: dict[float, list[Pause]], by_hand: dict[float, float]
) -> str:
    """Medians in Markdown, in ms; and the ratio of both sizes."""
    names = " | ".join(INSIDE)
    lines = [
        f"The pause's data part, {kind}, ms, medians of {len(seen[filled[0].gb])} runs, "
        "150 commits a second",
        "",
        f"| data | data part | slowest | {names} | commits, lost | dump and restore |",
        "| --- " * (len(INSIDE) + 5) + "|",
    ]
    for sized in filled:
        pauses = seen[sized.gb]
        parts = [median([p.parts[part] for p in pauses]) * 1000 for part in INSIDE]
        lines.append(
            f"| {sized.size / 1e9:.2f} GB | {median([p.seconds for p in pauses]) * 1000:.0f} | "
            f"{max(p.seconds for p in pauses) * 1000:.0f} | "
            f"{' | '.join(f'{part:.0f}' for part in parts)} | "
            f"{sum(p.acknowledged for p in pauses)}, {sum(p.lost for p in pauses)} | "
            f"{by_hand[sized.gb] * 1000:.0f} |"
        )
    small, large = (seen[sized.gb] for sized in filled)
    pairs = list(zip(small, large, strict=True))
    ratio = median([big.seconds for big in large]) / median([few.seconds for few in small])
    within = median([big.seconds / few.seconds for few, big in pairs])
    lines += [
        "",
        f"large / small: {ratio:.2f} of the medians, {within:.2f} median within a round "
        f"(goal within {ALIKE:.0%}); goal for the large one: at most {GOAL} s",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run all of it, or what ``BENCH_ONLY`` names."""
    for kind, pairs, share in (("postgres", PostgresPair, 10), ("mariadb", MariadbPair, 5)):
        if wanted(kind):
            with pairs.running() as pair:
                measured(pair, (gigabytes(kind) / share, gigabytes(kind)))
    if wanted("pgbench"):
        with PostgresPair.running() as pair:
            beside_pgbench(pair)


if __name__ == "__main__":
    main()
