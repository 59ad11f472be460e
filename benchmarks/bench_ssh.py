"""Commands over SSH: ``python -m benchmarks ssh``.

- 50 commands one after the other on one login to an sshd on this machine (goal: under 3 s); medians
  of 5 rounds after one that is not counted;
- beside it the plain ``ssh`` program with the same shared login, the same number of times, and what
  50 files of a kilobyte cost, written and read.

All of it takes about half a minute.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.testbed.sshd import Sshd, place_of

from crossfade.drivers.hosts.ssh import SshHost

TIMES, ROUNDS = 50, 5
GOAL = 3.0


def taken(do: Callable[[int], object]) -> float:
    """Median seconds for doing something ``TIMES`` times."""
    rounds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        for number in range(TIMES):
            do(number)
        rounds.append(time.perf_counter() - began)
    return statistics.median(rounds[1:])


def main() -> None:
    """Measure and print; raises AssertionError when the goal is missed."""
    with tempfile.TemporaryDirectory(prefix="bench-ssh-") as name:
        directory = Path(name)
        with Sshd(directory / "sshd") as sshd:
            began = time.perf_counter()
            host = SshHost("far", config=sshd.config)
            host.connect()
            print(f"login and look at the tools: {time.perf_counter() - began:.2f} s")
            ours = taken(lambda _: host.run(("true",)))
            socket = next(one for one in place_of(host).iterdir() if one.is_socket())
            plain = ("ssh", "-F", sshd.config, "-S", socket, "far", "true")
            peer = taken(lambda _: subprocess.run(plain, check=True))
            data, place = bytes(1024), directory / "files"
            written = taken(lambda n: host.write(place / str(n), data))
            read = taken(lambda n: host.read(place / str(n)))
            host.close()
    print(f"{TIMES} commands: {ours:.2f} s ({ours / GOAL:.2f} of the goal of {GOAL:g} s)")
    print(f"{TIMES} times the plain ssh program on a shared login: {peer:.2f} s")
    print(f"{TIMES} files of 1 KiB: written {written:.2f} s, read {read:.2f} s")
    assert ours < GOAL
