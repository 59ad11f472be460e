"""Proof that both sides are equal, without reading what did not change.

At the snapshot the whole databases were compared.  From there on the binary log tells which rows
changed; those rows are compared on both sides, in rounds while the old side works, and the rest of
them when it is fenced.  A row found equal is done: a later change brings it back.  What is not yet
shown equal is kept in a file, with the position up to which the log was read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from crossfade.drivers.databases.mysql import compare
from crossfade.drivers.databases.mysql.binlog import Position, Rows
from crossfade.drivers.databases.mysql.catalog import Catalog, Table
from crossfade.drivers.databases.mysql.changes import Changed, Changes
from crossfade.drivers.databases.mysql.connect import Conn
from crossfade.drivers.databases.mysql.feed import Truncated
from crossfade.drivers.databases.mysql.images import Key
from crossfade.drivers.databases.postgres.remembered import Remembered

__all__ = ["Difference", "Proof"]

_SMALL = 8 << 20
_SMALL_TOGETHER = 64 << 20
_TEXT = re.compile(r"_utf8\w* x'([0-9a-f]*)'")


@dataclass(frozen=True, slots=True)
class Difference:
    """A table that is not equal on both sides, and the keys of its rows (empty: compared whole)."""

    table: str
    columns: tuple[str, ...]
    keys: tuple[Key, ...]

    def __str__(self) -> str:
        if not self.keys:
            return self.table
        few = ", ".join("/".join(map(_readable, key)) for key in self.keys[:3])
        more = f" and {len(self.keys) - 3} more" if len(self.keys) > 3 else ""
        return f"{self.table} ({', '.join(self.columns)}) = {few}{more}"


class Proof:
    """The comparison of one database, old with new.

    catalog has the tables; since is the position of the snapshot; file is where the rest is kept.
    """

    def __init__(self, catalog: Catalog, since: Position, file: Path) -> None:
        self.catalog = catalog
        self._file = Remembered(file)
        self._changes = Changes(catalog)
        self.compared = int(self._file.get("compared") or 0)
        end = self._file.get("end")
        self.end = since if end is None else Position.parse(end)
        self._changes.restore(self._file.get("rest") or {})

    @property
    def rest(self) -> int:
        """Rows (a table compared whole counts as one) that were not yet shown equal."""
        return sum(changed.size for changed in self._changes.tables.values())

    def take(self, event: Rows | Truncated) -> None:
        """Remember what changed; called by the feed."""
        self._changes.take(event)

    def round(self, old: Conn, new: Conn, upto: Position) -> list[Difference]:
        """Compare all rows changed before ``upto``, which the feed must have read and applied.

        Returns those that differ now; while the old side works that means little.  Raises Failed,
        pymysql.MySQLError."""
        before = self.rest
        differing = self._compare(old, new)
        if before or upto > self.end:
            self.end = max(self.end, upto)
            self._file.replace(
                {
                    "compared": self.compared,
                    "end": str(self.end),
                    "rest": self._changes.as_json(),
                }
            )
        return differing

    def miscounted(self, old: Conn, new: Conn) -> tuple[int, list[str]]:
        """Counts the rows of tables where that is cheap: how many were, and which differ.

        It sees what was done outside of the binary log."""
        small = self._small()
        with ThreadPoolExecutor(1) as beside:
            there = beside.submit(lambda: [compare.count(old, table) for table in small])
            here = [compare.count(new, table) for table in small]
            olds = there.result()
        wrong = [t.name for t, a, b in zip(small, olds, here, strict=True) if a != b]
        return len(small), wrong

    def _small(self) -> list[Table]:
        found: list[Table] = []
        total = 0
        for table in sorted(self.catalog.tables.values(), key=lambda table: table.size):
            total += table.size
            if table.size > _SMALL or total > _SMALL_TOGETHER:
                break
            found.append(table)
        return found

    def _compare(self, old: Conn, new: Conn) -> list[Difference]:
        """Compare the rest and forget what is equal."""
        differing: list[Difference] = []
        tables = self._changes.tables
        with ThreadPoolExecutor(1) as beside:
            for name, changed in list(tables.items()):
                self.compared += changed.size
                found = _differences(beside, old, new, self.catalog.tables[name], changed)
                differing += found
                if not found:
                    del tables[name]
        return differing


def _differences(
    beside: ThreadPoolExecutor, old: Conn, new: Conn, table: Table, changed: Changed
) -> Sequence[Difference]:
    """What differs of one table; ``changed`` keeps only that."""
    if changed.whole:
        changed.keys.clear()
        changed.gone.clear()
        if compare.whole(beside, old, new, table):
            return [Difference(table.name, table.key, ())]
        return []
    found: list[Difference] = []
    changed.keys = compare.unequal(beside, old, new, table, changed.keys) if changed.keys else {}
    if changed.keys:
        found.append(Difference(table.name, table.key, tuple(changed.keys)))
    for columns, values in list(changed.gone.items()):
        left = compare.referring(beside, old, new, table, columns, values)
        changed.gone[columns] = left
        if left:
            found.append(Difference(table.name, columns, tuple(left)))
        else:
            del changed.gone[columns]
    return found


def _readable(literal: str) -> str:
    """A key's literal for people."""
    match = _TEXT.fullmatch(literal)
    return bytes.fromhex(match[1]).decode("utf-8", "replace") if match else literal
