"""SQLite's locks, taken and asked for with the kernel's open-file-description locks.

SQLite tells its processes apart by byte-range locks: on the database file around one gigabyte,
and, in WAL mode, on the ``-shm`` file from byte 120 on.  We take part in that protocol without
SQLite, because a read-only descriptor is enough for it: read locks may be taken with one, and the
kernel says through one whether a write lock would be refused.  Locks of open file descriptions
conflict with the process locks that SQLite takes, end with our process, and, unlike those, are
not lost when somebody in this process closes another descriptor of the same file.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CHECKPOINT",
    "CONNECTED",
    "DATABASE",
    "EXCLUSIVE",
    "PENDING",
    "READ_MARK",
    "RECOVER",
    "RESERVED",
    "SHARED",
    "WRITE",
    "Conflict",
    "Span",
    "command_of",
    "conflict",
    "eventually",
    "give_back",
    "take",
    "writing_processes",
]

EXCLUSIVE = True
"""For ``take`` and ``conflict``: the lock of a writer.  Its opposite is ``not EXCLUSIVE``."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of bytes that stands for one of SQLite's locks."""

    start: int
    length: int = 1


PENDING = Span(0x40000000)  # a writer waits for readers to leave
RESERVED = Span(0x40000001)  # somebody prepares a write (rollback journal)
SHARED = Span(0x40000002, 510)  # read by readers, written by whoever changes the file
DATABASE = Span(0x40000000, 512)  # all three
WRITE = Span(120)  # the right to append to the WAL
CHECKPOINT = Span(121)  # the right to move frames from the WAL into the file
RECOVER = Span(122)  # the right to rebuild the -shm file
READ_MARK = Span(127)  # the last of five reader's marks: a read lock on it keeps the WAL
CONNECTED = Span(128)  # read by every process that has the WAL open

_FLOCK = "@hhqqi4x"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A lock of somebody else that is in the way.  pid is None when the kernel cannot tell."""

    exclusive: bool
    pid: int | None

    def __str__(self) -> str:
        return "somebody" if self.pid is None else command_of(self.pid)


def take(fd: int, exclusive: bool, span: Span) -> bool:
    """Take a lock for the open file ``fd``; False when somebody else's is in the way."""
    kind = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _packed(kind, span))
    except (BlockingIOError, PermissionError):
        return False
    return True


def give_back(fd: int, span: Span) -> None:
    """Give back whatever ``fd`` holds in the span."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _packed(fcntl.F_UNLCK, span))


def conflict(fd: int, exclusive: bool, span: Span) -> Conflict | None:
    """Who would keep ``fd`` from taking that lock now; None when nobody would.  Takes nothing."""
    wanted = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _packed(wanted, span))
    kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
    if kind == fcntl.F_UNLCK:
        return None
    return Conflict(kind == fcntl.F_WRLCK, pid if pid > 0 else None)


def eventually(attempt: Callable[[], bool], deadline: float) -> bool:
    """Repeat ``attempt`` until it is true or the monotonic clock passes ``deadline``."""
    pause = 0.0005
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    return True


def command_of(pid: int) -> str:
    """``pid 12 (python3)``; only the program's name, since arguments may hold secrets."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return f"pid {pid}"
    return f"pid {pid} ({name})"


def writing_processes(files: tuple[Path, ...]) -> tuple[int, ...]:
    """Other processes that have one of the files open for writing, as far as we may look."""
    wanted = {(s.st_dev, s.st_ino) for s in map(_stat, files) if s is not None}
    names = {path.name for path in files}
    return tuple(sorted({pid for pid, fd in _descriptors(names) if _writes(pid, fd, wanted)}))


def _descriptors(names: set[str]) -> Iterator[tuple[int, str]]:
    """Process and descriptor of every open file elsewhere whose last name is one of ``names``."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                name = descriptor.readlink().name
            except OSError:
                continue
            if name in names:
                yield int(process.name), descriptor.name


def _writes(pid: int, fd: str, wanted: set[tuple[int, int]]) -> bool:
    """Whether that descriptor is one of the wanted inodes, and open for writing."""
    state = _stat(Path(f"/proc/{pid}/fd/{fd}"))
    if state is None or (state.st_dev, state.st_ino) not in wanted:
        return False
    try:
        text = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
    except OSError:
        return False
    flags = next((line.split()[1] for line in text.splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _packed(kind: int, span: Span) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, span.start, span.length, 0)
