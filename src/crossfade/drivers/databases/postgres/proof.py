"""Proof that both sides are equal, without reading what did not change.

At the snapshot the whole databases were compared.  From there on a slot tells which rows changed;
those rows are compared on both sides, in rounds while the old side works, and the rest of them
when it is fenced.  A row found equal is done: a later change brings it back through the slot.
What is not yet shown equal is kept in a file before the slot forgets it, so that another process
can go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from crossfade.drivers.databases.postgres import changes, slots
from crossfade.drivers.databases.postgres.changes import Changed, Key, Name
from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.errors import Failed

__all__ = ["Difference", "Proof"]

_MESSAGES = 100_000
_ROWS = 2_000
_MOST = 2_000_000
"""Keys that we are willing to hold in memory (a few hundred bytes each)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A table that is not equal on both sides, and the keys of its rows (empty: compared whole)."""

    table: str
    columns: tuple[str, ...]
    keys: tuple[Key, ...]

    def __str__(self) -> str:
        if not self.keys:
            return self.table
        few = ", ".join("/".join(str(value) for value in key) for key in self.keys[:3])
        more = f" and {len(self.keys) - 3} more" if len(self.keys) > 3 else ""
        return f"{self.table} ({', '.join(self.columns)}) = {few}{more}"


@dataclass
class _Kept:
    """What survives us: rows not yet shown equal, and what was counted since the snapshot."""

    rest: dict[Name, Changed] = field(default_factory=dict)
    counts: dict[Name, list[int]] = field(default_factory=dict)
    compared: int = 0
    end: int = 0


class Proof:
    """The comparison of one database, old with new.

    tables are those that are followed; since is the position of the snapshot; file is where the
    rest is kept.
    """

    def __init__(self, names: Names, tables: Mapping[Name, Table], since: int, file: Path) -> None:
        self.names, self.tables, self.since = names, tables, since
        self._file = Remembered(file)
        self._kept = _read(self._file)

    @property
    def rest(self) -> int:
        """Rows (a table compared whole counts as one) that were not yet shown equal."""
        return sum(max(1, len(changed.keys)) for changed in self._kept.rest.values())

    @property
    def compared(self) -> int:
        """Rows compared so far."""
        return self._kept.compared

    def counted(self, name: Name) -> tuple[int, int, int]:
        """Rows inserted, updated and deleted since the snapshot."""
        inserted, updated, deleted = self._kept.counts.get(name, [0, 0, 0])
        return inserted, updated, deleted

    def round(self, old: Conn, new: Conn, upto: int) -> list[Difference]:
        """Compare all rows changed before ``upto``, which the new side must have applied.

        Returns those that differ now; while the old side works that means little.  Raises Failed,
        psycopg.Error.
        """
        last = slots.words_of(upto)
        while True:
            messages = changes.peek(old, self.names.keys, self.names.feed, last, _MESSAGES)
            found = changes.parse(messages, max(self.since, self._kept.end))
            self._take(found)
            self._kept.end = max(self._kept.end, found.end)
            differing = self._compare(old, new)
            self._keep()
            slots.advance(old, self.names.keys, found.end if messages else upto)
            if len(messages) < _MESSAGES:
                return differing

    def again(self, old: Conn, new: Conn) -> list[Difference]:
        """Compare the rest once more.  Raises psycopg.Error."""
        differing = self._compare(old, new)
        self._keep()
        return differing

    def _take(self, found: changes.Changes) -> None:
        for name, changed in found.tables.items():
            if name not in self.tables:
                raise Failed("feed-unknown-table", f"Table {'.'.join(name)} is fed, but not known.")
            counts = self._kept.counts.setdefault(name, [0, 0, 0])
            for index, number in enumerate((changed.inserted, changed.updated, changed.deleted)):
                counts[index] += number
            there = self._kept.rest.setdefault(name, Changed(changed.columns))
            if changed.truncated or there.columns != changed.columns:
                there.truncated, there.whole = True, True
            there.whole = there.whole or changed.whole
            there.keys.update(changed.keys)
        if self.rest > _MOST:
            raise Failed("too-many-changes", f"More than {_MOST} rows wait for their comparison.")

    def _compare(self, old: Conn, new: Conn) -> list[Difference]:
        """Compare the rest and forget what is equal."""
        differing: list[Difference] = []
        with ThreadPoolExecutor(1) as other:
            for name, changed in list(self._kept.rest.items()):
                table = self.tables[name]
                if changed.whole:
                    unequal = _whole(other, old, new, table)
                    keys: dict[Key, None] = {}
                else:
                    keys = _rows(other, old, new, table, changed)
                    unequal = bool(keys)
                self._kept.compared += max(1, len(changed.keys))
                changed.keys = keys
                if unequal:
                    differing.append(Difference(str(table), changed.columns, tuple(keys)))
                else:
                    del self._kept.rest[name]
        return differing

    def waiting(self, old: Conn) -> int:
        """Changes to followed tables that were not taken from the slot yet."""
        messages = changes.peek(old, self.names.keys, self.names.feed, None, _MESSAGES)
        tables = changes.parse(messages).tables.values()
        return sum(t.inserted + t.updated + t.deleted + t.truncated for t in tables)

    def _keep(self) -> None:
        """Write down the rest, durably, before the slot forgets."""
        kept = self._kept
        rest = [
            [*name, changed.columns, list(changed.keys), changed.whole]
            for name, changed in kept.rest.items()
        ]
        counts = [[*name, counts] for name, counts in kept.counts.items()]
        self._file.replace(
            {"compared": kept.compared, "end": kept.end, "rest": rest, "counts": counts}
        )


def _read(file: Remembered) -> _Kept:
    if file.get("end") is None:
        return _Kept()
    kept = _Kept(compared=file["compared"], end=file["end"])
    for schema, name, columns, keys, whole in file["rest"]:
        changed = Changed(tuple(columns), dict.fromkeys(tuple(key) for key in keys), whole)
        kept.rest[schema, name] = changed
    kept.counts = {(schema, name): counts for schema, name, counts in file["counts"]}
    return kept


def _row(table: Table) -> sql.Composed:
    """A hash of all of a row's data, as text: any type has one, and it is the same everywhere."""
    columns = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in table.data_columns]
    return sql.SQL('pg_catalog.hashtextextended(row({})::text collate pg_catalog."C", 0)').format(
        sql.SQL(", ").join(columns)
    )


def _rows(
    other: ThreadPoolExecutor, old: Conn, new: Conn, table: Table, changed: Changed
) -> dict[Key, None]:
    """Those of the rows that are not the same on both sides, or only on one."""
    types = {column.name: column.type for column in table.columns}
    keys = [sql.Identifier(f"k{number}") for number in range(len(changed.columns))]
    matches = [
        sql.SQL("t.{} = k.{}::{}").format(sql.Identifier(name), key, sql.SQL(types[name]))
        for name, key in zip(changed.columns, keys, strict=True)
    ]
    query = sql.SQL(
        "select k.n, {} from rows from ({}) with ordinality as k({}, n) join only {} t on {}"
    ).format(
        _row(table),
        sql.SQL(", ").join([sql.SQL("unnest(%s::text[])")] * len(keys)),
        sql.SQL(", ").join(keys),
        table.sql,
        sql.SQL(" and ").join(matches),
    )
    unequal: dict[Key, None] = {}
    for few in _few(list(changed.keys)):
        values = [[key[i] for key in few] for i in range(len(keys))]
        there = other.submit(_by_index, old, query, values)
        here = dict(_by_index(new, query, values))
        olds = dict(there.result())
        unequal.update((key, None) for n, key in enumerate(few, 1) if olds.get(n) != here.get(n))
    return unequal


def _by_index(conn: Conn, query: sql.Composed, values: list[Any]) -> list[tuple[Any, ...]]:
    """Run it so that a few rows are looked up, whatever the statistics say."""
    with conn.transaction():
        conn.execute(
            "set local enable_seqscan = off; set local enable_hashjoin = off;"
            " set local enable_mergejoin = off; set local jit = off"
        )
        return fetch(conn, query, values)


def _whole(other: ThreadPoolExecutor, old: Conn, new: Conn, table: Table) -> bool:
    """Whether the tables differ as a whole."""
    query = sql.SQL(
        "select count(*), coalesce(sum(h::numeric), 0) from (select {} h from only {} t) x"
    ).format(_row(table), table.sql)
    there = other.submit(fetch, old, query)
    return fetch(new, query) != there.result()


def _few(keys: list[Key]) -> Iterator[list[Key]]:
    for begin in range(0, len(keys), _ROWS):
        yield keys[begin : begin + _ROWS]
