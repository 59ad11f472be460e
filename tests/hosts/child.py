"""Run as a program: what needs an ordinary user, or a small disk in a namespace of its own.

    python child.py small-disk DIRECTORY
    python child.py ordinary DIRECTORY PORT

Prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import Failed
from crossfade.model import Address

NOBODY = 65534


def code_of(do: Callable[[], object]) -> str:
    """The code of the explained error that something raises, or nothing."""
    try:
        do()
    except Failed as failed:
        return failed.code
    return ""


def small_disk(path: Path) -> dict[str, object]:
    """Write more than fits on a disk of a megabyte."""
    host, disk = LocalHost(), path / "disk"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk))
    subprocess.run(mount, check=True)
    host.write(disk / "file", b"as it was")
    return {
        "code": code_of(lambda: host.write(disk / "file", bytes(3 << 20))),
        "content": host.read(disk / "file").decode(),
        "names": [one.name for one in disk.iterdir()],
        "free": 0 < host.free_bytes(disk / "later") < 1 << 20,
        "another": host.file_system(disk) != host.file_system(path),
    }


def ordinary(path: Path, port: int) -> dict[str, object]:
    """Try what an ordinary user may not do or see, and what it may do with its own."""
    host, address = LocalHost(), Address("127.0.0.1", port)
    host.listener(address)  # loads what it needs while we may
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    told: dict[str, object] = {
        "read": code_of(lambda: host.read(path / "private")),
        "exists": code_of(lambda: host.exists(path / "shut" / "file")),
        "write": code_of(lambda: host.write(path / "new", b"x")),
        "make_directory": code_of(lambda: host.make_directory(path / "shut" / "new")),
        "remove": code_of(lambda: host.remove(path / "private")),
        "run": code_of(lambda: host.run((str(path / "private"),))),
        "listener": host.listener(address),
    }
    own = path / "own" / "tree"
    (own / "shut").mkdir(parents=True)
    (own / "shut" / "file").touch()
    (own / "shut").chmod(0)
    own.chmod(0o500)
    host.remove(own)
    return {**told, "gone": not own.exists()}


if __name__ == "__main__":
    scenario, place, *rest = sys.argv[1:]
    result = (
        small_disk(Path(place))
        if scenario == "small-disk"
        else ordinary(Path(place), *map(int, rest))
    )
    print(json.dumps(result))  # noqa: T201 (the result)
