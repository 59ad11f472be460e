"""What a gate costs, and what it loses: ``python -m benchmarks holds``.

Three gates side by side in one run: HAProxy alone, HAProxy with Crossfade's hold in it (the driver
``haproxy``), and the built-in gate (``gateway``); the first two with the same configuration.

- speed: requests a second with 32 kept connections, and how much later than from the application
  itself answers come at 1,000 requests a second; the gates take turns, ratios are within a round;
- holds: 200 requests a second (open loop, half on kept connections, 40 % POST with checked bodies,
  1 % take a second) over ``HOLDS`` holds (20) of 3 s, each followed by a switch to the other side
  and 2 s without a hold: how many fail, and how many a side gets after it was drained;
- the longest hold (of ``LONGEST``, "10,20,30,45" seconds; 60 requests a second, whose client waits
  for 60 s) that still loses nothing.

``ROUNDS`` (5) is for speed.  Needs ``haproxy`` and ``wrk``.  About 10 minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.gateway.scratch import App
from tests.haproxy.scratch import Proxy

from benchmarks import bench_gate
from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.model import Address, Side
from crossfade.ports import Traffic
from crossfade.testing.free_ports import free_ports

HOLDS = int(os.environ.get("HOLDS", "20"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
LONGEST = [float(word) for word in os.environ.get("LONGEST", "10,20,30,45").split(",")]
HELD, BETWEEN, RATE = 3.0, 2.0, 200
SLOW_RATE = 60
WITH_HOLD = "HAProxy with the driver"
GATE = "built-in gate"

Targets = Mapping[Side, Address]


@dataclass
class Lost:
    """What came of a load: how many requests there were, failed, and went to a drained side."""

    sent: int
    failed: int
    leaked: int
    longest: float
    failures: list[str]

    @property
    def nothing(self) -> bool:
        """Whether none was lost."""
        return self.failed == self.leaked == 0


@contextmanager
def gates(directory: Path, targets: Targets) -> Iterator[dict[str, Traffic]]:
    """Both gates that can hold, in front of the old side."""
    (port,) = free_ports(1)
    gate = GatewayTraffic(Address("127.0.0.1", port), directory / "gate")
    (directory / "proxy").mkdir()
    proxy = Proxy(directory / "proxy", targets[Side.OLD])
    try:
        gate.ensure(targets)
        proxy.fit(targets)
        proxy.traffic.ensure(targets)
        yield {GATE: gate, WITH_HOLD: proxy.traffic}
    finally:
        gate.stop()
        proxy.close()


def load_average() -> str:
    """The machine's, of the last minute."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


# Speed.


def median_and_p99(port: int) -> tuple[float, float]:
    """Of an open loop of 1,000 requests a second, in ms."""
    times = asyncio.run(bench_gate.open_loop(port))
    return statistics.median(times) * 1000, statistics.quantiles(times, n=100)[98] * 1000


def speed(directory: Path) -> None:
    """Requests a second and added latency of each gate, and the ratios to HAProxy alone."""
    (target,) = free_ports(1)
    address = Address("127.0.0.1", target)
    targets = dict.fromkeys(Side, address)
    config = bench_gate.HAPROXY.format(target=target)
    (directory / "alone").mkdir()
    with bench_gate.haproxy(directory, "target", config, target), gates(directory, targets) as held:
        alone = Proxy(directory / "alone", address)
        try:
            ports = {"HAProxy alone": alone.listen.port}
            ports |= {name: gate.listen.port for name, gate in held.items()}
            _compare({"the application itself": target, **ports})
        finally:
            alone.close()


def _compare(ports: Mapping[str, int]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ports}
    names = list(ports)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            rates[name].append(bench_gate.wrk(ports[name]))
            times[name].append(median_and_p99(ports[name]))
    base, direct = rates["HAProxy alone"], times["the application itself"]
    print("| | requests/s | of HAProxy's | added, median ms | added, p99 ms |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        ratio = statistics.median(o / b for o, b in zip(rates[name], base, strict=True))
        added = [
            statistics.median(
                mine[i] - its[i] for mine, its in zip(times[name], direct, strict=True)
            )
            for i in (0, 1)
        ]
        rate = statistics.median(rates[name])
        print(f"| {name} | {rate:.0f} | {ratio:.2f} | {added[0]:.2f} | {added[1]:.2f} |")
    print(f"medians of {ROUNDS} rounds; {load_average()}", flush=True)


# Holds.


def hold_and_switch(gate: Traffic, token: Path, seconds: float, to: Side) -> tuple[float, float]:
    """Hold for so long, switch, release.  When the other side was drained, and when released."""
    began = time.monotonic()
    more = seconds + 20
    gate.hold(lease=more, at_most=more, commit_to=to, commit_token=token)
    gate.drain(seconds + 10)
    drained = time.monotonic()
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    gate.switch(to)
    released = time.monotonic()
    gate.release()
    return drained, released


def under_load(
    gate: Traffic, apps: Mapping[Side, App], rate: int, seconds: float, during: Callable[[], None]
) -> tuple[int, int, float, list[str]]:
    """Run a load of its own process beside ``during``: sent, failed, the longest wait, failures."""
    host, port = gate.listen.host, str(gate.listen.port)
    command = [sys.executable, "-m", "tests.gateway.load", host, port, str(rate)]
    with subprocess.Popen(
        [*command, str(seconds), "7"], stdout=subprocess.PIPE, text=True
    ) as process:
        while not any(app.seen for app in apps.values()):  # its first request
            time.sleep(0.01)
        during()
        out, _ = process.communicate(timeout=seconds + 120)
    seen = json.loads(out)
    return seen["sent"], seen["failed"], seen["longest"], seen["failures"]


def lost_over(
    gate: Traffic, token: Path, apps: Mapping[Side, App], holds: int, held: float, rate: int
) -> Lost:
    """Hold so often, to and fro, under load."""
    for app in apps.values():
        app.seen.clear()
        app.finished.clear()
    quiet: list[tuple[Side, float, float]] = []  # a side may see nothing between these times

    def during() -> None:
        state = gate.look()
        assert state is not None
        side, since = state.side, 0.0
        time.sleep(BETWEEN)
        for _ in range(holds):
            drained, released = hold_and_switch(gate, token, held, side.other)
            if since:
                quiet.append((side.other, since, released))
            side, since = side.other, drained
            time.sleep(BETWEEN)
        quiet.append((side.other, since, time.monotonic()))

    seconds = holds * (held + BETWEEN) + 2 * BETWEEN
    sent, failed, longest, failures = under_load(gate, apps, rate, seconds, during)
    leaked = sum(
        begin < at < end for side, begin, end in quiet for at, _, _ in list(apps[side].seen)
    )
    return Lost(sent, failed, leaked, longest, failures)


def holds(directory: Path) -> None:
    """Failed and leaked of each gate, and its longest hold that loses nothing."""
    print(
        "| | requests | failed | leaked | of 10,000 | longest wait s | longest hold without loss |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with App("old") as old, App("new") as new:
        apps = {Side.OLD: old, Side.NEW: new}
        targets = {side: app.address for side, app in apps.items()}
        with gates(directory, targets) as both:
            for name, gate in both.items():
                token = directory / "no-token"
                lost = lost_over(gate, token, apps, HOLDS, HELD, RATE)
                of = f"{lost.failed * 1e4 / lost.sent:.1f}, {lost.leaked * 1e4 / lost.sent:.1f}"
                longest = _longest(gate, token, apps)
                print(
                    f"| {name} | {lost.sent} | {lost.failed} | {lost.leaked} | {of} "
                    f"| {lost.longest:.1f} | {longest} |",
                    flush=True,
                )
                for failure in lost.failures[:5]:
                    print(f"  {failure}")
    print(f"{HOLDS} holds of {HELD:.0f} s at {RATE} requests/s; {load_average()}", flush=True)


def _longest(gate: Traffic, token: Path, apps: Mapping[Side, App]) -> str:
    best = "none"
    for seconds in LONGEST:
        lost = lost_over(gate, token, apps, 1, seconds, SLOW_RATE)
        if not lost.nothing:
            return f"{best} ({seconds:.0f} s: {lost.failed} failed, {lost.leaked} leaked)"
        best = f"{seconds:.0f} s"
    return f"{best} (the longest tried)"


def main() -> None:
    """Run all of it."""
    missing = [name for name in ("haproxy", "wrk") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"needs the Debian packages: {' '.join(missing)}")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # HAProxy's user reads below it
        for part, run in (("speed", speed), ("holds", holds)):
            place = Path(name) / part
            place.mkdir()
            run(place)


if __name__ == "__main__":
    main()
