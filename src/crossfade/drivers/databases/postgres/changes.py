"""Which rows changed: read from a slot of ``pgoutput``, which every PostgreSQL has built in.

Only the protocol's first version is asked for: whole transactions, in the order of their commits,
values as text.  See "Logical Replication Message Formats" in PostgreSQL's manual.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, fetch

__all__ = ["Changed", "Changes", "Key", "Name", "parse", "peek"]

Name = tuple[str, str]
"""Schema and name of a table."""
Key = tuple[str | None, ...]
"""The values of a key's columns, as text."""


@dataclass
class Changed:
    """What happened to one table.

    columns are its key's, in the table's order; keys the rows touched (each old and new key), as
    an ordered set.  Where whole rows are sent the key is what was asked for, and need not be
    unique.  whole says that keys do not tell all: the table was truncated, or has no key.  The
    counts are of changes committed since the position that was asked for.
    """

    columns: tuple[str, ...] = ()
    keys: dict[Key, None] = field(default_factory=dict)
    whole: bool = False
    truncated: bool = False
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass
class Changes:
    """What a slot held: the tables that changed, the number of transactions, where they end."""

    tables: dict[Name, Changed] = field(default_factory=dict)
    transactions: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class _Relation:
    name: Name
    key: tuple[int, ...]
    key_columns: tuple[str, ...]
    whole_row: bool


class _Reader:
    """Walks over one message."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def number(self, format: str) -> int:
        value: int = struct.unpack_from(format, self.data, self.at)[0]
        self.at += struct.calcsize(format)
        return value

    def byte(self) -> str:
        self.at += 1
        return chr(self.data[self.at - 1])

    def word(self) -> str:
        end = self.data.index(0, self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def key(self, wanted: Sequence[int]) -> list[str | _Unchanged | None]:
        """The values at these positions of the row that comes next."""
        values: list[str | _Unchanged | None] = []
        data = self.data
        for position in range(self.number("!H")):
            kind = data[self.at]
            self.at += 1
            begin = self.at
            if kind in _WITH_VALUE:
                begin += 4
                self.at = begin + int.from_bytes(data[begin - 4 : begin], "big")
            if position in wanted:
                text = data[begin : self.at].decode() if kind in _WITH_VALUE else None
                values.append(_UNCHANGED if kind == _SAME else text)
        return values


class _Unchanged:
    """A long value that an update left as it was: the server does not send it."""


_UNCHANGED = _Unchanged()
_WITH_VALUE = b"tb"
_SAME = ord("u")


def peek(
    conn: Conn, slot: str, publication: str, upto: str | None, at_most: int | None = None
) -> list[bytes]:
    """The messages that wait in ``slot`` up to the position ``upto``, without consuming them.

    at_most bounds their number, but a transaction that was begun is read to its end.  Raises
    psycopg.Error.
    """
    rows = fetch(
        conn,
        "select data from pg_catalog.pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s,"
        " 'proto_version', '1', 'publication_names', %s)",
        (slot, upto, at_most, sql.Identifier(publication).as_string(conn)),
    )
    return [bytes(row[0]) for row in rows]


def parse(
    messages: Iterable[bytes], since: int = 0, lookups: Mapping[Name, Sequence[str]] | None = None
) -> Changes:
    """Read messages of whole transactions.

    since is a position: changes of transactions that were committed before it are not counted
    (their keys are kept all the same).  lookups are the columns that serve as the key of a table
    that sends whole rows.
    """
    wanted = lookups or {}
    found = Changes()
    relations: dict[int, _Relation] = {}
    counted = True
    for data in messages:
        kind, reader = chr(data[0]), _Reader(data)
        if kind == "B":
            counted = reader.number("!Q") >= since
        elif kind == "C":
            reader.at += 9  # flags, and where the commit record begins
            found.end = reader.number("!Q")
            found.transactions += 1
        elif kind == "R":
            oid, relation = _relation(reader, wanted)
            relations[oid] = relation
        elif kind in "IUD":
            relation = relations[reader.number("!I")]
            _change(kind, reader, relation, _of(found, relation), counted=counted)
        elif kind == "T":
            _truncate(reader, relations, found)
    return found


def _of(found: Changes, relation: _Relation) -> Changed:
    """What is known of a table.  A key that became another one makes keys useless."""
    columns = relation.key_columns
    changed = found.tables.get(relation.name)
    if changed is None:
        changed = found.tables[relation.name] = Changed(columns)
    if relation.whole_row or changed.columns != columns:
        changed.whole = True
    return changed


def _relation(reader: _Reader, lookups: Mapping[Name, Sequence[str]]) -> tuple[int, _Relation]:
    oid = reader.number("!I")
    name = (reader.word(), reader.word())
    identity = reader.byte()
    columns, key = [], []
    for position in range(reader.number("!H")):
        if reader.byte() == "\x01":
            key.append(position)
        columns.append(reader.word())
        reader.at += 8  # type and modifier
    if identity == "f":
        wanted = lookups.get(name, ())
        key = [position for position, column in enumerate(columns) if column in wanted]
        if len(key) < len(wanted):
            key = []
    names = tuple(columns[position] for position in key)
    return oid, _Relation(name, tuple(key), names, whole_row=not key)


def _change(
    kind: str, reader: _Reader, relation: _Relation, changed: Changed, *, counted: bool
) -> None:
    if counted:
        changed.inserted += kind == "I"
        changed.updated += kind == "U"
        changed.deleted += kind == "D"
    if changed.whole:
        return
    before: list[str | _Unchanged | None] | None = None
    if reader.byte() in "KO":
        before = reader.key(relation.key)
        _remember(changed, before, before)
        if kind == "D":
            return
        reader.at += 1  # the N of the new row
    _remember(changed, reader.key(relation.key), before)


def _remember(
    changed: Changed,
    values: list[str | _Unchanged | None],
    before: list[str | _Unchanged | None] | None,
) -> None:
    key: list[str | None] = []
    for position, value in enumerate(values):
        known = before[position] if isinstance(value, _Unchanged) and before else value
        if isinstance(known, _Unchanged):
            changed.whole = True
            return
        key.append(known)
    changed.keys[tuple(key)] = None


def _truncate(reader: _Reader, relations: dict[int, _Relation], found: Changes) -> None:
    tables = reader.number("!i")
    reader.at += 1  # cascade, restart identity
    for _ in range(tables):
        changed = _of(found, relations[reader.number("!I")])
        changed.truncated = True
        changed.keys.clear()
