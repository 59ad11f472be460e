"""Rows and checksum of every table of a SQLite file that nobody changes meanwhile.

The checksum of a table is BLAKE2b over the stored values of its rows, in the order of its b-tree
(by rowid, or by primary key for WITHOUT ROWID tables); the rowid itself counts only where it is a
column.  VACUUM keeps that order.  Each row is encoded with the second version of the marshal
format, which is exact and keeps the five types of SQLite apart: 1, 1.0, '1', x'31' and NULL all
differ.  Views and virtual tables have no rows of their own (a full-text index keeps its own in
ordinary tables, which count); columns that are computed when read are covered by the schema.

As a program (``python -m crossfade.drivers.databases.sqlite_digest PATH 0/2``) it prints one
share of the tables as JSON, so that several processes can digest one file.
"""

from __future__ import annotations

import functools
import json
import marshal
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from crossfade.drivers.databases.sqlite_files import Header, explained, immutable, length, quoted
from crossfade.errors import Failed
from crossfade.model import Part

__all__ = ["digest_file", "tables_of", "text_as_it_is"]

_ROWS = 16  # a time: little memory for large values, and small enough for the processor's cache
_LIST = 5  # bytes that marshal puts before the rows of a list: their number, which we leave out
_STEPS = 50_000  # SQLite's instructions between two questions whether we are in the way
_WORTH_PROCESSES = 16 << 20  # bytes; below, starting them costs more than they save

text_as_it_is = functools.partial(str, encoding="utf-8", errors="surrogateescape")
"""Decodes text of SQLite that is not UTF-8, and back without loss."""


def digest_file(path: Path, disturbed: Callable[[], bool]) -> Mapping[str, Part]:
    """All parts, by name.  Ends early with an error once ``disturbed`` says True.

    Raises sqlite3.Error or Failed.  A large file is read by one process for each processor.
    """
    workers = min(len(os.sched_getaffinity(0)), 4)
    if workers == 1 or length(path) < _WORTH_PROCESSES:
        return digest_share(path, 0, 1, disturbed)
    parts: dict[str, Part] = {}
    for text in _printed([_argv(path, i, workers) for i in range(workers)], path, disturbed):
        for name, (count, checksum) in json.loads(text).items():
            parts[name] = Part(count, checksum)
    return parts


def digest_share(
    path: Path, share: int, of: int, disturbed: Callable[[], bool] = lambda: False
) -> dict[str, Part]:
    """The parts of one of ``of`` shares of about equal work; share 0 has the schema."""
    with path.open("rb") as file:
        Header.read(file.fileno()).check(length(path))
    connection = immutable(path)
    connection.text_factory = text_as_it_is
    connection.set_progress_handler(lambda: int(disturbed()), _STEPS)
    try:
        tables = tables_of(connection)
        parts = {"schema": _schema(connection)} if share == 0 else {}
        for table in _shares(connection, tables, of)[share]:
            parts[f"table:{table}"] = _table(connection, table)
        return parts
    finally:
        connection.close()


def tables_of(connection: sqlite3.Connection, schema: str = "main") -> tuple[str, ...]:
    """Names of the tables that have rows of their own (virtual tables do not)."""
    sql = f"SELECT name FROM {schema}.sqlite_master WHERE type='table' AND rootpage>0 ORDER BY name"  # noqa: S608
    return tuple(name for (name,) in connection.execute(sql))


def _schema(connection: sqlite3.Connection) -> Part:
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name, tbl_name"
    rows = connection.execute(sql).fetchall()
    for pragma in ("user_version", "application_id", "encoding"):
        rows.append((pragma, *connection.execute(f"PRAGMA {pragma}").fetchone()))
    count, checksum = _checksum([rows])
    return Part(count - 3, checksum)


def _table(connection: sqlite3.Connection, table: str) -> Part:
    columns = _stored_columns(connection, table)
    sql = f"SELECT {columns} FROM {quoted(table)} NOT INDEXED"  # noqa: S608
    connection.text_factory = str  # much faster, and enough for all but odd tables
    try:
        return Part(*_checksum(_batches(connection, sql)))
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) is not None:
            raise  # SQLite's own; Python's, that text is not UTF-8, has no code
    finally:
        connection.text_factory = text_as_it_is
    return Part(*_checksum(_batches(connection, sql)))


def _batches(connection: sqlite3.Connection, sql: str) -> Iterable[list[tuple[object, ...]]]:
    cursor = connection.execute(sql)
    return iter(lambda: cursor.fetchmany(_ROWS), [])


def _checksum(batches: Iterable[list[tuple[object, ...]]]) -> tuple[int, str]:
    checksum = blake2b(digest_size=16)
    count = 0
    for rows in batches:
        count += len(rows)
        checksum.update(memoryview(marshal.dumps(rows, 2))[_LIST:])
    return count, checksum.hexdigest()


def _stored_columns(connection: sqlite3.Connection, table: str) -> str:
    """The columns that are stored, for SELECT; not those that are computed when read."""
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    return ", ".join(quoted(row[1]) for row in rows if row[6] != 2) or "NULL"


def _shares(connection: sqlite3.Connection, tables: Sequence[str], of: int) -> list[list[str]]:
    """Share the tables out, the dearest first.  Equal for equal files."""
    shares: list[list[str]] = [[] for _ in range(of)]
    if of == 1:
        return [list(tables)]
    load = [0.0] * of
    for cost, table in sorted(((_cost(connection, t), t) for t in tables), reverse=True):
        least = load.index(min(load))
        shares[least].append(table)
        load[least] += cost
    return shares


def _cost(connection: sqlite3.Connection, table: str) -> float:
    """About how long a table takes, judged by some rows of it and its highest rowid."""
    columns = _stored_columns(connection, table)
    name = quoted(table)
    rows = connection.execute(f"SELECT {columns} FROM {name} NOT INDEXED LIMIT 20").fetchall()  # noqa: S608
    if not rows:
        return 0.0
    try:
        count = connection.execute(f"SELECT max(rowid) FROM {name}").fetchone()[0]  # noqa: S608
    except sqlite3.OperationalError:  # WITHOUT ROWID
        count = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
    if not isinstance(count, int):
        return 0.0
    return count * (len(marshal.dumps(rows, 2)) / len(rows) + 150 * len(rows[0]))


def _argv(path: Path, share: int, of: int) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", __name__, str(path), f"{share}/{of}")


def _printed(
    commands: Sequence[tuple[str, ...]], path: Path, disturbed: Callable[[], bool]
) -> list[bytes]:
    """Run the commands at once; what they printed.  Kills them when disturbed, or on an error."""
    with ExitStack() as cleanup:
        outputs: list[IO[bytes]] = []
        running: list[subprocess.Popen[bytes]] = []
        for command in commands:
            outputs.append(cleanup.enter_context(TemporaryFile()))
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=outputs[-1])
            running.append(cleanup.enter_context(process))
            cleanup.callback(process.kill)
        while any(process.poll() is None for process in running):
            if any(process.returncode for process in running):
                break
            if disturbed():
                raise sqlite3.OperationalError("interrupted by a writer")
            time.sleep(0.002)
        for process, output in zip(running, outputs, strict=True):
            output.seek(0)
            if process.returncode:
                raise _failure(output.read(), path)
        return [output.read() for output in outputs]


def _failure(printed: bytes, path: Path) -> Failed:
    try:
        told = json.loads(printed)
        return Failed(told["code"], told["what"], where=told["where"])
    except (ValueError, KeyError, TypeError):
        return Failed(
            "database-unreadable", "A process that digests the database ended.", where=str(path)
        )


def main(argv: Sequence[str]) -> int:
    """Print the share ``I/N`` of the digest of a file as JSON, or an error."""
    path, (share, of) = Path(argv[0]), map(int, argv[1].split("/"))
    try:
        with explained("digest the database", path):
            parts = digest_share(path, share, of)
    except Failed as failure:
        sys.stdout.write(json.dumps(failure.as_json()))
        return 5
    sys.stdout.write(json.dumps({n: [p.count, p.checksum] for n, p in parts.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
