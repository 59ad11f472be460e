"""A cheap mark of a SQLite database that changes with every commit.  Only reads.

With a rollback journal every commit counts up in the file's header.  In WAL mode every commit
changes the header of the shared index, which counts while somebody has the database open.  The
mark may also change without a commit when frames are moved from the WAL into the file, and when
the first connection comes or the last one goes.  It stands still while nobody has the database
open, and under a fence, also while others try to write and are refused.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from crossfade.drivers.databases import sqlite_locks as locks
from crossfade.drivers.databases.sqlite_files import beside, open_for_reading

__all__ = ["position"]

_WAL_HEADER = 32
_INDEX_HEADER = 48


def position(path: Path) -> str:
    """The mark: 16 hex digits.  Raises OSError."""
    marks = [*_file_marks(path), _wal_header(path), _wal_index(path)]
    return blake2b(b"\0".join(marks), digest_size=8).hexdigest()


def _file_marks(path: Path) -> tuple[bytes, bytes]:
    """Header counters and length: with a rollback journal every commit counts up."""
    fd = open_for_reading(path)
    try:
        state = os.fstat(fd)
        return os.pread(fd, 100, 0), f"{state.st_size} {state.st_mtime_ns}".encode()
    finally:
        os.close(fd)


def _wal_header(path: Path) -> bytes:
    """Salts and length of the WAL; an empty one is as good as none."""
    try:
        fd = open_for_reading(beside(path, "-wal"))
    except FileNotFoundError:
        return b""
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, 32, 0) + str(size).encode() if size else b""
    finally:
        os.close(fd)


def _wal_index(path: Path) -> bytes:
    """The header of the shared index, which every commit changes, while somebody is connected.

    A new WAL overwrites an old one from its beginning, so that the WAL's length says too little.
    """
    try:
        fd = open_for_reading(beside(path, "-shm"))
    except FileNotFoundError:
        return b""
    try:
        if locks.conflict(fd, locks.EXCLUSIVE, locks.CONNECTED) is None:
            return b""
        header = os.pread(fd, 48, 0)
        return header if len(header) == 48 and any(header) else b""
    finally:
        os.close(fd)
