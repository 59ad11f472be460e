"""The journal: an append-only SQLite file that survives us, and that a newer Crossfade reads.

Entries are keyed by upgrade, run and name (never by position); payloads are JSON.  Nothing is ever
updated or deleted but the lease's row.  Secrets are not for the journal: callers pass names.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crossfade.errors import JournalError

__all__ = ["SqliteJournal"]

SCHEMA_VERSION = 1
_TABLES = """
create table if not exists entry (
    seq integer primary key, at real not null, upgrade text not null, run text not null,
    name text not null, kind text not null, payload text not null
) strict;
create index if not exists entry_by_upgrade on entry (upgrade, kind);
create table if not exists lease (
    name text primary key, owner text not null, process text not null,
    since real not null, expires real not null
) strict;
"""


class SqliteJournal:
    """The journal of one state directory; ``upgrade`` chooses whose entries are read and written.

    Opening makes the file (mode 0600) and its tables where they are missing.  Raises JournalError
    when the file cannot be used, was written by a newer Crossfade, or its disk is full.
    """

    def __init__(self, path: Path, upgrade: str = "") -> None:
        self.path = path
        self.upgrade = upgrade
        with self.explained():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._db = self.connect()
            found = int(self._db.execute("pragma user_version").fetchone()[0])
            if found > SCHEMA_VERSION:
                raise JournalError(
                    "journal-newer",
                    f"The journal was written by a newer Crossfade (format {found}; "
                    f"this one knows {SCHEMA_VERSION}).",
                    where=str(path),
                    next="crossfade --version   (install that newer Crossfade, then try again)",
                )
            if found < SCHEMA_VERSION:
                self._db.executescript(f"{_TABLES} pragma user_version = {SCHEMA_VERSION};")

    def connect(self) -> sqlite3.Connection:
        """A further connection, for another thread."""
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")  # a finished step must survive a power cut
        return db

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's and the system's errors into a JournalError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise JournalError(
                "journal-full" if full else "journal-unusable",
                "The journal's disk is full." if full else f"The journal cannot be used: {error}.",
                where=str(self.path),
                next=f"df -h {self.path.parent}   (make room or mend the rights, then try again)",
            ) from error

    def append(self, run: str, name: str, kind: str, payload: Mapping[str, object]) -> None:
        """Add an entry; it is on disk when this returns."""
        text = json.dumps(payload, ensure_ascii=False, default=str)
        with self.explained():
            self._db.execute(
                "insert into entry (at, upgrade, run, name, kind, payload) values (?,?,?,?,?,?)",
                (time.time(), self.upgrade, run, name, kind, text),
            )

    def entries(
        self, *, run: str | None = None, kind: str | None = None
    ) -> Iterator[Mapping[str, object]]:
        """This upgrade's entries in order, as mappings: seq, at, run, name, kind, payload."""
        sql = "select seq, at, run, name, kind, payload from entry where upgrade = ?"
        values = [self.upgrade]
        for column, value in (("run", run), ("kind", kind)):
            if value is not None:
                sql += f" and {column} = ?"
                values.append(value)
        with self.explained():
            rows = self._db.execute(sql + " order by seq", values).fetchall()
        for seq, at, run_, name, kind_, payload in rows:
            yield {
                "seq": seq,
                "at": at,
                "run": run_,
                "name": name,
                "kind": kind_,
                "payload": json.loads(payload),
            }

    def everywhere(self, kind: str) -> Iterator[Mapping[str, object]]:
        """The entries of a kind of every upgrade in this journal, in order: name and payload."""
        sql = "select name, payload from entry where kind = ? order by seq"
        with self.explained():
            rows = self._db.execute(sql, (kind,)).fetchall()
        for name, payload in rows:
            yield {"name": name, "payload": json.loads(payload)}

    def upgrades(self) -> list[str]:
        """Ids of all upgrades in this journal, oldest first."""
        with self.explained():
            rows = self._db.execute("select upgrade from entry group by upgrade order by min(seq)")
            return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()
