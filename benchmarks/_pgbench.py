"""pgbench on the old side: undisturbed, while it is copied, while it is followed.

It works at 150 transactions a second, the load of the other measurements, and then as fast as it
can, which no server with room for its users does.  One pgbench goes on through all of it, with two
clients and its own transactions, and notes every transaction; at a rate the latency counts from
when the transaction was due.  What is compared are spans of its time: two undisturbed ones (before
the copy and after the feed is gone), the copy from its beginning until the new side follows, and
the following.
The old server's neighbours are pgbench, the new server and we ourselves, on the same processors;
or, nearer to two machines, it has one with pgbench, and the new server and we have another.  The
disk is the same.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks._postgres import PostgresPair
from benchmarks._servers import On, busy, gigabytes, hold, median, rounds

from crossfade.drivers import procfs
from crossfade.model import Endpoint

__all__ = ["beside_pgbench"]

ROUNDS = 3
CLIENTS, WARM, SPAN = 2, 8.0, 25.0
LONGEST = 1800
WAYS = ((150, False), (150, True), (0, True))
"""Transactions a second (0: as fast as it can), and whether the processors are apart."""
Span = tuple[float, float]
Seen = tuple[float, float]
"""Transactions a second, and the 99th percentile of their latency in ms."""


def apart(pair: PostgresPair) -> None:
    """The old server gets a processor, the new one and we another."""
    first, *_, last = sorted(os.sched_getaffinity(0))
    for server, processor in ((pair.old, first), (pair.new, last)):
        if server.pid is None:
            raise SystemExit("the server does not run")
        for pid in procfs.descendants([server.pid]) | {server.pid}:
            os.sched_setaffinity(pid, {processor})
    os.sched_setaffinity(0, {last})


def alone(pair: PostgresPair) -> bool:
    """Whether the old server has its own processor."""
    return len(os.sched_getaffinity(pair.old.pid or 0)) == 1


@contextlib.contextmanager
def working(pair: PostgresPair, database: str, place: Path, rate: int) -> Iterator[None]:
    """pgbench works as long as the context lasts."""
    paced = ("-R", str(rate)) if rate else ()
    endless = ("-n", "-c", str(CLIENTS), "-j", str(CLIENTS), "-T", str(LONGEST))
    noted = ("--log", f"--log-prefix={place / 'noted'}")
    how = (*endless, *paced, *noted)
    (processor, *_) = os.sched_getaffinity(pair.old.pid or 0)
    on = ("taskset", "-c", str(processor)) if alone(pair) else ()
    command = (*on, pair.old.program("pgbench"), *how, *pair.server(pair.old), database)
    with (place / "pgbench.log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=log, stderr=log, env={**os.environ, **pair.env}
        )
        try:
            yield
            if process.poll() is not None:
                raise SystemExit((place / "pgbench.log").read_text())
            time.sleep(2.0)  # what it noted is written in blocks
        finally:
            process.terminate()
            process.wait()


def seen(place: Path, *spans: Span) -> Seen:
    """What pgbench noted of the transactions that ended within some spans of time."""
    took = []
    for path in place.glob("noted*"):
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) < 6:
                continue  # cut off at the end
            at = int(words[4]) + int(words[5]) / 1e6
            if any(began <= at < ended for began, ended in spans):
                took.append(int(words[2]) / 1000)
    seconds = sum(ended - began for began, ended in spans)
    return len(took) / seconds, statistics.quantiles(took, n=100)[98]


def one_round(pair: PostgresPair, old: Endpoint, rate: int) -> dict[str, Seen]:
    """All spans once.  Prints and returns what was seen in each."""
    # Without a key and large it would have to be copied inside the pause.
    pair.old.sql("truncate pgbench_history", database=old.database)
    pair.settle()
    others = busy()
    attempt = pair.attempt()
    _, new, carrier = pair.carrier(old, pair.place(old.database), attempt)
    if (carrying := carrier.preview()).strategy != "stream":
        raise SystemExit(carrying.why)
    on = On()
    with working(pair, old.database, attempt, rate):
        time.sleep(WARM)
        first = _span()
        began = time.time()
        hold(carrier.back_up(on) + carrier.restore(on))
        copied = began, time.time()
        followed = _span()
        carrier.let_go()
        time.sleep(1.0)
        last = _span()
    new.remove()
    spans = {
        "undisturbed": seen(attempt, first, last),
        "being copied": seen(attempt, copied),
        "followed": seen(attempt, followed),
    }
    parts = {part: seen(attempt, span) for part, span in on.spans.items() if span[1] - span[0] > 1}
    for name, (rate, p99) in {**spans, **{f"  {n}": s for n, s in parts.items()}}.items():
        print(f"  {name}: {rate:.0f} transactions/s, p99 {p99:.2f} ms", flush=True)
    print(
        f"  undisturbed before {seen(attempt, first)[0]:.0f}, after {seen(attempt, last)[0]:.0f}; "
        f"prepared in {copied[1] - copied[0]:.1f} s "
        f"({', '.join(f'{part} {took:.1f}' for part, took in on.parts.items())}); "
        f"others use {others:.0%}, load {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )
    return spans


def _span() -> Span:
    began = time.time()
    time.sleep(SPAN)
    return began, time.time()


def beside_pgbench(pair: PostgresPair) -> None:
    """Fill, and for each way some rounds, a table of medians and of the rounds' ratios."""
    old = pair.filled(gigabytes(pair.kind))
    for rate, own in WAYS:
        if own and not alone(pair):
            apart(pair)
        found = []
        for _ in range(rounds(ROUNDS)):
            found.append(one_round(pair, old, rate))
            pair.old.sql("vacuum analyze", database=old.database)
        size = f"{pair.size(old.database) / 1e9:.2f} GB"
        _table(found, f"{size}{', a processor of its own' if own else ''}", rate)


def _table(found: list[dict[str, Seen]], size: str, rate: int) -> None:
    speed = f"-R{rate}" if rate else "as fast as it can"
    lines = [
        f"pgbench -c{CLIENTS} {speed} on the old side ({size}), medians of {len(found)} rounds",
        "",
        "| old side | transactions/s | p99, ms | rate / undisturbed | p99 / undisturbed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in found[0]:
        rates, p99s = zip(*(one[name] for one in found), strict=True)
        rate = median([one[name][0] / one["undisturbed"][0] for one in found])
        p99 = median([one[name][1] / one["undisturbed"][1] for one in found])
        lines.append(
            f"| {name} | {median(rates):.0f} | {median(p99s):.1f} | {rate:.2f} | {p99:.2f} |"
        )
    print("\n".join([*lines, "", "goals: rate at least 0.9, p99 at most 1.5"]), flush=True)
