"""Copies the rows of one moment: several streams, the largest pieces first.

A piece is a whole table, or a range of its whole-number key where it is large.  After each piece
nothing is left to do: indexes are filled while loading (measured: as cheap as building them later).

LOAD DATA keeps InnoDB's AUTO-INC lock of its table until it ends (``innodb_autoinc_lock_mode`` 1,
MariaDB's default), so two streams do not load one table while there is something else to do:
another table, or to compare one that is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from crossfade.drivers.databases.mysql.catalog import Catalog, Table
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    explained,
    fetch,
    ident,
    quietly_close,
    run,
)
from crossfade.drivers.databases.mysql.rows import line, load, load_statement, read_lines
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.ports import Progress

__all__ = ["Piece", "Rows", "copy_rows", "loading", "pieces"]

_PIECE = 64 << 20
_INTS = {"tinyint", "smallint", "mediumint", "int", "bigint"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a table; ``where`` is a condition, size the estimated bytes."""

    table: Table
    where: str
    size: int


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows the old server sent, and how many the new one says it took."""

    sent: int = 0
    taken: int = 0

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.sent + other.sent, self.taken + other.taken)


@contextlib.contextmanager
def loading(new: Endpoint) -> Iterator[Conn]:
    """A session that loads rows: unchecked, and not in the new server's binary log."""
    conn = connect(new)
    try:
        run(conn, "set session sql_log_bin = 0, foreign_key_checks = 0")
        with contextlib.suppress(Exception):  # MariaDB's name
            run(conn, "set session check_constraint_checks = 0")
        with contextlib.suppress(Exception):  # 10.11 and newer
            run(conn, "set session system_versioning_insert_history = 1")
        yield conn
    finally:
        quietly_close(conn)


def pieces(session: Conn, catalog: Catalog) -> list[Piece]:
    """What to copy, the largest first."""
    found: list[Piece] = []
    for table in catalog.tables.values():
        parts = max(1, table.size // _PIECE)
        kinds = {column.name: column for column in table.columns}
        lead = kinds[table.key[0]] if table.key else None
        if parts > 1 and lead is not None and lead.kind in _INTS:
            name = ident(lead.name)
            ends = f"select min({name}), max({name}) from {ident(table.name)}"  # noqa: S608
            low, high = fetch(session, ends)[0]
            if low is not None:
                found += _ranges(table, name, int(low), int(high), int(parts))
                continue
        found.append(Piece(table, "true", table.size))
    return sorted(found, key=lambda piece: -piece.size)


def _ranges(table: Table, name: str, low: int, high: int, parts: int) -> Iterator[Piece]:
    """Equal ranges; the first and the last are open so that none is missed."""
    step = max(1, (high - low + 1) // parts)
    bounds = [low + step * number for number in range(1, parts)]
    for number in range(parts):
        conditions = []
        if number > 0:
            conditions.append(f"{name} >= {bounds[number - 1]}")
        if number < parts - 1:
            conditions.append(f"{name} < {bounds[number]}")
        yield Piece(table, " and ".join(conditions), table.size // parts)


def copy_rows(
    sessions: Sequence[Conn],
    new: Endpoint,
    work: Sequence[Piece],
    pace: Pace,
    compare: Callable[[Conn, Conn, Table, Rows], None],
    progress: Progress | None = None,
) -> dict[str, Rows]:
    """Copy all pieces, one stream for each session; the tables' rows, by name.  Raises Failed with
    the first trouble.

    ``compare(old, new, table, rows)`` is called for tables that are whole while a stream would have
    to wait; not for all of them."""
    rest = _Rest(work)
    total = sum(piece.size for piece in work)
    trouble: list[BaseException] = []

    def stream(session: Conn) -> None:
        try:
            with loading(new) as target:
                while not trouble and (job := rest.take()):
                    if isinstance(job, Table):
                        compare(session, target, job, rest.rows[job.name])
                        continue
                    rest.copied(job, _copy(session, target, job, pace, new))
                    if progress:
                        progress(rest.done, total)
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            trouble.append(error)

    threads = [threading.Thread(target=stream, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]
    return rest.rows


class _Rest:
    """What nobody has taken yet.  done is how many bytes were copied, rows how many of a table."""

    def __init__(self, work: Sequence[Piece]) -> None:
        self.done = 0
        self.rows: dict[str, Rows] = {}
        self._left: dict[str, deque[Piece]] = {}
        for piece in sorted(work, key=lambda piece: -piece.table.size):
            self._left.setdefault(piece.table.name, deque()).append(piece)
        self._loading: Counter[str] = Counter()
        self._whole: list[Table] = []
        self._lock = threading.Lock()

    def take(self) -> Piece | Table | None:
        """A piece of the largest table that nobody loads now; while there is none, a table to
        compare; else a piece of any."""
        with self._lock:
            if not self._left:
                return None
            name = next((n for n in self._left if not self._loading[n]), "")
            if not name and self._whole:
                return self._whole.pop(0)
            name = name or next(iter(self._left))
            piece = self._left[name].popleft()
            if not self._left[name]:
                del self._left[name]
            self._loading[name] += 1
            return piece

    def copied(self, piece: Piece, rows: Rows) -> None:
        """This one is done."""
        name = piece.table.name
        with self._lock:
            self.rows[name] = self.rows.get(name, Rows()) + rows
            self.done += piece.size
            self._loading[name] -= 1
            if not self._loading[name] and name not in self._left:
                self._whole.append(piece.table)


def _copy(session: Conn, target: Conn, piece: Piece, pace: Pace, new: Endpoint) -> Rows:
    table = piece.table
    history = " for system_time all" if table.versioned else ""
    query = f"select {line(table)} from {ident(table.name)}{history} where {piece.where}"  # noqa: S608
    sent = 0

    def paced() -> Iterator[bytes]:
        nonlocal sent
        began = time.perf_counter()
        for block, rows in read_lines(session, query):
            sent += rows
            yield block
            pace.spent(len(block), time.perf_counter() - began)
            began = time.perf_counter()

    with explained(f"copy table {table.name}", new):
        taken = load(target, load_statement(table), paced())
        wrong = [
            row
            for row in fetch(target, "show warnings limit 5")
            if str(row[0]).lower() == "warning"
        ]
    if wrong:
        raise Failed(
            "rows-not-taken",
            f"The new database changes rows of table {table.name}: {wrong[0][2]}.",
            where=str(new),
        )
    return Rows(sent, taken)
