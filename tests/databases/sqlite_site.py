"""A scratch site with a SQLite database, in either journal mode, and the processes around it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Self

from crossfade.drivers.databases.sqlite import SqliteDatabase
from crossfade.testing.databases import FileDatabase, eventually

WRITER = Path(__file__).with_name("sqlite_writer.py")

FENCE = """
import sys
from pathlib import Path
from crossfade.drivers.databases.sqlite import SqliteDatabase
fence = SqliteDatabase("app", Path(sys.argv[1])).fence()
print("fenced", flush=True)
sys.stdin.read()
"""


class WriterProcess:
    """The writing application as a process; see ``sqlite_writer.py``."""

    def __init__(self, path: Path) -> None:
        self._tokens: list[str] = []
        self._paused = 0
        self.process = subprocess.Popen(
            (sys.executable, WRITER, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def acknowledged(self) -> tuple[str, ...]:
        """All tokens that it told us of so far."""
        return tuple(self._tokens)

    def pause(self) -> None:
        """Stop writing but stay connected."""
        before = self._paused
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        eventually(lambda: self._paused > before, "the writer pauses")

    def stop(self) -> None:
        """End it in good order, so that it closes its database."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self._end()

    def kill(self) -> None:
        """End it at once, as by kill -9; fine when it has ended."""
        self.process.kill()
        self.process.wait()
        self._end()

    def _end(self) -> None:
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "paused\n":
                self._paused += 1
            else:
                self._tokens.append(line.strip())


class SqliteSite:
    """Implements ``crossfade.testing.databases.DatabaseSite``."""

    def __init__(self, root: Path, mode: str) -> None:
        self.scratch = root / "scratch"
        for directory in ("old", "new", "scratch"):
            (root / directory).mkdir()
        self.path = root / "old" / "app.db"
        self.placed = root / "new" / "app.db"
        self.old: FileDatabase = SqliteDatabase("app", self.path, scratch=self.scratch)
        self.new: FileDatabase = SqliteDatabase("app", self.placed, scratch=self.scratch)
        self._writers: list[WriterProcess] = []
        run(self.path, f"PRAGMA journal_mode={mode}", "CREATE TABLE tokens (token TEXT, filler)")
        run(self.path, "CREATE TABLE kinds (value)", "INSERT INTO kinds VALUES (1), ('abc')")

    def start_writer(self) -> WriterProcess:
        """Start a process that writes to the old side."""
        self._writers.append(WriterProcess(self.path))
        return self._writers[-1]

    def write_once(self) -> str:
        """Try one write to the old side: "" when committed, else the error."""
        done = subprocess.run(
            (sys.executable, WRITER, self.path, "once"), capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == bool(done.stdout)
        return done.stderr.strip()

    def tokens(self, database: FileDatabase) -> set[str]:
        """All tokens in a database that nobody writes to."""
        path = self.path if database is self.old else self.placed
        return {str(row[0]) for row in rows(path, "SELECT token FROM tokens")}

    def changes(self) -> dict[str, Callable[[], None]]:
        """Changes to the new side by name."""
        statements = {
            "one byte": "UPDATE kinds SET value = 'abd' WHERE value = 'abc'",
            "one row": "INSERT INTO kinds VALUES (1)",
            "one type": "UPDATE kinds SET value = 1.0 WHERE value = 1",
            "text": "UPDATE kinds SET value = '1' WHERE value = 1",
            "bytes": "UPDATE kinds SET value = x'616263' WHERE value = 'abc'",
            "nothing": "UPDATE kinds SET value = NULL WHERE value = 1",
            "schema": "CREATE INDEX by_token ON tokens (token)",
            "version": "PRAGMA user_version = 7",
        }
        return {name: lambda s=sql: run(self.placed, s) for name, sql in statements.items()}  # type: ignore[misc]

    def picture(self) -> object:
        """Name, content, mode, owner and times of every file beside the old database."""
        return picture(self.path.parent)

    def fence_command(self) -> tuple[str, ...]:
        """A program that fences the old side, prints a line, and waits for the end of its input."""
        return (sys.executable, "-c", FENCE, str(self.path))

    def close(self) -> None:
        """End whatever still runs."""
        for writer in self._writers:
            writer.kill()


class Client:
    """A process with one connection that executes what it is told, statement by statement."""

    CODE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0.2, isolation_level=None)
for line in sys.stdin:
    try:
        connection.execute(line).fetchall()
        print("ok", flush=True)
    except sqlite3.Error as error:
        print(error, flush=True)
connection.close()
"""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-c", self.CODE, str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def do(self, statement: str) -> str:
        """Execute one statement: "ok" or the error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(statement.replace("\n", " ") + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        """Close the connection in good order and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        """End at once, as by kill -9; fine when it has ended."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def sqlite_site(root: Path, mode: str) -> Iterator[SqliteSite]:
    """A site for one test."""
    site = SqliteSite(root, mode)
    try:
        yield site
    finally:
        site.close()


def picture(directory: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of the files in a directory, and of itself."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.iterdir()):
        state = path.stat()
        content = sha256(path.read_bytes()).hexdigest()
        times = (state.st_mtime_ns, state.st_ctime_ns)
        seen[path.name] = (content, state.st_mode, state.st_uid, state.st_nlink, *times)
    return seen


def run(path: Path, *statements: str) -> None:
    """Execute statements on a database and close it again."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """All rows of a query on a database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(query).fetchall()
