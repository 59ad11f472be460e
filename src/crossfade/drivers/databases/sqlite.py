"""SQLite: a database that is one file, copied and fenced with the kernel's means."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from crossfade.drivers.databases import sqlite_export
from crossfade.drivers.databases.sqlite_carrier import SqliteCarrier
from crossfade.drivers.databases.sqlite_digest import digest_file
from crossfade.drivers.databases.sqlite_fence import Fence, prove, refuse_if_in_use
from crossfade.drivers.databases.sqlite_files import (
    Header,
    beside,
    copy_bytes,
    explained,
    immutable,
    length,
    open_for_reading,
    sync_directory,
    unlink_with_companions,
)
from crossfade.drivers.databases.sqlite_position import position
from crossfade.drivers.databases.sqlite_reading import Reading, read_still, snapshot
from crossfade.errors import Failed
from crossfade.model import Digest, Finding
from crossfade.ports import DatabaseTraits, Progress

__all__ = ["SqliteDatabase", "digests", "same_bytes"]

T = TypeVar("T")

_COMPARED = 1 << 20


class SqliteDatabase:
    """The SQLite database file at ``path``; implements ``crossfade.ports.Database``.

    busy_timeout is how many seconds to wait for a lock.  scratch is where a copy is put for a
    while when a database in use has to be read as a whole (default: the system's place).
    """

    traits = DatabaseTraits(
        strategy="dump", fence="kernel locks, held by the runner", lasting_position=True
    )

    def __init__(
        self, name: str, path: Path, *, busy_timeout: float = 10.0, scratch: Path | None = None
    ) -> None:
        self.name = name
        self.path = path
        self.busy_timeout = busy_timeout
        self.scratch = scratch
        self._fence: Fence | None = None

    @property
    def fenced(self) -> bool:
        """Whether a fence that this object took still holds."""
        return self._fence is not None and self._fence.holds

    def describe(self) -> str:
        """Kind, place and mode in a few words."""
        with explained("read the database", self.path):
            fd = open_for_reading(self.path)
            try:
                wal = Header.read(fd).wal
            finally:
                os.close(fd)
        mode = "WAL" if wal else "rollback journal; its writers wait while it is copied"
        return f"SQLite file {self.path} ({mode})"

    def version(self) -> str:
        """Version of the SQLite library that we use."""
        return sqlite3.sqlite_version

    def size(self) -> int:
        """Bytes of the file with its WAL or journal."""
        with explained("read the database", self.path):
            rest = sum(length(beside(self.path, ending)) for ending in ("-wal", "-journal"))
            return self.path.stat().st_size + rest

    def copy_to(self, target: Path, progress: Progress | None = None) -> int:
        """A consistent copy in one file (mode 0600), made while the application writes.

        Ends with a structural check of the copy, except while our fence holds: then time is
        dear, and ``sound`` and the digests follow anyway.
        """
        partial = beside(target, ".partial")
        with explained(f"copy the database to {target}", self.path):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            unlink_with_companions(partial)
            try:
                snapshot(self.path, partial, self.busy_timeout, progress)
                if not self.fenced:
                    _check(partial)
                return _put_in_place(partial, target)
            except BaseException:
                unlink_with_companions(partial)
                raise

    def place(self, copy: Path, *, move: bool = False) -> None:
        """Make this database equal to a copy that ``copy_to`` made (new side only).

        With ``move``, and on one file system, the copy itself becomes the database."""
        partial = beside(self.path, ".partial")
        with explained(f"put {copy} in place of the database", self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.exists():
                refuse_if_in_use(self.path)
            source = open_for_reading(copy)
            try:
                if not (move and _renamed(copy, partial)):
                    copy_bytes(source, partial)
                self._keep_owner(partial)
                for ending in ("-wal", "-shm", "-journal"):
                    beside(self.path, ending).unlink(missing_ok=True)
                _put_in_place(partial, self.path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            finally:
                os.close(source)

    def matches(self, copy: Path) -> bool:
        """Whether this database is, byte for byte, a copy that ``copy_to`` made."""
        return self.path.exists() and same_bytes(self, SqliteDatabase(self.name, copy)).holds

    def digest(self) -> Digest:
        """Rows and checksum of every table, and of the schema, at one moment."""
        return self._read(
            "digest the database", lambda file, asked: Digest(digest_file(file, asked))
        )

    def sound(self) -> Finding:
        """SQLite's own integrity check; broken foreign keys are told, but do not fail it."""
        return self._read("check the database", self._sound)

    def position(self) -> str:
        """A mark that changes with every commit; see ``sqlite_position`` for when else."""
        with explained("read the database", self.path):
            return position(self.path)

    def fence(self) -> Fence:
        """Refuse writes from everybody until closed."""
        if self._fence is None or not self._fence.holds:
            self._fence = Fence.take(self.path, self.busy_timeout)
        return self._fence

    def prove_fence(self) -> Finding:
        """Ask the kernel whether a writer would be refused right now."""
        return prove(self.path)

    def lift(self) -> None:
        """The kernel's locks end with whoever holds them; nothing is ever kept."""

    def carrier(self, new: SqliteDatabase, directory: Path, tag: str) -> SqliteCarrier:
        """The means to carry this database to ``new``."""
        del tag  # nothing is made that would need a name of its own
        return SqliteCarrier(self, new, directory)

    def export_beyond(self, other: Path, to: Path) -> int:
        """Write the rows that the database file at ``other`` lacks as ``to/<table>.jsonl``.

        Compared are the columns that both have; rows that are there several times count once.
        """
        there = SqliteDatabase(self.name, other, busy_timeout=self.busy_timeout)
        there.scratch = self.scratch

        def here(file: Path, _: Callable[[], bool]) -> int:
            return there._read(
                "read the other database",
                lambda other_file, _: sqlite_export.export_beyond(file, other_file, to),
            )

        return self._read(f"export rows to {to}", here)

    def remove(self) -> None:
        """Remove the file with its WAL and journal (new side only)."""
        with explained("remove the database", self.path):
            unlink_with_companions(beside(self.path, ".partial"))
            unlink_with_companions(self.path)

    def _read(self, doing: str, work: Callable[[Path, Callable[[], bool]], T]) -> T:
        with explained(doing, self.path):
            return read_still(
                self.path,
                work,
                timeout=self.busy_timeout,
                scratch=self.scratch,
                fenced=self.fenced,
            )

    def _sound(self, file: Path, disturbed: Callable[[], bool]) -> Finding:
        try:
            problems, orphans = _checked(file, disturbed)
        except sqlite3.DatabaseError as error:
            if disturbed():
                raise
            problems, orphans = [str(error)], "not looked at"
        observed = " ".join(problems[0].split()) + (
            f" and {len(problems) - 1} more" if problems[1:] else ""
        )
        return Finding(
            claim=f"{self.name} is a sound SQLite database",
            expected="ok",
            observed=f"{observed}; broken foreign keys: {orphans}",
            source=f"PRAGMA integrity_check and foreign_key_check of {self.path}",
            holds=problems == ["ok"],
        )

    def _keep_owner(self, partial: Path) -> None:
        """Give a file that will replace ours the mode and owner that ours has."""
        try:
            before = self.path.stat()
        except FileNotFoundError:
            return
        now = partial.stat()
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            os.chown(partial, before.st_uid, before.st_gid)
        partial.chmod(before.st_mode & 0o7777)


def digests(a: SqliteDatabase, b: SqliteDatabase) -> tuple[Digest, Digest]:
    """The digests of two databases, for the pause: several processes, nothing read twice.

    Files that are equal byte for byte have equal digests, so that then only one is taken apart.
    """
    first = a.digest()
    if same_bytes(a, b).holds:
        return first, first
    return first, b.digest()


def same_bytes(a: SqliteDatabase, b: SqliteDatabase) -> Finding:
    """Whether two databases are the same, byte for byte, with nothing left in a WAL or journal.

    The strongest proof that nothing was lost by copying, and the fastest: as fast as memory.
    """
    with (
        explained("compare the databases", a.path),
        Reading(a.path, a.busy_timeout) as one,
        Reading(b.path, b.busy_timeout) as two,
    ):
        whole = one.whole(a.fenced) and two.whole(b.fenced)
        same = whole and _equal(one.fd, two.fd)
        same = same and not one.disturbed() and not two.disturbed()
    return Finding(
        claim=f"{a.name} is the same on both sides",
        expected="equal bytes",
        observed="equal bytes" if same else "different bytes" if whole else "a database in use",
        source=f"all bytes of {a.path} and {b.path}",
        holds=same,
    )


def _equal(a: int, b: int) -> bool:
    """Whether two open files have equal bytes."""
    if os.fstat(a).st_size != os.fstat(b).st_size:
        return False
    one, two = bytearray(_COMPARED), bytearray(_COMPARED)
    offset = 0
    while read := os.preadv(a, [one], offset):
        if os.preadv(b, [two], offset) != read or one != two:
            return False
        offset += read
    return True


def _checked(file: Path, disturbed: Callable[[], bool]) -> tuple[list[str], str]:
    """What SQLite's two checks say: problems ("ok" alone if none) and broken foreign keys."""
    with file.open("rb") as opened:
        Header.read(opened.fileno()).check(length(file))
    connection = immutable(file)
    try:
        connection.set_progress_handler(lambda: int(disturbed()), 50_000)
        problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        orphans = len(connection.execute("PRAGMA foreign_key_check").fetchall())
        return problems, str(orphans)
    finally:
        connection.close()


def _check(copy: Path) -> None:
    """Raise Failed (database-corrupt) when the structure of a copy is broken."""
    connection = immutable(copy)
    try:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    finally:
        connection.close()
    if problem != "ok":
        raise Failed(
            "database-corrupt", f"The database is corrupt: {problem}.", where=f"copy {copy}"
        )


def _renamed(copy: Path, partial: Path) -> bool:
    """Move a file, if both places are on one file system."""
    try:
        copy.rename(partial)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    return True


def _put_in_place(partial: Path, target: Path) -> int:
    """Make a finished file durable and give it its name; returns its bytes."""
    fd = open_for_reading(partial)
    try:
        os.fsync(fd)
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    partial.replace(target)
    sync_directory(target.parent)
    return size
