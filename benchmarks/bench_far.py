"""Trees between machines: ``python -m benchmarks far``.

- the first copy of a tree of 5,000 small files, and of one big file (``CROSSFADE_BENCH_MB``, 512
  of them unless told), over ssh to an sshd on this machine, beside ``rsync -a`` and ``scp -r`` over
  the same shared login (goal: at least 0.9 of the better one's speed);
- a second pass after 1 % was changed, beside rsync (goal: at least 0.9).

Medians of 5 rounds, and of the ratios within a round; the ways take turns, and everybody's data has
reached the disk at the end of each.  Before the second pass ours has looked once more, which is not
measured: it reads on both sides what the first copy sent.  It takes some minutes.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.testbed.sshd import Sshd, place_of

from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost

ROUNDS = 5
MEGABYTES = int(os.environ.get("CROSSFADE_BENCH_MB", "512"))
GOAL = 0.9


def small(path: Path) -> None:
    """5,000 files in 100 directories."""
    chance = random.Random(1)
    for number in range(5000):
        file = path / f"{number % 100:02}" / f"file {number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(chance.randrange(200, 16_000)))


def big(path: Path) -> None:
    """One file."""
    path.mkdir()
    with (path / "big").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1 << 20))


def change(path: Path, round_: int) -> None:
    """Change 1 % of it: every hundredth file, or every hundredth megabyte of the big one."""
    if (path / "big").exists():
        with (path / "big").open("r+b") as file:
            for at in range(round_, MEGABYTES, 100):
                file.seek(at << 20)
                file.write(os.urandom(1 << 20))
        return
    for number in range(round_, 5000, 100):
        (path / f"{number % 100:02}" / f"file {number}").write_bytes(os.urandom(5000))


def taken(do: Callable[[], object]) -> float:
    """Seconds until it is done and has reached the disk."""
    os.sync()
    began = time.perf_counter()
    do()
    os.sync()
    return time.perf_counter() - began


def compare(directory: Path, host: SshHost, config: Path, make: Callable[[Path], None]) -> None:
    """Print the times and ratios for one tree."""
    source = directory / make.__name__
    make(source)
    socket = next(one for one in place_of(host).iterdir() if one.is_socket())
    ssh = f"ssh -F {config} -S {socket}"
    targets = {name: directory / f"{make.__name__}-{name}" for name in ("ours", "rsync", "scp")}
    rsync = ("rsync", "-a", "-e", ssh, f"{source}/", f"far:{targets['rsync']}/")
    scp = ("scp", "-Orpq", "-F", config, "-o", f"ControlPath={socket}", source, "far:")
    first: dict[str, list[float]] = {name: [] for name in targets}
    second: dict[str, list[float]] = {name: [] for name in targets}
    for round_ in range(ROUNDS):
        for target in targets.values():
            shutil.rmtree(target, ignore_errors=True)
        local = LocalHost()
        files = FarTree("tree", source, local, local=local)
        copy = FarTree("tree", targets["ours"], host, local=local)
        to = f"far:{targets['scp']}"
        ways: dict[str, Callable[[], object]] = {
            "rsync": lambda: subprocess.run(rsync, check=True),
            "scp": lambda to=to: subprocess.run((*scp[:-1], to), check=True),  # type: ignore[misc]
            "ours": lambda f=files, c=copy: f.copy_to(c),  # type: ignore[misc]
        }
        turns = [*ways][round_ % 3 :] + [*ways][: round_ % 3]
        for name in turns:
            first[name].append(taken(ways[name]))
        time.sleep(3)
        assert files.copy_to(copy).copied == 0
        change(source, round_)
        for name in [name for name in turns if name != "scp"]:
            second[name].append(taken(ways[name]))
        assert files.digest().differences(copy.digest()) == ()
    load = f"load average {os.getloadavg()[0]:.1f}"
    tell(f"{make.__name__}, first copy ({load})", first)
    tell(f"{make.__name__}, 1 % changed ({load})", second)


def tell(what: str, times: dict[str, list[float]]) -> None:
    """Print medians, and the ratios to the better of the others in each round."""
    times = {name: seconds for name, seconds in times.items() if seconds}
    medians = (f"{name} {statistics.median(seconds):.2f} s" for name, seconds in times.items())
    others = [seconds for name, seconds in times.items() if name != "ours"]
    ratios = [min(them) / us for *them, us in zip(*others, times["ours"], strict=True)]
    print(f"{what}: " + ", ".join(medians))
    print(
        f"  ours is {statistics.median(ratios):.2f} of the better one's speed"
        f" ({min(ratios):.2f} to {max(ratios):.2f}; goal: {GOAL:g})"
    )


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bench-far-") as name:
        directory = Path(name)
        with Sshd(directory / "sshd") as sshd:
            host = SshHost("far", config=sshd.config)
            host.connect()
            for make in (small, big):
                compare(directory, host, sshd.config, make)
            host.close()
