"""How an SQLite database gets to the new side: its file is copied, again inside the pause."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from crossfade.model import Digest, Finding
from crossfade.ports import Carrying, Doing, Kept, Progress, WayBack

if TYPE_CHECKING:
    from crossfade.drivers.databases.sqlite import SqliteDatabase
    from crossfade.drivers.databases.sqlite_far import FarSqlite

__all__ = ["SqliteCarrier"]

_TRIES, _SMALL = 5, 16_000_000


class SqliteCarrier:
    """Implements ``ports.Carrier`` by whole copies; ``directory`` is the attempt's own place."""

    def __init__(
        self,
        old: SqliteDatabase | FarSqlite,
        new: SqliteDatabase | FarSqlite,
        directory: Path,
    ) -> None:
        self.name = old.name
        self.old = old
        self.new = new
        self.directory = directory
        self._taken = False

    def preview(self) -> Carrying:
        """Copied once before the pause and once inside it."""
        size = self.old.size()
        actions = (f"copy database {self.name} ({self.old.describe()}) while it is in use",)
        return Carrying(
            "dump",
            size=size,
            actions=actions,
            needs={self.directory: size},
            needs_there={self.new.path.parent: 2 * size},
        )

    def keep(self, on: Doing, to: Path) -> Kept:
        """A copy, put in place once as a database and read as a whole; ``back_up`` takes it."""
        file, trial = to / f"{quote(self.name, safe=' ')}.sqlite", to / "restored.sqlite"
        restored = self._at(self.name, trial)
        with on.progress(f"backing up database {self.name}") as bar:
            there, still = self._copied(file, bar)
        try:
            restored.place(file)
            digest = restored.digest()
        finally:
            restored.remove()
        differing = there.differences(digest)
        seen = str(digest)
        if differing:
            seen += f"; {'differs' if still else 'in use meanwhile'}: {', '.join(differing[:5])}"
        claim = f"database {self.name}, restored from its backup, is equal on both sides"
        source = "rows and checksum of every table, on both sides"
        equal = Finding(claim, str(there), seen, source, not (differing and still))
        _same_file(file, self._kept("backup"))
        self._taken = True
        how = (("cp", file.name, f"RESTORED/{self.old.path.name}"),)
        findings = (self._at(self.name, file).sound(), equal)
        return Kept(file.name, "sqlite", self.old.version(), digest, findings, how)

    def _copied(self, to: Path, bar: Progress) -> tuple[Digest, bool]:
        """A copy and the old side's digest, and whether nobody wrote between the two.

        A snapshot that both could be taken from would be a file of ours beside the old database.
        So a small one is tried again; of a busy one the tables that stand still are compared."""
        for _ in range(_TRIES if self.old.size() < _SMALL else 1):
            before = self.old.position()
            self.old.copy_to(to, bar)
            digest = self.old.digest()
            still = self.old.position() == before
            if still:
                break
        return digest, still

    def back_up(self, on: Doing) -> list[Finding]:
        """A copy in the attempt's own place, proven by SQLite's integrity check."""
        with on.timed(f"copy {self.name}"), on.progress(f"copying database {self.name}") as bar:
            if not self._taken:
                self.old.copy_to(self._kept("backup"), bar)
        with on.timed(f"verify {self.name}"):
            return [self._copy("backup").sound()]

    def restore(self, on: Doing) -> list[Finding]:
        """The copy becomes the new side's database."""
        with on.timed(f"place {self.name}"):
            self.new.place(self._kept("backup"))
        with on.timed(f"digest {self.name}"):
            copied, placed = self._copy("backup").digest(), self.new.digest()
        return [Finding.same(f"database {self.name}", copied, placed)]

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The whole file again.  Equal bytes are the proof, and a quick one."""
        last = self._kept("last")
        with on.timed(f"copy {self.name}"):
            _hurried(self.old).copy_to(last)
        with on.timed(f"compare {self.name}"):
            proof = self._equal(last) if still else self._reads_back(last)
        with on.timed(f"place {self.name}"):
            _hurried(self.new).place(last, move=True)
        return [proof]

    def _equal(self, last: Path) -> Finding:
        """Only where the old side was left with a journal of its own are rows and checksums taken
        inside the pause (otherwise ``after_commit`` records them, after the release)."""
        if self.old.matches(last):
            claim = f"database {self.name}: the last copy is the old side's, byte for byte"
            return Finding.equal(claim, True, True, "all bytes of both")
        return Finding.same(
            f"database {self.name}", _hurried(self.old).digest(), self._copy("last").digest()
        )

    def _reads_back(self, last: Path) -> Finding:
        """The old side works on, so there is nothing to compare with; the time is the pause's."""
        whole = self._copy("last").matches(last)
        claim = f"the last copy of database {self.name} reads back whole"
        return Finding.equal(claim, True, whole, "all bytes")

    def mark(self) -> str:
        """Changes with every commit."""
        return self.old.position()

    def begin_way_back(self) -> None:
        """There is nothing to prepare."""

    def keep_way_back(self, on: Doing) -> list[Finding]:
        """SQLite has no replication: what the new side writes would stay behind."""
        del on
        return []

    def after_commit(self, on: Doing) -> list[Finding]:
        """For the record: what the new side began with (the old one is still as at the fence)."""
        with on.timed("digests"):
            digest: Digest = self.old.digest()
        claim = f"database {self.name} as carried"
        return [Finding(claim, "tables", str(digest), "digest", bool(digest.parts))]

    def way_back(self) -> WayBack:
        """There is no reverse feed."""
        return WayBack(False, f"database {self.name}: SQLite has no feed back to the old side")

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """Keep what only the new side has: the whole database, and its extra rows as JSON lines."""
        del on
        _hurried(self.new).copy_to(to.with_name(f"{self.name}.database"))
        still = self.directory / "old" / self.name
        _hurried(self.old).copy_to(still)
        return [], _hurried(self.new).export_beyond(still, to)

    def follow_back(self) -> list[Finding]:
        """There is no reverse feed."""
        return []

    def leavings(self) -> tuple[str, ...]:
        """Nothing is ever made on the old side."""
        return ()

    def let_go(self) -> list[Finding]:
        """Nothing was made on the old side."""
        return []

    def retire(self, on: Doing, archive: Path) -> list[Finding]:
        """The file is archived and removed with the old side's data."""
        del on, archive
        return []

    def _kept(self, kind: str) -> Path:
        return self.directory / kind / self.name

    def _copy(self, kind: str) -> SqliteDatabase:
        return self._at(self.name, self._kept(kind))

    @staticmethod
    def _at(name: str, path: Path) -> SqliteDatabase:
        from crossfade.drivers.databases.sqlite import SqliteDatabase

        return SqliteDatabase(name, path)


def _same_file(kept: Path, to: Path) -> None:
    """Nobody writes to either, so they may be one; on another file system it is copied."""
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    to.unlink(missing_ok=True)
    try:
        os.link(kept, to)
    except OSError:
        shutil.copy2(kept, to)


def _hurried(database: SqliteDatabase | FarSqlite) -> SqliteDatabase | FarSqlite:
    """The rate that the operator allows is for copies outside the pause."""
    from crossfade.drivers.databases.sqlite_far import FarSqlite

    return database.hurried() if isinstance(database, FarSqlite) else database
