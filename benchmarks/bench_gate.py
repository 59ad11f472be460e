"""The built-in gate against HAProxy, in turns, in one run: ``python benchmarks/bench_gate.py``.

Needs ``haproxy`` and ``wrk`` (Debian packages).  Prints one line for each result:

- requests a second with 32 kept connections, as a ratio to HAProxy's (goal: at least 0.5), with
  every request the same, and with every request different;
- the 99th percentile at 1,000 requests a second, as a ratio to HAProxy's (goal: at most 3);
- how much the gate's memory grows in a 1 GB POST and a 1 GB download (goal: below 16 MB each).

All of it takes about 70 s.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.model import Address, Side

ROUNDS = 5
SECONDS = 2
CONNECTIONS = 32
RATE = 1_000
RATE_SECONDS = 4
GIGABYTE = 1 << 30

HAPROXY = """
global
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend target
  bind 127.0.0.1:{target}
  http-request return status 200 content-type text/plain string "a short body of text\\n"
"""
PROXY = """
global
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend proxy
  bind 127.0.0.1:{proxy}
  option forwardfor
  default_backend target
backend target
  server target 127.0.0.1:{target}
"""
DIFFERENT = """
local number = 0
request = function()
  number = number + 1
  return wrk.format("GET", "/item/" .. number)
end
"""


def free_ports(count: int) -> list[int]:
    """Ports below 32768 that nobody listens on."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on port {port}")


@contextmanager
def haproxy(directory: Path, name: str, configuration: str, port: int) -> Iterator[None]:
    """An HAProxy with this configuration, as Debian starts it (one thread for each core)."""
    path = directory / f"{name}.cfg"
    path.write_text(configuration)
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def wrk(port: int, script: Path | None = None) -> float:
    """Requests a second with 32 kept connections."""
    more = ["-s", str(script)] if script else []
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *more]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(done.stdout)
    return float(done.stdout.split("Requests/sec:")[1].split()[0])


class Paced(asyncio.Protocol):
    """A kept connection that measures how long each answer takes."""

    def __init__(self, free: list[Paced], latencies: list[float]) -> None:
        self.free = free
        self.latencies = latencies
        self.due = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for a request."""
        self.transport = transport  # type: ignore[assignment]
        self.free.append(self)

    def data_received(self, data: bytes) -> None:
        """The answer is small: it comes in one piece."""
        assert data.startswith(b"HTTP/1.1 200 ")
        self.latencies.append(time.monotonic() - self.due)
        self.free.append(self)


async def open_loop(port: int) -> list[float]:
    """How long each answer took in seconds, timed from when its request was due."""
    loop = asyncio.get_running_loop()
    free: list[Paced] = []
    latencies: list[float] = []
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Paced(free, latencies), "127.0.0.1", port)
    connections = list(free)
    started = time.monotonic() + 0.1
    for number in range(RATE * RATE_SECONDS):
        due = started + number / RATE
        while (left := due - time.monotonic()) > 0 or not free:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(left if left > 0.0005 else 0)
        connection = free.pop()
        connection.due = due
        connection.transport.write(b"GET /%d HTTP/1.1\r\nHost: bench\r\n\r\n" % number)
    while len(latencies) < RATE * RATE_SECONDS:  # noqa: ASYNC110 - the end of a benchmark
        await asyncio.sleep(0.01)
    for connection in connections:
        connection.transport.close()
    return latencies


async def paced(port: int) -> float:
    """The 99th percentile of it in ms."""
    return statistics.quantiles(await open_loop(port), n=100)[98] * 1000


def in_turns(measure: Callable[[int], float], gate: int, proxy: int) -> tuple[float, float, float]:
    """Measure both in every round.  The median of the rounds' ratios (on a machine that others
    use too, only what was measured side by side compares), and the median of each."""
    pairs = []
    for turn in range(ROUNDS):
        first = measure(gate) if turn % 2 else 0.0
        other = measure(proxy)
        pairs.append((first or measure(gate), other))
    ratio = statistics.median(ours / other for ours, other in pairs)
    ours, others = zip(*pairs, strict=True)
    return ratio, statistics.median(ours), statistics.median(others)


def big_target(port: int) -> None:
    """An application that takes any upload and gives a gigabyte on GET."""
    server = socket.create_server(("127.0.0.1", port))
    block = bytes(1 << 20)
    while True:
        raw, _ = server.accept()
        with raw:
            head = b""
            while b"\r\n\r\n" not in head:
                head += raw.recv(65536)
            body = len(head.partition(b"\r\n\r\n")[2])
            if head.startswith(b"POST"):
                while body < GIGABYTE:
                    body += len(raw.recv(1 << 20))
                raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            elif b"/big" in head:
                raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
                for _ in range(GIGABYTE // len(block)):
                    raw.sendall(block)
            else:
                raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def growth(pid: int, port: int, method: bytes) -> tuple[float, float]:
    """How many MB the gate grew at most while a gigabyte passed, and how many MB a second."""

    def rss() -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    done = threading.Event()
    before = highest = rss()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.01):
            highest = max(highest, rss())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started, buffer = time.monotonic(), bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), 60) as raw:
        length = GIGABYTE if method == b"POST" else 0
        raw.sendall(b"%b /big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (method, length))
        for _ in range(length // len(buffer)):
            raw.sendall(bytes(1 << 20))
        left = 1 if length else GIGABYTE
        while left > 0:
            left -= raw.recv_into(buffer) or left
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    return (highest - before) / (1 << 20), GIGABYTE / (1 << 20) / seconds


def one_gigabyte(directory: Path) -> None:
    """Memory while a gigabyte passes, each way."""
    listen, target = free_ports(2)
    threading.Thread(target=big_target, args=(target,), daemon=True).start()
    address = Address("127.0.0.1", target)
    gate = GatewayTraffic(Address("127.0.0.1", listen), directory / "big")
    gate.ensure({Side.OLD: address, Side.NEW: address})
    try:
        pid = int((directory / "big" / "gate.pid").read_text())
        for method, name in ((b"POST", "upload"), (b"GET", "download")):
            more, speed = growth(pid, listen, method)
            print(f"gate: 1 GB {name}: memory +{more:.1f} MB (goal < 16), {speed:.0f} MB/s")
    finally:
        gate.stop()


def against_haproxy(directory: Path) -> None:
    """Throughput and latency beside HAProxy's."""
    target, proxy, listen = free_ports(3)
    script = directory / "different.lua"
    script.write_text(DIFFERENT)
    address = Address("127.0.0.1", target)
    gate = GatewayTraffic(Address("127.0.0.1", listen), directory / "gate")
    with (
        haproxy(directory, "target", HAPROXY.format(target=target), target),
        haproxy(directory, "proxy", PROXY.format(proxy=proxy, target=target), proxy),
    ):
        gate.ensure({Side.OLD: address, Side.NEW: address})
        try:
            for name, lua in (("the same request", None), ("different requests", script)):
                ratio, ours, other = in_turns(partial(wrk, script=lua), listen, proxy)
                print(
                    f"gate / HAProxy, requests a second, {name}: {ratio:.2f} "
                    f"(goal >= 0.5; {ours:.0f} and {other:.0f})"
                )
            ratio, ours, other = in_turns(lambda port: asyncio.run(paced(port)), listen, proxy)
            print(
                f"gate / HAProxy, p99 at {RATE} requests a second: {ratio:.2f} "
                f"(goal <= 3; {ours:.2f} ms and {other:.2f} ms)"
            )
        finally:
            gate.stop()


def main() -> None:
    """Run all of it."""
    missing = [name for name in ("haproxy", "wrk") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"needs the Debian packages: {' '.join(missing)}")
    with tempfile.TemporaryDirectory() as name:
        against_haproxy(Path(name))
        one_gigabyte(Path(name))


if __name__ == "__main__":
    main()
