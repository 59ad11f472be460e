"""Reading a SQLite database that may be in use, with read-only descriptors and nothing else.

SQLite itself cannot do that: in WAL mode even ``mode=ro`` opens the ``-wal`` file for writing and
creates it when it is missing.  So we do what a reader does, by hand (docs/decisions/0004):

- a read lock on SHARED: with a rollback journal nobody can change the file then; in WAL mode
  nobody can remove, or switch away from, the WAL;
- in WAL mode also a read lock on one reader's mark: the WAL only grows then.  Pages may be moved
  from it into the file while we copy; but whatever is moved is in the WAL too, which is copied
  after the file, and so replaces it in the copy.

The bytes are copied, and SQLite recovers the copy.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, TypeVar

from crossfade.drivers.databases import sqlite_locks as locks
from crossfade.drivers.databases.sqlite_files import (
    Header,
    beside,
    copy_bytes,
    identity,
    immutable,
    length,
    open_for_reading,
)
from crossfade.errors import Failed
from crossfade.ports import Progress

__all__ = ["Reading", "read_still", "settle", "snapshot", "take_shared"]

T = TypeVar("T")

_RETRIES = 5


class Reading:
    """The database at ``path``, open and locked as a reader does; a context manager.

    Raises OSError when it cannot be read, and Failed (database-locked) when somebody keeps
    readers out for longer than ``timeout`` seconds.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self.fd = -1
        self._shm = -1
        self._shm_identity: tuple[int, int] | None = None
        self._disturbed = False

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self.timeout
        try:
            for _ in range(_RETRIES):
                self.fd = open_for_reading(self.path)
                take_shared(self.fd, self.path, deadline)
                self._hold_the_wal(deadline)
                if identity(self.path) == _identity(self.fd):
                    return self
                self._close()
        except BaseException:
            self._close()
            raise
        raise Failed(
            "database-locked",
            "The database file was replaced again and again while it was opened.",
            where=str(self.path),
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def copy_into(self, copy: Path, progress: Progress | None) -> None:
        """Copy the file, then what must be recovered into it, to ``copy`` and beside it."""
        hot = self.hot_journal()
        copy_bytes(self.fd, copy, progress)
        if hot:
            _copy_if_there(beside(self.path, "-journal"), beside(copy, "-journal"))
        _copy_if_there(beside(self.path, "-wal"), beside(copy, "-wal"))

    def whole(self, fenced: bool) -> bool:
        """Whether the file alone is the whole database, and stays so unless ``disturbed``.

        With our own fence held nobody can write, so that an idle -shm file does not matter.
        """
        quiet = fenced or self._shm_identity is None
        return quiet and not length(beside(self.path, "-wal")) and not self.hot_journal()

    def disturbed(self) -> bool:
        """Whether, since we began, somebody came who writes, or waits for us to write."""
        self._disturbed = (
            self._disturbed
            or self.somebody_joined()
            or length(beside(self.path, "-wal")) > 0
            or locks.conflict(self.fd, not locks.EXCLUSIVE, locks.RESERVED) is not None
        )
        return self._disturbed

    def somebody_joined(self) -> bool:
        """Whether a -shm file appeared on which we hold no lock (it cannot vanish meanwhile)."""
        return identity(beside(self.path, "-shm")) != self._shm_identity

    def hot_journal(self) -> bool:
        """Whether a killed writer left a journal that has to be played back."""
        if locks.conflict(self.fd, not locks.EXCLUSIVE, locks.RESERVED) is not None:
            return False  # a living writer's; the file is untouched as long as we read
        try:
            with beside(self.path, "-journal").open("rb") as journal:
                return journal.read(1) not in (b"", b"\0")
        except FileNotFoundError:
            return False

    def _hold_the_wal(self, deadline: float) -> None:
        try:
            self._shm = open_for_reading(beside(self.path, "-shm"))
        except FileNotFoundError:
            return
        shm = self._shm
        if not locks.eventually(
            lambda: locks.take(shm, not locks.EXCLUSIVE, locks.READ_MARK), deadline
        ):
            raise _locked(self.path, locks.conflict(shm, not locks.EXCLUSIVE, locks.READ_MARK))
        self._shm_identity = _identity(shm)

    def _close(self) -> None:
        for fd in (self._shm, self.fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self._shm = -1
        self._shm_identity = None


def take_shared(fd: int, path: Path, deadline: float) -> None:
    """Take SHARED as SQLite does: PENDING first, so that waiting writers are let through."""

    def attempt() -> bool:
        if not locks.take(fd, not locks.EXCLUSIVE, locks.PENDING):
            return False
        taken = locks.take(fd, not locks.EXCLUSIVE, locks.SHARED)
        locks.give_back(fd, locks.PENDING)
        return taken

    if not locks.eventually(attempt, deadline):
        raise _locked(path, locks.conflict(fd, not locks.EXCLUSIVE, locks.DATABASE))


def snapshot(path: Path, copy: Path, timeout: float, progress: Progress | None = None) -> None:
    """Copy a database as it stands at one moment to ``copy``, recovered and in one file.

    Raises OSError, sqlite3.Error, and Failed (database-locked).  Not yet durable.
    """
    for _ in range(_RETRIES):
        with Reading(path, timeout) as reading:
            reading.copy_into(copy, progress)
            joined = reading.somebody_joined()
        if not joined:
            settle(copy)
            return
        for ending in ("-wal", "-journal"):
            beside(copy, ending).unlink(missing_ok=True)
    raise Failed(
        "database-locked", "The database was opened anew during every try.", where=str(path)
    )


def settle(copy: Path) -> None:
    """Let SQLite recover a copy, so that its one file is all of it.  Raises sqlite3.Error."""
    if beside(copy, "-wal").exists() or beside(copy, "-journal").exists():
        connection = sqlite3.connect(copy, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # needs no -shm
            connection.execute("PRAGMA synchronous=OFF")  # the caller makes it durable
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise sqlite3.OperationalError("the copy's WAL could not be moved into it")
        finally:
            connection.close()
        for ending in ("-wal", "-journal"):
            beside(copy, ending).unlink(missing_ok=True)
    with copy.open("rb") as file:
        Header.read(file.fileno()).check(copy.stat().st_size)
    connection = immutable(copy)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()


def read_still(
    path: Path,
    work: Callable[[Path, Callable[[], bool]], T],
    *,
    timeout: float,
    scratch: Path | None,
    fenced: bool,
) -> T:
    """Give ``work`` a file that nobody changes, and a question that it asks now and then.

    That file is the database itself if the file alone is all of it.  When a writer comes, the
    question is answered with True and ``work`` should end soon: it is then called again with a
    copy in a directory of its own below ``scratch``, as it is at once for a database in use.
    """
    with Reading(path, timeout) as reading:
        if reading.whole(fenced):
            try:
                result = work(path, reading.disturbed)
            except (sqlite3.Error, Failed):
                if not reading.disturbed():
                    raise
            else:
                if not reading.disturbed():
                    return result
    with TemporaryDirectory(prefix="crossfade-", dir=scratch) as directory:
        copy = Path(directory) / "copy"
        snapshot(path, copy, timeout)
        return work(copy, lambda: False)


def _copy_if_there(source: Path, target: Path) -> None:
    try:
        fd = open_for_reading(source)
    except FileNotFoundError:
        return
    try:
        copy_bytes(fd, target)
    finally:
        os.close(fd)


def _identity(fd: int) -> tuple[int, int]:
    state = os.fstat(fd)
    return state.st_dev, state.st_ino


def _locked(path: Path, holder: locks.Conflict | None) -> Failed:
    return Failed(
        "database-locked",
        f"The database stayed locked by {holder or 'somebody'}.",
        where=str(path),
    )
