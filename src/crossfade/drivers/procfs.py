"""Reading /proc: which processes there are, and what belongs together.

Formats are those of proc(5).  A process that ends while we look is simply not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

__all__ = [
    "alive",
    "command_of",
    "descendants",
    "group_of",
    "pids",
    "start_time",
    "with_mark",
]

PROC = "/proc"
_PORTION = 1 << 16


def pids() -> Iterator[int]:
    """All process ids that we can see."""
    for name in os.listdir(PROC):  # noqa: PTH208 - no Path for each name
        if name.isdigit():
            yield int(name)


def _read(pid: int, name: str) -> bytes:
    """A file of a process; with no Path and no buffer, for all of them are read inside a pause.

    Raises OSError."""
    descriptor = os.open(f"{PROC}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _PORTION)
        while portion := os.read(descriptor, _PORTION):
            data += portion
    finally:
        os.close(descriptor)
    return data


def _stat(pid: int) -> list[str] | None:
    try:
        text = _read(pid, "stat").decode(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX"


def start_time(pid: int) -> str:
    """Start time in clock ticks since boot; empty when it is gone."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] not in "ZX" else ""


def group_of(pid: int) -> int | None:
    """Its process group."""
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def command_of(pid: int) -> tuple[str, ...]:
    """Its command line; empty when we may not see it."""
    try:
        raw = _read(pid, "cmdline")
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def descendants(roots: Iterable[int]) -> set[int]:
    """The processes given and all their children's children."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid not in found:
            found.add(pid)
            queue.extend(children.get(pid, ()))
    return {pid for pid in found if alive(pid)}


def with_mark(name: str, value: str) -> set[int]:
    """Living processes whose environment has ``name=value``: also those that left their group."""
    wanted = f"{name}={value}".encode()
    found = set()
    for pid in pids():
        try:
            environment = _read(pid, "environ")
        except OSError:
            continue
        if wanted in environment and wanted in environment.split(b"\0") and alive(pid):
            found.add(pid)
    return found
