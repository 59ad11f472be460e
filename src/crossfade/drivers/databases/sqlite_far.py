"""A SQLite database on another machine, reached by commands; no Python and no sqlite3 there.

Its files are fetched as bytes, and SQLite recovers the copy here.  There are no locks across
machines, so a copy of a database in use counts only when nothing disturbed it meanwhile:

- with a rollback journal, the counter in the file's header is the same before and after, and no
  journal has to be played back;
- in WAL mode, the file and the WAL's header (its salts) are the same: then the WAL only grew, and
  whatever SQLite does not find complete at its end was not yet committed.

See https://www.sqlite.org/fileformat.html (change counter, WAL header and checkpoints).
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from crossfade.drivers.databases.sqlite_files import beside, explained, unlink_with_companions
from crossfade.drivers.databases.sqlite_reading import settle
from crossfade.errors import Failed
from crossfade.model import Digest, Finding
from crossfade.ports import DatabaseTraits, Host, Progress

if TYPE_CHECKING:
    from crossfade.drivers.databases.sqlite import SqliteDatabase
    from crossfade.drivers.databases.sqlite_carrier import SqliteCarrier

__all__ = ["FarSqlite", "NobodyThere"]

T = TypeVar("T")
_CHUNK: Final = 1 << 20
_TRIES: Final = 20

_MARKS: Final = (
    'for f in "$1" "$1-wal" "$1-journal" "$1-shm"; do '
    'stat -Lc "%s %.9Y %i" -- "$f" 2>/dev/null || echo none; done; '
    'hex() { od -An -v -tx1 | tr -d " \\n"; echo; }; '
    'head -c 100 -- "$1" | hex; head -c 32 -- "$1-wal" 2>/dev/null | hex; '
    'head -c 1 -- "$1-journal" 2>/dev/null | hex; head -c 48 -- "$1-shm" 2>/dev/null | hex'
)
_USERS: Final = (
    'find /proc/[0-9]*/fd \\( -lname "$1" -o -lname "$1-wal" -o -lname "$1-shm" \\) '
    "2>/dev/null | cut -d/ -f3 | sort -un"
)
# The size is looked at because a cut link looks like the end of the data.
_PLACE: Final = (
    'umask 077; d=$(dirname -- "$1"); mkdir -p -- "$d" && rm -f -- "$1.partial" || exit; '
    'head -c "$2" > "$1.partial" && [ "$(stat -c %s -- "$1.partial")" = "$2" ] || exit; '
    'if [ -e "$1" ]; then like=$1; chmod --reference="$like" -- "$1.partial"; else like=$d; fi; '
    'if [ "$(id -u)" = 0 ]; then chown --reference="$like" -- "$1.partial" || exit; fi; '
    'sync -- "$1.partial" && rm -f -- "$1-wal" "$1-shm" "$1-journal" && '
    'mv -fT -- "$1.partial" "$1" && sync -- "$d"'
)


def _moved(source: BinaryIO, into: BinaryIO, rate: int) -> Iterator[int]:
    """Move everything, at most ``rate`` bytes a second when that is not 0; how many each time."""
    began, moved = time.monotonic(), 0
    while chunk := source.read(min(_CHUNK, rate // 4 + 1) if rate else _CHUNK):
        into.write(chunk)
        moved += len(chunk)
        yield len(chunk)
        if rate:
            time.sleep(max(0.0, moved / rate - (time.monotonic() - began)))


@dataclass(frozen=True, slots=True)
class _Marks:
    """What the files of a database are like now; ``none`` for a file that is missing."""

    file: str
    wal: str
    journal: str
    index: str
    header: str
    wal_header: str
    journal_begins: str
    index_header: str

    @property
    def size(self) -> int:
        """Bytes of all that holds data."""
        parts = (self.file, self.wal, self.journal)
        return sum(int(part.split()[0]) for part in parts if part != "none")

    @property
    def hot(self) -> bool:
        """Whether a journal may have to be played back."""
        return self.journal_begins not in ("", "00")

    @property
    def whole(self) -> bool:
        """Whether the file alone is the whole database."""
        return not self.hot and (self.wal == "none" or self.wal.startswith("0 "))

    def undisturbed(self, after: _Marks) -> bool:
        """Whether what was copied between these two looks is one state of the database."""
        same = (self.file, self.header, self.wal_header, self.hot)
        return same == (after.file, after.header, after.wal_header, after.hot)


class NobodyThere:
    """The fence of a database that nobody has open: the program is stopped, and that is all."""

    def close(self) -> None:
        """Nothing holds."""

    def keep(self) -> None:
        """Nothing holds."""


class FarSqlite:
    """The database file at ``path`` of another machine; implements ``ports.Database``.

    scratch is where it is put for a while when it has to be read as a whole.  rate is how many
    bytes a second are fetched or placed at most; 0 means as many as go."""

    traits = DatabaseTraits(
        strategy="dump",
        fence="nothing is locked: its program is stopped, and nobody else may have it open",
        lasting_position=True,
    )

    def __init__(
        self, name: str, path: Path, host: Host, *, scratch: Path | None = None, rate: int = 0
    ) -> None:
        self.name = name
        self.path = path
        self.host = host
        self.scratch = scratch
        self.rate = rate

    def hurried(self) -> FarSqlite:
        """The same database, inside the pause: no rate is kept."""
        return FarSqlite(self.name, self.path, self.host, scratch=self.scratch)

    def describe(self) -> str:
        """Kind, place and mode in a few words."""
        mode = "WAL" if self._marks().header[36:38] == "02" else "rollback journal"
        return f"SQLite file {self.path} on {self.host.name} ({mode})"

    def version(self) -> str:
        """Version of the SQLite library that we use."""
        return sqlite3.sqlite_version

    def size(self) -> int:
        """Bytes of the file with its WAL or journal."""
        return self._marks().size

    def copy_to(self, target: Path, progress: Progress | None = None) -> int:
        """A consistent copy in one file of this machine (mode 0600).  Raises Failed:
        database-locked when it is disturbed again and again."""
        partial = beside(target, ".partial")
        with explained(f"copy the database to {target}", self.path):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                for tried in range(_TRIES):
                    unlink_with_companions(partial)
                    if self._fetched(partial, progress, patient=tried < _TRIES - 1):
                        settle(partial)
                        partial.chmod(0o600)
                        partial.replace(target)
                        return target.stat().st_size
                    time.sleep(0.1 * tried)
            except BaseException:
                unlink_with_companions(partial)
                raise
        raise Failed(
            "database-locked",
            "The database was written again and again while it was copied.",
            where=f"{self.path} on {self.host.name}",
        )

    def _fetched(self, partial: Path, progress: Progress | None, *, patient: bool) -> bool:
        """Fetch all files; whether that is one state.  A journal that stays as it is while nobody
        has the database open is that of a writer that was killed."""
        before = self._marks()
        if before.hot and (patient and self._users()):
            return False
        total, done = before.size, 0
        for ending, there in (("", "0"), ("-wal", before.wal), ("-journal", before.journal)):
            if there == "none" or (ending == "-journal" and not before.hot):
                continue
            source = ("cat", "--", str(beside(self.path, ending)))
            with self.host.reading(source) as data, beside(partial, ending).open("wb") as file:
                for count in _moved(data, file, self.rate):
                    done += count
                    if progress:
                        progress(min(done, total), total)
        return before.undisturbed(self._marks())

    def place(self, copy: Path, *, move: bool = False) -> None:
        """Make this database equal to a copy of this machine; ``move`` lets the copy go."""
        if users := self._users():
            raise Failed(
                "database-in-use",
                f"The database is still open in process {', '.join(users)} on {self.host.name}.",
                where=str(self.path),
            )
        size = copy.stat().st_size
        words = ("sh", "-c", _PLACE, "sh", str(self.path), str(size))
        with copy.open("rb") as source, self.host.feeding(words) as into:
            for _ in _moved(source, into, self.rate):
                continue
        if not self.matches(copy):
            raise Failed(
                "copy-differs",
                f"The database does not read back as it was written to {self.host.name}.",
                where=str(self.path),
            )
        if move:
            copy.unlink()

    def matches(self, copy: Path) -> bool:
        """Whether this database is, byte for byte, a file of this machine."""
        if not self._marks().whole:
            return False
        done = self.host.run(("sha256sum", "--", str(self.path)), timeout=86400)
        with copy.open("rb") as file:
            here = hashlib.file_digest(file, "sha256").hexdigest()
        return done.out.decode().lstrip("\\").split()[0] == here

    def digest(self) -> Digest:
        """Rows and checksum of every table, taken of a copy here."""
        return self._with_copy(lambda copy: copy.digest())

    def sound(self) -> Finding:
        """SQLite's own integrity check, of a copy here."""
        return self._with_copy(lambda copy: copy.sound())

    def export_beyond(self, other: Path, to: Path) -> int:
        """Write the rows that the database file at ``other``, here, lacks as ``to/<table>.jsonl``;
        how many."""
        return self._with_copy(lambda copy: copy.export_beyond(other, to))

    def position(self) -> str:
        """A mark that changes with every commit."""
        marks = self._marks()
        seen = (marks.file, marks.header, marks.wal_header, marks.wal, marks.index_header)
        return hashlib.blake2b("\0".join(seen).encode(), digest_size=8).hexdigest()

    def fence(self) -> NobodyThere:
        """Its program is stopped already; raises Failed (database-in-use) if anybody has it."""
        if users := self._users():
            raise Failed(
                "database-in-use",
                f"The database is still open in process {', '.join(users)} on {self.host.name}.",
                where=str(self.path),
            )
        return NobodyThere()

    def prove_fence(self) -> Finding:
        """Who has it open now."""
        users = self._users()
        return Finding.equal(
            f"processes on {self.host.name} that have {self.path.name} open",
            0,
            len(users),
            "its open files in /proc",
        )

    def lift(self) -> None:
        """Nothing holds."""

    def remove(self) -> None:
        """Remove the file with its WAL and journal (new side only)."""
        for ending in (".partial", "-wal", "-shm", "-journal", ""):
            self.host.remove(beside(self.path, ending))

    def carrier(self, new: SqliteDatabase | FarSqlite, directory: Path, tag: str) -> SqliteCarrier:
        """The means to carry this database to ``new``."""
        from crossfade.drivers.databases.sqlite_carrier import SqliteCarrier

        del tag
        return SqliteCarrier(self, new, directory)

    def _with_copy(self, work: Callable[[SqliteDatabase], T]) -> T:
        from crossfade.drivers.databases.sqlite import SqliteDatabase

        with TemporaryDirectory(prefix="crossfade-", dir=self.scratch) as directory:
            copy = Path(directory) / self.path.name
            self.copy_to(copy)
            return work(SqliteDatabase(self.name, copy))

    def _marks(self) -> _Marks:
        done = self.host.run(("sh", "-c", _MARKS, "sh", str(self.path)))
        marks = _Marks(*done.out.decode("ascii").splitlines())
        if marks.file == "none":
            raise Failed(
                "database-missing",
                f"There is no database {self.path} on {self.host.name}.",
                where=str(self.path),
            )
        return marks

    def _users(self) -> list[str]:
        """Process ids that have one of its files open, as far as we may look."""
        real = self.host.run(("readlink", "-m", "--", str(self.path))).out
        pattern = re.sub(
            r"([\\*?\[\]])", r"\\\1", real.decode(errors="surrogateescape").rstrip("\n")
        )
        return self.host.run(("sh", "-c", _USERS, "sh", pattern)).out.decode().split()
