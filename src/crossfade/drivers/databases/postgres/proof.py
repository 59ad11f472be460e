"""Proof that both sides are equal, without reading what did not change.

At the snapshot the whole databases were compared.  From there on a slot tells which rows changed;
those rows are compared on both sides, in rounds while the old side works, and the rest of them
when it is fenced.  A row found equal is done: a later change brings it back through the slot.
What was not shown equal before a round is kept in a file before the slot forgets it, so that
another process can go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from crossfade.drivers.databases.postgres import changes, slots
from crossfade.drivers.databases.postgres.changes import Changed, Key, Name
from crossfade.drivers.databases.postgres.compare import rows_differ, whole_differs
from crossfade.drivers.databases.postgres.connect import Conn
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.drivers.databases.postgres.lookups import columns_to_look_up
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.errors import Failed

__all__ = ["Difference", "Proof"]

_MESSAGES = 100_000
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
    """What survives us: rows not yet shown equal, what was counted since the snapshot, and by what
    rows without a key are looked up (it is chosen by statistics, which change)."""

    rest: dict[Name, Changed] = field(default_factory=dict)
    counts: dict[Name, list[int]] = field(default_factory=dict)
    lookups: dict[Name, tuple[str, ...]] = field(default_factory=dict)
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
        for name, table in tables.items():
            self._kept.lookups.setdefault(name, columns_to_look_up(table))

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
            found = changes.parse(messages, max(self.since, self._kept.end), self._kept.lookups)
            self._take(found)
            self._kept.end = max(self._kept.end, found.end)
            with ThreadPoolExecutor(1) as other:  # the disk need not be waited for
                kept = other.submit(self._file.replace, self._facts())
                differing = self._compare(old, new)
                kept.result()
            slots.advance(old, self.names.keys, found.end if messages else upto)
            if len(messages) < _MESSAGES:
                return differing

    def again(self, old: Conn, new: Conn) -> list[Difference]:
        """Compare the rest once more.  Raises psycopg.Error."""
        differing = self._compare(old, new)
        self._file.replace(self._facts())
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
                    unequal = whole_differs(other, old, new, table)
                    keys: dict[Key, None] = {}
                else:
                    keys = rows_differ(other, old, new, table, changed)
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

    def _facts(self) -> dict[str, object]:
        """What has to be written down, durably, before the slot forgets."""
        kept = self._kept
        rest = [
            [*name, changed.columns, list(changed.keys), changed.whole]
            for name, changed in kept.rest.items()
        ]
        return {
            "compared": kept.compared,
            "end": kept.end,
            "rest": rest,
            "counts": [[*name, list(counts)] for name, counts in kept.counts.items()],
            "lookups": [[*name, columns] for name, columns in kept.lookups.items() if columns],
        }


def _read(file: Remembered) -> _Kept:
    if file.get("end") is None:
        return _Kept()
    kept = _Kept(compared=file["compared"], end=file["end"])
    for schema, name, columns, keys, whole in file["rest"]:
        changed = Changed(tuple(columns), dict.fromkeys(tuple(key) for key in keys), whole)
        kept.rest[schema, name] = changed
    for schema, name, columns in file["lookups"]:
        kept.lookups[schema, name] = tuple(columns)
    kept.counts = {(schema, name): counts for schema, name, counts in file["counts"]}
    return kept
