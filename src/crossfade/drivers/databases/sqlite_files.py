"""A SQLite database as files: its header, what belongs to it, copying bytes, and errors."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossfade.errors import Failed
from crossfade.ports import Progress

__all__ = [
    "Header",
    "beside",
    "copy_bytes",
    "explained",
    "identity",
    "immutable",
    "length",
    "open_for_reading",
    "quoted",
    "sync_directory",
    "unlink_with_companions",
]

_CHUNK = 64 << 20
_FICLONE = 0x40049409
_MAGIC = b"SQLite format 3\0"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_SUCH_CALL = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Header:
    """What the first 100 bytes of a database file say.  An empty file is an empty database."""

    empty: bool
    page_size: int
    pages: int | None
    wal: bool
    changes: int

    @classmethod
    def read(cls, fd: int) -> Header:
        """Read it from an open file.  Raises sqlite3.DatabaseError when it is no database."""
        data = os.pread(fd, 100, 0)
        if not data:
            return cls(True, 4096, 0, False, 0)
        if len(data) < 100 or not data.startswith(_MAGIC):
            raise sqlite3.DatabaseError("file is not a database")
        page_size = int.from_bytes(data[16:18], "big")
        changes = int.from_bytes(data[24:28], "big")
        pages = int.from_bytes(data[28:32], "big")
        valid = changes == int.from_bytes(data[92:96], "big")
        return cls(
            False,
            65536 if page_size == 1 else page_size,
            pages if valid and pages else None,
            data[19] == 2,
            changes,
        )

    def check(self, size: int) -> None:
        """Raise sqlite3.DatabaseError unless a file of ``size`` bytes can hold what it says."""
        if self.empty:
            return
        if self.page_size < 512 or self.page_size & (self.page_size - 1):
            raise sqlite3.DatabaseError(f"page size {self.page_size} is impossible")
        if self.pages is not None and size < self.pages * self.page_size:
            raise sqlite3.DatabaseError(
                f"file is truncated: {size} bytes instead of {self.pages * self.page_size}"
            )


def beside(path: Path, ending: str) -> Path:
    """The file that belongs to a database: ``-wal``, ``-shm`` or ``-journal``."""
    return path.with_name(path.name + ending)


def length(path: Path) -> int:
    """Bytes in a file; 0 when it is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at ``path``; None when there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def open_for_reading(path: Path) -> int:
    """Open a regular file, never for writing.  Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def immutable(path: Path) -> sqlite3.Connection:
    """Open a file that nobody changes: SQLite then takes no locks and makes no files."""
    uri = f"{path.absolute().as_uri()}?immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def copy_bytes(source: int, target: Path, progress: Progress | None = None) -> int:
    """Write all bytes of an open file to a new file (mode 0600); returns how many.

    The file system shares the blocks where it can (reflink), else the kernel copies.
    """
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        total = os.fstat(source).st_size
        try:
            fcntl.ioctl(fd, _FICLONE, source)
            done = os.fstat(fd).st_size
            if progress is not None:
                progress(done, done)
        except OSError as error:
            if error.errno in _FULL:
                raise
            done = _copy_in_chunks(source, fd, total, progress)
        return done
    finally:
        os.close(fd)


def _copy_in_chunks(source: int, target: int, total: int, progress: Progress | None) -> int:
    done = 0
    while moved := _copy_chunk(source, target, done):
        done += moved
        if progress is not None:
            progress(done, max(total, done))
    return done


def _copy_chunk(source: int, target: int, offset: int) -> int:
    try:
        return os.copy_file_range(source, target, _CHUNK, offset, offset)
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL:
            raise
    data = os.pread(source, _CHUNK >> 4, offset)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], offset + written)
    return len(data)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unlink_with_companions(path: Path) -> None:
    """Remove a database of ours, and all that belongs to it; fine when it is gone."""
    for ending in ("-wal", "-shm", "-journal", ""):
        beside(path, ending).unlink(missing_ok=True)


@contextmanager
def explained(doing: str, path: Path) -> Iterator[None]:
    """Turn errors of the system and of SQLite into Failed.  ``doing`` completes "Could not …"."""
    try:
        yield
    except OSError as error:
        raise Failed(
            _os_code(error, path), f"Could not {doing}: {error}.", where=str(path)
        ) from error
    except sqlite3.Error as error:
        raise Failed(
            _sqlite_code(error), f"Could not {doing}: {error}.", where=str(path)
        ) from error


def _os_code(error: OSError, path: Path) -> str:
    if error.errno in _FULL:
        return "disk-full"
    if str(error.filename) != str(path):
        return "database-io"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "database-missing"
    return "database-unreadable"


def _sqlite_code(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return "disk-full"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "database-locked"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "database-corrupt"
    if code is None and type(error) is sqlite3.DatabaseError:  # raised by Header
        return "database-corrupt"
    return "database-unreadable"
