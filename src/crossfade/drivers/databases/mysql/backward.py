"""Follows the new side for the way back, between the switch and the end of the upgrade.

    python -m crossfade.drivers.databases.mysql.backward FILE

A small process that outlives whoever started it.  FILE (mode 0600) says which databases; no
secret, only where it is kept.  The process ends when FILE is gone or when it cannot go on; why
stands in ``FILE.trouble``.  It holds ``FILE.lock`` while it works, so that there is only one.
Without it nothing is lost: what it did not bring waits in the new server's binary log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Address, Endpoint

__all__ = ["alone", "endpoint_of", "given_up", "runs", "start", "stop"]

_PLACE = ("kind", "address", "database", "user", "password", "admin", "admin_password")
_BREATH, _ROUND, _AWAY = 0.2, 10.0, 5.0
_HARD = ("feed-stopped", "changes-", "schema-changed", "too-many-changes", "binary-log-off")
_started: list[subprocess.Popen[bytes]] = []
"""Children that outlive us on purpose; kept, for Python warns of those that are forgotten."""


def start(file: Path, name: str, old: Endpoint, new: Endpoint, tag: str, directory: Path) -> None:
    """Start the process; fine when it runs.  Raises Failed."""
    if file.exists() and runs(file):
        return
    order = {
        "name": name,
        "old": _place(old),
        "new": _place(new),
        "tag": tag,
        "directory": str(directory.resolve()),
    }
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _trouble(file).unlink(missing_ok=True)
    _write(file, json.dumps(order))
    child = subprocess.Popen(
        (sys.executable, "-m", __name__, str(file)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _started.append(child)
    deadline = time.monotonic() + 20
    while not runs(file):
        if child.poll() is not None or time.monotonic() > deadline:
            why = given_up(file) or "it ended at once"
            raise Failed("reverse-feed-missing", f"The reverse feed did not start: {why}.")
        time.sleep(0.01)


def stop(file: Path) -> None:
    """Let the process end; returns when it has.  Fine when there is none.  Raises Failed."""
    file.unlink(missing_ok=True)
    deadline = time.monotonic() + 60
    while runs(file):
        if time.monotonic() > deadline:
            raise Failed("reverse-feed-stuck", "The reverse feed's process does not end.")
        time.sleep(0.02)


def runs(file: Path) -> bool:
    """Whether the process works."""
    with alone(file) as free:
        return not free


def given_up(file: Path) -> str:
    """Why the process cannot go on; empty when it can."""
    try:
        return _trouble(file).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@contextlib.contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Whether nobody else follows; while the context lasts nobody else begins."""
    try:
        descriptor = os.open(file.with_name(file.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def follow(file: Path) -> None:
    """The process itself."""
    from crossfade.drivers.databases.mysql.reverse import ReverseFeed

    order = json.loads(file.read_text(encoding="utf-8"))
    feed = ReverseFeed(
        order["name"],
        endpoint_of(order["old"]),
        endpoint_of(order["new"]),
        order["tag"],
        Path(order["directory"]),
    )
    deadline = time.monotonic() + 10
    while file.exists():
        with alone(file) as ours:  # somebody may just be looking
            if ours:
                _follow(feed, file)
                return
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _follow(feed: Any, file: Path) -> None:
    following, compared = None, 0.0
    while file.exists():
        try:
            if following is None:
                following = feed.following()
            upto = following.reach(patience=10.0)
            if time.monotonic() > compared:
                began = time.monotonic()
                following.compare(upto, patience=10.0)
                compared = time.monotonic() + max(_ROUND, 20 * (time.monotonic() - began))
            time.sleep(_BREATH)
        except CrossfadeError as error:
            if error.code.startswith(_HARD):
                _write(_trouble(file), error.what + "\n")
                break
            _wait(file, _AWAY)  # a server is away: what it has waits
    if following is not None:
        following.close()


def _wait(file: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while file.exists() and time.monotonic() < deadline:
        time.sleep(_BREATH)


def _place(endpoint: Endpoint) -> dict[str, Any]:
    whole = asdict(endpoint)
    place: dict[str, Any] = {key: whole[key] for key in _PLACE}
    return place | {
        "base": str(endpoint.base.resolve()),
        "bookkeeping": list(endpoint.bookkeeping),
    }


def endpoint_of(data: Mapping[str, Any]) -> Endpoint:
    """An endpoint as FILE has it."""
    return Endpoint(
        **{key: data[key] for key in _PLACE if key != "address"},
        address=Address(**data["address"]),
        base=Path(data["base"]),
        bookkeeping=tuple(data["bookkeeping"]),
    )


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def _trouble(file: Path) -> Path:
    return file.with_name(file.name + ".trouble")


if __name__ == "__main__":
    follow(Path(sys.argv[1]))
