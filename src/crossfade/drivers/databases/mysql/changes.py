"""Which rows changed, as the binary log tells it.

A foreign key's action (ON DELETE CASCADE and its like) changes rows without a word in the log.  So
for a row that went away, those that referred to it are remembered by what they referred to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crossfade.drivers.databases.mysql.binlog import Rows
from crossfade.drivers.databases.mysql.catalog import Catalog, Reference, Table
from crossfade.drivers.databases.mysql.feed import Truncated
from crossfade.drivers.databases.mysql.images import Key, UnreadableImage, keys_of, readable_key
from crossfade.errors import Failed

__all__ = ["Changed", "Changes"]

_MOST = 2_000_000
"""Keys that we are willing to hold in memory (a few hundred bytes each)."""


@dataclass
class Changed:
    """What changed in one table and was not yet shown equal.

    keys are of its rows, an ordered set; whole says that keys do not tell all.  gone are values
    that its rows may have referred to, by the referring columns."""

    keys: dict[Key, None] = field(default_factory=dict)
    whole: bool = False
    gone: dict[tuple[str, ...], dict[Key, None]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many rows there are to compare; a table compared whole counts as one."""
        return max(1, len(self.keys) + sum(map(len, self.gone.values())))


class Changes:
    """Collects what changed in the tables of ``catalog``."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.tables: dict[str, Changed] = {}
        self._readable = {name: readable_key(table) for name, table in catalog.tables.items()}
        self._children: dict[str, list[Reference]] = {}
        for reference in catalog.references:
            self._children.setdefault(reference.to, []).append(reference)
        self._size = 0

    def take(self, event: Rows | Truncated) -> None:
        """Remember what an event changed.  Raises Failed ``too-many-changes``."""
        if event.table in self.catalog.sequences:
            return
        table = self.catalog.tables[event.table]
        changed = self.tables.setdefault(table.name, Changed())
        if isinstance(event, Truncated) or not self._readable[table.name]:
            changed.whole = True
            self._whole_children(table.name)
            return
        try:
            for key, gone in keys_of(event, table):
                if key not in changed.keys:
                    changed.keys[key] = None
                    self._size += 1
                if gone:
                    self._gone(table, key)
        except UnreadableImage:
            changed.whole = True
            self._whole_children(table.name)
        if self._size > _MOST:
            self._size = sum(one.size for one in self.tables.values())
            if self._size > _MOST:
                raise Failed(
                    "too-many-changes", f"More than {_MOST} rows wait for their comparison."
                )

    def _gone(self, table: Table, key: Key) -> None:
        for reference in self._children.get(table.name, ()):
            child = self.tables.setdefault(reference.table, Changed())
            if set(reference.to_columns) != set(table.key):
                child.whole = True
                continue
            values = dict(zip(table.key, key, strict=True))
            wanted = tuple(values[name] for name in reference.to_columns)
            child.gone.setdefault(reference.columns, {})[wanted] = None
            self._size += 1

    def _whole_children(self, name: str) -> None:
        for reference in self._children.get(name, ()):
            if reference.table != name:
                self.tables.setdefault(reference.table, Changed()).whole = True

    def as_json(self) -> dict[str, Any]:
        """For the file in which the rest is kept."""
        return {
            name: {
                "keys": list(changed.keys),
                "whole": changed.whole,
                "gone": [[list(c), list(values)] for c, values in changed.gone.items()],
            }
            for name, changed in self.tables.items()
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Read what ``as_json`` gave."""
        for name, found in kept.items():
            changed = self.tables.setdefault(name, Changed())
            changed.whole = changed.whole or bool(found["whole"])
            changed.keys.update((tuple(key), None) for key in found["keys"])
            for columns, values in found["gone"]:
                there = changed.gone.setdefault(tuple(columns), {})
                there.update((tuple(value), None) for value in values)
