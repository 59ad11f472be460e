"""All rows of one snapshot, from the old database to tables of the new one that are still bare.

Each worker takes the largest table that is left.  A large table flows from psql to psql, a small
one through two sessions that stay open.  The new side truncates a table and loads it in one
transaction, so that its rows are frozen at once: nothing has to be written a second time by the
first reader or by the vacuum.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import (
    NEWER_TIMEOUTS,
    OUR_SETTINGS,
    Conn,
    connect,
    explained,
    run,
)
from crossfade.drivers.databases.postgres.inventory import Inventory, Table
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.drivers.databases.postgres.piping import move, session
from crossfade.drivers.databases.postgres.programs import (
    Access,
    Programs,
    access,
    find_programs,
)
from crossfade.drivers.databases.postgres.snapshot import use_snapshot
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "TID_RANGES",
    "Copied",
    "Piece",
    "copy_data",
    "copy_out",
    "default_jobs",
    "pieces",
    "plain_settings",
    "tid_range",
]

_SMALL = 1 << 20  # bytes; below, starting two processes costs more than they save
_SPLIT_JOBS = 3  # with fewer workers, a table in one piece already keeps the processors busy
_SPLIT_BYTES = 256 << 20
TID_RANGES = 140000
"""Before this version a part of a table cannot be read without all of it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A table, or the blocks ``first`` to ``last`` (exclusive; None: to the end) of a large one."""

    table: Table
    whole: bool = True
    first: int = 0
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: bytes on the wire, seconds, and how long the streams rested for others."""

    bytes: int
    seconds: float
    rested: float


def default_jobs() -> int:
    """How many tables to copy at a time: one for each processor of ours, 4 at the most."""
    return min(4, max(2, len(os.sched_getaffinity(0))))


def plain_settings(version: int) -> dict[str, str]:
    """Session parameters for PostgreSQL's programs on a server of ``version``."""
    settings = {name: value for name, value in OUR_SETTINGS.items() if name != "search_path"}
    return settings | {name: "0" for since, name in NEWER_TIMEOUTS.items() if version >= since}


def pieces(inventory: Inventory, jobs: int) -> list[Piece]:
    """What to copy, largest first; tables that would keep one worker busy alone are split."""
    tables = inventory.with_data
    share = max(_SPLIT_BYTES, sum(table.bytes for table in tables) // max(1, 2 * jobs))
    found: list[Piece] = []
    for table in tables:
        count = math.ceil(table.bytes / share) if share else 1
        fits = jobs >= _SPLIT_JOBS and inventory.version >= TID_RANGES and not table.condition
        if count < 2 or not fits or table.pages < count:
            found.append(Piece(table))
            continue
        edges = [table.pages * n // count for n in range(count)]
        ends: list[int | None] = [*edges[1:], None]
        found += [Piece(table, False, a, b) for a, b in zip(edges, ends, strict=True)]
    return found


def copy_data(
    old: Endpoint,
    new: Endpoint,
    inventory: Inventory,
    snapshot: str,
    pace: Pace,
    *,
    new_version: int,
    jobs: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Copied:
    """Copy the rows of all tables as of the exported ``snapshot``, at a pace.

    The new tables must stand, without indexes, constraints and triggers.  told is called with bytes
    from several threads.  Raises Failed.
    """
    jobs = jobs or default_jobs()
    began = time.monotonic()
    todo = pieces(inventory, jobs)
    queue: SimpleQueue[Piece] = SimpleQueue()
    for piece in todo:
        queue.put(piece)
    with contextlib.ExitStack() as stack:
        by_old = stack.enter_context(access(old, plain_settings(inventory.version)))
        loading = plain_settings(new_version) | {"synchronous_commit": "off"}
        if pace.gentle:  # a burst of writing would keep waiting who commits meanwhile
            loading["backend_flush_after"] = "1MB"
        by_new = stack.enter_context(access(new, loading))
        copier = _Copier(
            find_programs(inventory.version), old, new, by_old, by_new, inventory, snapshot, pace
        )
        workers = max(1, min(jobs, len(todo)))
        with ThreadPoolExecutor(workers, thread_name_prefix="copy") as pool:
            done = [pool.submit(copier.work, queue, told) for _ in range(workers)]
            total = sum(future.result() for future in done)
        return Copied(total, time.monotonic() - began, pace.rested)


@dataclass(frozen=True)
class _Copier:
    programs: Programs
    old: Endpoint
    new: Endpoint
    by_old: Access
    by_new: Access
    inventory: Inventory
    snapshot: str
    pace: Pace

    def work(self, queue: SimpleQueue[Piece], told: Callable[[int], None]) -> int:
        """Copy pieces until none is left, or one failed; returns bytes."""
        total = 0
        with self._sessions() as (reader, writer):
            while True:
                try:
                    piece = queue.get_nowait()
                except Empty:
                    return total
                try:
                    if piece.table.bytes <= _SMALL:
                        total += self._small(reader, writer, piece, told)
                    else:
                        total += self._large(piece, told)
                except BaseException:
                    with contextlib.suppress(Empty):  # the others need not go on
                        while True:
                            queue.get_nowait()
                    raise

    @contextlib.contextmanager
    def _sessions(self) -> Iterator[tuple[Conn, Conn]]:
        with (
            connect(self.old, autocommit=False) as reader,
            connect(self.new, settings={"synchronous_commit": "off"}) as writer,
        ):
            with explained("take over the snapshot", self.old):
                use_snapshot(reader, self.snapshot)
            run(writer, "reset search_path")
            yield reader, writer

    def _small(self, reader: Conn, writer: Conn, piece: Piece, told: Callable[[int], None]) -> int:
        total = 0
        reading, writing = copy_out(piece).as_string(None), copy_in(piece).as_string(None)
        encoding = self._encoding(reading)
        with explained(f"copy table {piece.table}", self.new), writer.transaction():
            for conn in (reader, writer):
                run(conn, sql.SQL("set local client_encoding to {}").format(sql.Literal(encoding)))
            for statement in _prepare(piece):
                run(writer, statement.as_string(None).encode())
            with (
                reader.cursor().copy(reading.encode()) as out,
                writer.cursor().copy(writing.encode()) as into,
            ):
                for block in out:
                    into.write(block)
                    total += len(block)
        told(total)
        return total

    def _large(self, piece: Piece, told: Callable[[int], None]) -> int:
        use = sql.SQL("set transaction snapshot {}").format(sql.Literal(self.snapshot))
        begin = sql.SQL("begin isolation level repeatable read read only")
        reading = _texts([begin, use, copy_out(piece), sql.SQL("commit")])
        writing = _texts([sql.SQL("begin"), *_prepare(piece), copy_in(piece), sql.SQL("commit")])
        encoding = self._encoding(*reading, *writing)
        doing = f"copy table {piece.table}"
        with (
            session(
                self.programs,
                self.by_old,
                self.old,
                reading,
                reads=True,
                encoding=encoding,
                doing=doing,
            ) as source,
            session(
                self.programs,
                self.by_new,
                self.new,
                writing,
                reads=False,
                encoding=encoding,
                doing=doing,
            ) as target,
        ):
            total = move(source.pipe, target.pipe, self.pace, told)
            _finish(source.finish, target.finish)
            return total

    def _encoding(self, *statements: str) -> str:
        """What the sessions speak: the database's own encoding, so that nothing is recoded.

        A name in the statements that is not ASCII is ours in UTF-8; then the servers recode."""
        own = self.inventory.encoding
        plain = own in ("UTF8", "SQL_ASCII") or all(text.isascii() for text in statements)
        return own if plain else "UTF8"


def _finish(source: Callable[[], None], target: Callable[[], None]) -> None:
    """End both sessions.  When the target broke, the source only lost its reader.

    A source that broke must be seen before the target is told that all has come.
    """
    try:
        source()
    except Failed as lost:
        if "Broken pipe" not in lost.what and "could not write" not in lost.what:
            raise
        target()
        raise
    target()


def _prepare(piece: Piece) -> list[sql.Composed]:
    """Empty the table in the transaction that loads it; not where an extension put rows."""
    if not piece.whole or piece.table.extension:
        return []
    return [sql.SQL("truncate only {}").format(piece.table.sql)]


def copy_out(piece: Piece) -> sql.Composed:
    """The COPY that reads a piece on the old side."""
    table = piece.table
    where: sql.Composable = sql.SQL(table.condition)
    if not piece.whole:
        where = tid_range(piece.first, piece.last)
    source: sql.Composable = sql.SQL("{}{}").format(table.sql, _columns(table))
    if table.condition or not piece.whole:
        source = sql.SQL("(select {} from only {} {})").format(_names(table), table.sql, where)
    return sql.SQL("copy {} to stdout ({})").format(source, _form(table))


def tid_range(first: int, last: int | None) -> sql.Composed:
    """The ``where`` clause for the rows in blocks ``first`` to ``last`` (exclusive; None: all)."""
    where = sql.SQL("where ctid >= {}::tid").format(sql.Literal(f"({first},0)"))
    if last is None:
        return where
    return sql.SQL("{} and ctid < {}::tid").format(where, sql.Literal(f"({last},0)"))


def copy_in(piece: Piece) -> sql.Composed:
    """The COPY that writes a piece on the new side."""
    freeze = ", freeze" if piece.whole and not piece.table.extension else ""
    return sql.SQL("copy {}{} from stdin ({}{})").format(
        piece.table.sql, _columns(piece.table), _form(piece.table), sql.SQL(freeze)
    )


def _form(table: Table) -> sql.SQL:
    """Binary where every value means the same on both servers, otherwise text."""
    binary = all(column.plain for column in table.columns if not column.generated)
    return sql.SQL("format binary") if binary else sql.SQL("format text")


def _names(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in table.data_columns)


def _columns(table: Table) -> sql.Composable:
    """The columns in parentheses; nothing for a table that has none with data."""
    return sql.SQL(" ({})").format(_names(table)) if table.data_columns else sql.SQL("")


def _texts(statements: Sequence[sql.Composable]) -> list[str]:
    return [statement.as_string(None) for statement in statements]
