"""The fence of a SQLite database: locks of the kernel that keep every writer out.

They are read locks, taken through read-only descriptors, on exactly the bytes that a writer must
lock for itself; so the fence writes nothing, readers are not disturbed, and it ends with us,
however we end.

With a rollback journal a writer needs RESERVED, then PENDING and SHARED.  In WAL mode it needs
WRITE on the -shm file.  An application that stopped cleanly removed that file.  Then we make it,
which is the one thing that a fence creates: the size of an index but empty, so that whoever comes
has to rebuild it first, and with RECOVER locked for writing, so that they are told at once that
the database is locked.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from crossfade.drivers.databases import sqlite_locks as locks
from crossfade.drivers.databases.sqlite_files import (
    Header,
    beside,
    explained,
    identity,
    open_for_reading,
)
from crossfade.drivers.databases.sqlite_reading import Reading, take_shared
from crossfade.errors import Failed
from crossfade.model import Finding

__all__ = ["Fence", "prove", "refuse_if_in_use"]

_INDEX_BYTES = 32768  # what SQLite maps first; a smaller file would make it wait for ten seconds
_kept: list[int] = []
"""Descriptors of -shm files that we removed while somebody may have been opening them: their
locks must outlive that moment, and so stay until this process ends."""


@dataclass(slots=True)
class Fence:
    """A fence that holds until ``close``, or until this process ends, however it ends."""

    path: Path
    database: int
    shm: int = -1
    made: bool = False

    @classmethod
    def take(cls, path: Path, timeout: float) -> Fence:
        """Take all locks.  Raises Failed: database-in-use, database-locked, database-missing."""
        with explained("fence the database", path):
            deadline = time.monotonic() + timeout
            fence = cls(path, open_for_reading(path))
            try:
                refuse_if_in_use(path)
                with Reading(path, timeout) as reading:
                    hot = reading.hot_journal()
                    wal = Header.read(reading.fd).wal or beside(path, "-wal").exists()
                take_shared(fence.database, path, deadline)
                # Readers would take a locked RESERVED for a living writer and not see a hot
                # journal.  SHARED alone refuses whoever would play the journal back.
                fence._lock(fence.database, locks.PENDING, deadline)
                if not hot:
                    fence._lock(fence.database, locks.RESERVED, deadline)
                if wal:
                    fence._lock_the_wal(deadline)
            except BaseException:
                fence.close()
                raise
        return fence

    @property
    def holds(self) -> bool:
        """Whether ``close`` was not called yet."""
        return self.database >= 0

    def close(self) -> None:
        """Lift the fence; fine when it is lifted."""
        if not self.holds:
            return
        if self.made:
            self._remove_shm()
        for fd in (self.shm, self.database):
            if fd >= 0 and fd not in _kept:
                os.close(fd)
        self.database = self.shm = -1

    def keep(self) -> None:
        """Nothing to do: users come to the old side through the gate only."""

    def _lock_the_wal(self, deadline: float) -> None:
        shm = beside(self.path, "-shm")
        try:
            self.shm = open_for_reading(shm)
        except FileNotFoundError:
            self._make_shm(shm)
        self._lock(self.shm, locks.WRITE, deadline)
        self._lock(self.shm, locks.CHECKPOINT, deadline)

    def _make_shm(self, shm: Path) -> None:
        """Make it as SQLite would: with the owner and the mode of the database."""
        like = os.fstat(self.database)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.shm = os.open(shm, flags, like.st_mode & 0o777)
        self.made = True
        if os.geteuid() == 0:
            os.fchown(self.shm, like.st_uid, like.st_gid)
        os.ftruncate(self.shm, _INDEX_BYTES)
        locks.take(self.shm, locks.EXCLUSIVE, locks.RECOVER)
        # Connected, as far as others can see: so nobody shrinks the file on opening it.
        locks.take(self.shm, not locks.EXCLUSIVE, locks.CONNECTED)

    def _remove_shm(self) -> None:
        """Remove the -shm file that we made, unless somebody uses it.

        Nobody can have replaced it, for that takes SHARED.  With CONNECTED locked for writing
        nobody can begin to use it; who has just opened it is refused and opens again by name.
        """
        shm = beside(self.path, "-shm")
        state = os.fstat(self.shm)
        ours = identity(shm) == (state.st_dev, state.st_ino)
        if ours and locks.take(self.shm, locks.EXCLUSIVE, locks.CONNECTED):
            shm.unlink()
            if locks.conflict(self.database, locks.EXCLUSIVE, locks.SHARED) is not None:
                _kept.append(self.shm)

    def _lock(self, fd: int, span: locks.Span, deadline: float) -> None:
        if not locks.eventually(lambda: locks.take(fd, not locks.EXCLUSIVE, span), deadline):
            holder = locks.conflict(fd, not locks.EXCLUSIVE, span)
            raise Failed(
                "database-in-use",
                f"The database is being written by {holder or 'somebody'}.",
                where=str(self.path),
            )


def refuse_if_in_use(path: Path) -> None:
    """Raise Failed (database-in-use) when a process has the database open for writing.

    Seen are processes that we may look at, and in WAL mode every one, by its lock.
    """
    files = (path, beside(path, "-wal"), beside(path, "-shm"), beside(path, "-journal"))
    users = [locks.command_of(pid) for pid in locks.writing_processes(files)]
    if not users:
        user = _connected(path)
        users = [str(user)] if user is not None else []
    if users:
        raise Failed(
            "database-in-use",
            f"The database is still open for writing in {', '.join(users)}.",
            where=str(path),
        )


def _connected(path: Path) -> locks.Conflict | None:
    try:
        shm = open_for_reading(beside(path, "-shm"))
    except FileNotFoundError:
        return None
    try:
        return locks.conflict(shm, locks.EXCLUSIVE, locks.CONNECTED)
    finally:
        os.close(shm)


def prove(path: Path) -> Finding:
    """Ask the kernel whether the locks that a writer needs would be refused now."""
    with explained("try the fence", path):
        refusals = _refusals(path)
    open_ways = [name for name, found in refusals.items() if found is None]
    writers = [
        f"{name} by {found}" for name, found in refusals.items() if found and found.exclusive
    ]
    if writers:
        observed = f"a writer is at work: holds {', '.join(writers)}"
    elif open_ways:
        observed = f"a writer could lock {', '.join(open_ways)}"
    else:
        observed = f"refused: {', '.join(refusals)}"
    return Finding(
        claim=f"nobody can write to {path.name}",
        expected=f"refused: {', '.join(refusals)}",
        observed=observed,
        source="F_OFD_GETLK for a writer's locks, asked of the kernel through read-only files",
        holds=not writers and not open_ways,
    )


def _refusals(path: Path) -> dict[str, locks.Conflict | None]:
    """Who would refuse each lock that a writer needs, by the lock's name."""
    asked: list[tuple[str, Path, locks.Span]] = []
    with Reading(path, 1.0) as reading:
        hot = reading.hot_journal()
        wal = Header.read(reading.fd).wal or beside(path, "-wal").exists()
    # PENDING, which a writer needs before SHARED, because ordinary readers hold SHARED too.
    asked.append(("PENDING", path, locks.PENDING))
    if not hot:
        asked.append(("RESERVED", path, locks.RESERVED))
    if wal:
        asked.append(("WRITE of the WAL", beside(path, "-shm"), locks.WRITE))
    return {name: _would_refuse(file, span) for name, file, span in asked}


def _would_refuse(file: Path, span: locks.Span) -> locks.Conflict | None:
    try:
        fd = open_for_reading(file)
    except FileNotFoundError:
        return None
    try:
        return locks.conflict(fd, locks.EXCLUSIVE, span)
    finally:
        os.close(fd)
