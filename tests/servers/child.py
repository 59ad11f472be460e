"""Run as a program: what needs an ordinary user, or a machine without servers.

    python child.py ordinary DIRECTORY      start and stop a server there as an ordinary user
    python child.py bare                    in a mount namespace: hide all servers, ask for them
    python child.py start DIRECTORY         start a server and leave it running

Prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from crossfade.errors import Failed
from crossfade.testing.servers import PostgresServer, fetch_majors, install_packages, majors
from crossfade.testing.servers._majors import caches

NOBODY = 65534


def drop_rights() -> None:
    """Become an ordinary user, if we are root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def explained(do: Callable[[], object]) -> dict[str, object]:
    """The explained error that something raises."""
    try:
        do()
    except Failed as failed:
        return failed.as_json()
    return {}


def ordinary(path: Path) -> dict[str, object]:
    """A server of an ordinary user's own."""
    drop_rights()
    with PostgresServer(path) as server:
        pid = server.pid
        owner = Path(f"/proc/{pid}").stat().st_uid
        rows = server.sql("select 1")
        there = str(server.directory)
    return {"owner": owner, "me": os.geteuid(), "rows": rows, "directory": there}


def bare() -> dict[str, object]:
    """Hide every server of this machine; what we are told, first as root, then as anybody."""
    for place in ("/usr/lib/postgresql", *map(str, caches())):
        if Path(place).exists():
            subprocess.run(("mount", "-t", "tmpfs", "none", place), check=True)
    seen = list(majors())
    without = explained(lambda: PostgresServer(Path("/tmp/never-made"), 13))
    drop_rights()
    return {
        "majors": seen,
        "without": without,
        "install": explained(lambda: install_packages(["postgres"])),
        "unknown": explained(lambda: fetch_majors([9])),
    }


def start(path: Path) -> dict[str, object]:
    """Start a server that outlives us."""
    server = PostgresServer(path)
    server.start()
    server.sql("create table kept as select 42 as answer")
    return {"port": server.address.port, "pid": server.pid}


if __name__ == "__main__":
    scenarios: dict[str, Callable[..., dict[str, object]]] = {
        "ordinary": ordinary,
        "bare": bare,
        "start": start,
    }
    print(json.dumps(scenarios[sys.argv[1]](*map(Path, sys.argv[2:]))))  # noqa: T201
