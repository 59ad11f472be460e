"""Gives a feed up before its slots fill the disk of the server that keeps log for them.

    python -m crossfade.drivers.databases.postgres.watch FILE

A small process with a session of its own, which outlives whoever started it.  FILE (mode 0600)
says which server, which slots and the limit in bytes; no secret, only where it is kept.  The
process ends when the slots are gone, when it has dropped them, or when FILE is gone.  What it did
stands in ``FILE.given-up``; while it watches, its process id in ``FILE.watching``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from crossfade.drivers import procfs
from crossfade.drivers.databases.postgres import silence, slots
from crossfade.drivers.databases.postgres.connect import Conn, connect, fetch
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Address, Endpoint

__all__ = ["given_up", "limit_for", "start", "stop", "watch"]

DEFAULT_LIMIT = 8 * 1024**3
_PLACE = ("kind", "address", "database", "user", "password", "admin", "admin_password")
_EVERY, _NOTICE, _LEAVE = 2.0, 0.1, 5.0
"""Seconds: between two looks, until it notices that FILE is gone, and until it has left by then."""
_started: list[int] = []
"""Children that outlive us on purpose."""


def limit_for(conn: Conn) -> int:
    """Bytes of log that slots may keep: a quarter of what is free on the server's disk.

    8 GiB where that cannot be known: the server is another machine, or hides its directory."""
    pid, directory = fetch(
        conn, "select pg_catalog.pg_backend_pid(), pg_catalog.current_setting('data_directory')"
    )[0]
    try:
        if Path(f"/proc/{pid}/cwd").resolve(strict=True) != Path(directory).resolve(strict=True):
            return DEFAULT_LIMIT
        return shutil.disk_usage(directory).free // 4
    except OSError:
        return DEFAULT_LIMIT


def start(file: Path, endpoint: Endpoint, names: Sequence[str], limit: int) -> int:
    """Start the watching process for these slots; its process id.  Raises Failed."""
    whole = asdict(endpoint)
    place = {key: whole[key] for key in _PLACE} | {"base": str(endpoint.base.resolve())}
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leaving in (_report(file), _ready(file)):
        leaving.unlink(missing_ok=True)
    _write(file, {"endpoint": place, "slots": list(names), "limit": limit})
    pid = os.posix_spawn(
        sys.executable,
        (sys.executable, "-m", __name__, str(file)),
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)],
        setsid=True,
    )
    _started.append(pid)
    deadline = time.monotonic() + 20
    while not _ready(file).exists():
        if pid in _reap() or time.monotonic() > deadline:
            raise Failed(
                "slot-watch-missing", "The watcher of the slots did not start.", where=str(file)
            )
        time.sleep(0.01)
    return pid


def _reap() -> set[int]:
    """Take notice of those of ours that have ended."""
    ended = set()
    for pid in list(_started):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        _started.remove(pid)
        ended.add(pid)
    return ended


def stop(file: Path) -> None:
    """Let the watcher end by itself; returns when its session is over, too.  Fine when there is
    none."""
    file.unlink(missing_ok=True)
    with contextlib.suppress(OSError, ValueError):
        pid = int(_ready(file).read_text(encoding="ascii"))
        deadline = time.monotonic() + _LEAVE
        while str(file) in procfs.command_of(pid) and time.monotonic() < deadline:
            _reap()
            time.sleep(0.01)
    _ready(file).unlink(missing_ok=True)


def given_up(file: Path) -> str:
    """Why the watcher dropped the slots; empty when it did not."""
    try:
        return _report(file).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def watch(file: Path, every: float = _EVERY) -> None:
    """Watch until there is nothing to watch any more."""
    order = json.loads(file.read_text(encoding="utf-8"))
    endpoint, limit = _endpoint(order["endpoint"]), int(order["limit"])
    conn: Conn | None = None
    _write(_ready(file), str(os.getpid()))
    while file.exists():
        try:
            if conn is None or conn.closed:
                conn = connect(endpoint, application_name="crossfade slot watch")
                silence.give_up_after(conn, 20)
            if not _look(conn, order["slots"], limit, file):
                break
        except (CrossfadeError, psycopg.Error):
            # The server is away: it keeps nothing more for us until it is back.
            if conn is not None:
                conn.close()
        _rest(file, every)
    if conn is not None:
        conn.close()
    _ready(file).unlink(missing_ok=True)


def _rest(file: Path, seconds: float) -> None:
    """Sleep, but not on when the file is gone."""
    until = time.monotonic() + seconds
    while file.exists() and (left := until - time.monotonic()) > 0:
        time.sleep(min(_NOTICE, left))


def _look(conn: Conn, names: Sequence[str], limit: int, file: Path) -> bool:
    """Drop all slots when one keeps too much.  Whether there is something to watch."""
    states = [state for name in names if (state := slots.look(conn, name)) is not None]
    most = max((state.retained for state in states), default=0)
    if most <= limit:
        return bool(states)
    _write(_report(file), f"the slots kept {most} bytes of log, more than the limit of {limit}\n")
    for name in names:
        slots.drop(conn, name)
    return False


def _endpoint(data: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        kind=data["kind"],
        address=Address(**data["address"]),
        database=data["database"],
        user=data["user"],
        password=data["password"],
        admin=data["admin"],
        admin_password=data["admin_password"],
        base=Path(data["base"]),
    )


def _write(path: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def _report(file: Path) -> Path:
    return file.with_name(file.name + ".given-up")


def _ready(file: Path) -> Path:
    return file.with_name(file.name + ".watching")


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
