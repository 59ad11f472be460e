"""Whether rows that the new version writes can go back to the old version's tables.

Only what could go wrong silently is refused here.  What would stop the reverse feed with an error
(a number too large for the old column, say) is not: the feed's state tells it then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossfade.drivers.databases.postgres.inventory import Column, Table, UniqueKey

__all__ = ["Identity", "Pair", "pair_up"]

Name = tuple[str, str]
Identity = tuple[str, str]
"""``default``, ``full`` or ``index``, and for the last one the index's name."""
_DEFAULT = ("default", "")
_INTEGERS = ("smallint", "integer", "bigint")
_TEXTS = ("character varying", "text")
_COLUMN_LISTS = 150000


@dataclass(frozen=True, slots=True)
class Pair:
    """A table of the old side that gets rows back, and the same table on the new side.

    columns are those that are published (None: all of them, for they are the same).  on_old and
    on_new are the replica identities that the sides need, with the name of the index, if any."""

    old: Table
    new: Table
    columns: tuple[str, ...] | None
    on_old: Identity
    on_new: Identity


def pair_up(
    old: Sequence[Table], new: Sequence[Table], new_version: int
) -> tuple[list[Pair], list[str]]:
    """The pairs, and why some tables have none (in sentences; empty: all is well)."""
    there = {(table.schema, table.name): table for table in new}
    parts = {table.oid: table for table in old}
    pairs: list[Pair] = []
    reasons: list[str] = []
    for table in old:
        if table.kind == "foreign" or (table.partition and _published_by_root(table, parts)):
            continue
        if table.unlogged:  # what it holds may be lost at any time
            continue
        found = _pair(table, there, new_version)
        if isinstance(found, Pair):
            pairs.append(found)
        else:
            reasons.append(found)
    return pairs, reasons


def _published_by_root(table: Table, known: Mapping[int, Table]) -> bool:
    return any(parent in known for parent in table.parents)


def _pair(old: Table, there: Mapping[Name, Table], version: int) -> Pair | str:
    new = there.get((old.schema, old.name))
    if new is None:
        return f"table {old} is gone or renamed on the new side"
    if new.kind != old.kind or new.unlogged:
        kinds = [f"{'unlogged ' if t.unlogged else ''}{t.kind}" for t in (old, new)]
        return f"table {old} cannot be followed ({kinds[0]} on the old side, {kinds[1]} on the new)"
    columns = {column.name: column for column in new.columns}
    for column in old.columns:
        if not column.generated and (why := _against(column, columns.get(column.name))):
            return f"column {column.name} of table {old} {why}"
    same = set(old.data_columns) == set(new.data_columns)
    if not same and version < _COLUMN_LISTS:
        return (
            f"table {old} has other columns on the new side, whose server is too old to leave "
            "them out (PostgreSQL 15 can)"
        )
    listed = None if same else old.data_columns
    for key in old.keys:
        for other in new.keys:
            if set(key.columns) == set(other.columns):
                pair = Pair(old, new, listed, _identity(key), _identity(other))
                if old.kind == "table" or pair.on_old == pair.on_new == _DEFAULT:
                    return pair
    if old.keys or new.keys:
        return f"the key of table {old} is another one on the new side"
    if not same or old.kind != "table":
        return f"table {old} has no key, and is not quite the same on the new side"
    return Pair(old, new, None, (old.identity, old.identity_index), ("full", ""))


def _identity(key: UniqueKey) -> Identity:
    return _DEFAULT if key.primary else ("index", key.index)


def _against(old: Column, new: Column | None) -> str:
    """Why values of the new column cannot go back to the old one; empty when they can."""
    if new is None:
        return "is gone or renamed on the new side"
    if new.generated:
        return "is generated on the new side"
    if old.type != new.type and not _fits(old.type, new.type):
        return f"was {old.type} and is {new.type} on the new side"
    return ""


def _fits(old: str, new: str) -> bool:
    """Whether each value of type ``new`` is either taken by ``old`` as it is, or an error."""
    if old in _INTEGERS and new in _INTEGERS:
        return True
    kinds = [_split(kind) for kind in (old, new)]
    if all(kind in _TEXTS for kind, _ in kinds):
        return True
    if [kind for kind, _ in kinds] == ["numeric", "numeric"]:
        return not kinds[0][1] or _scale(kinds[1][1]) <= _scale(kinds[0][1])
    return kinds[0] == ("numeric", "") and new in _INTEGERS


def _split(kind: str) -> tuple[str, str]:
    """A type's name and its modifiers."""
    match = re.fullmatch(r"([a-z ]+?)(?:\(([0-9,-]+)\))?", kind)
    return (match[1], match[2] or "") if match else (kind, "")


def _scale(modifiers: str) -> float:
    """Digits behind the point that are kept; numeric without modifiers keeps all."""
    if not modifiers:
        return float("inf")
    return int(modifiers.split(",")[1]) if "," in modifiers else 0
