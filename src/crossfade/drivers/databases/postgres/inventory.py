"""What stands in a PostgreSQL database: frozen values that every part of the driver shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from crossfade.model import Problem

__all__ = ["Column", "Extension", "Inventory", "Lookup", "Sequence", "Table", "UniqueKey"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.  type is as ``format_type`` writes it; generated says that it holds no data.

    base is the type below domains without its modifiers.  plain says that its binary form means
    the same on every server: no object ids in it, no extension's own format.
    """

    name: str
    type: str
    position: int
    not_null: bool
    generated: bool
    identity: bool
    base: str = ""
    plain: bool = False


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique index that can identify rows: immediate, whole, plain columns, none of them null."""

    index: str
    columns: tuple[str, ...]
    primary: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """An index that finds rows, though it may not be unique: its columns, and how many rows are
    guessed to have the same values there; most is the same for the table's worst index, which a
    server may take instead.  None: the server has no statistics.
    """

    columns: tuple[str, ...]
    rows: float | None
    most: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table: an ordinary one (also a partition), a partitioned one, or a foreign one.

    kind is ``table``, ``partitioned`` or ``foreign``; only the first has data of its own.
    bytes is heap and TOAST without indexes, pages the blocks of the heap, rows an estimate.
    keys are what may serve as replica identity, the primary key first; identity is how the table
    is set: ``default``, ``nothing``, ``full`` or ``index`` (then identity_index names it).
    parents are oids of what it inherits from or is a partition of.  owner is a role's name.
    extension and condition are set when the table belongs to an extension that declared it as
    configuration: then only the rows of the condition (``WHERE ...`` or empty) are data.
    lookup is for tables without keys (None: no index will do).
    """

    oid: int
    schema: str
    name: str
    kind: str
    owner: str
    bytes: int
    pages: int
    rows: int
    columns: tuple[Column, ...]
    keys: tuple[UniqueKey, ...]
    identity: str
    identity_index: str = ""
    unlogged: bool = False
    partition: bool = False
    parents: tuple[int, ...] = ()
    row_security: bool = False
    extension: str = ""
    condition: str = ""
    lookup: Lookup | None = None

    def __str__(self) -> str:
        return _dotted(self.schema, self.name)

    @property
    def sql(self) -> sql.Identifier:
        """Its qualified name, for composing statements."""
        return sql.Identifier(self.schema, self.name)

    @property
    def data_columns(self) -> tuple[str, ...]:
        """Names of the columns that hold data, in their order: all but generated ones."""
        return tuple(column.name for column in self.columns if not column.generated)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns by which replication finds a row now; empty: none, or the whole row."""
        if self.identity == "default":
            return next((key.columns for key in self.keys if key.primary), ())
        if self.identity == "index":
            return next((k.columns for k in self.keys if k.index == self.identity_index), ())
        return ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence.  owned_by is ``schema.table.column`` when a column owns it.

    Its value is not here: read ``last_value, is_called`` from the sequence itself, since
    ``pg_sequences`` hides the value of one that was set but not yet called.
    """

    oid: int
    schema: str
    name: str
    type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cycle: bool
    unlogged: bool = False
    owned_by: str = ""

    def __str__(self) -> str:
        return _dotted(self.schema, self.name)

    @property
    def sql(self) -> sql.Identifier:
        """Its qualified name, for composing statements."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension, its version, and the schema of its objects."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that has to be carried of a database, and what is to be said about it.

    version is the server's number (150018), version_words its name.  bytes is the whole database.
    tables and sequences leave out what belongs to extensions, but for their configuration tables.
    roles are the names that own something, have a grant or a policy here (without pg_* roles).
    settings are server parameters that matter (wal_level, max_replication_slots, ...).
    reasons_for_dump: why the changes cannot be followed (empty: they can, as far as the schema
    goes).  not_carried is told in the plan; problems refuse.  facts must stay as rehearsed.
    """

    database: str
    version: int
    version_words: str
    bytes: int
    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str
    tables: tuple[Table, ...]
    sequences: tuple[Sequence, ...]
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    matviews: tuple[str, ...] = ()
    large_objects: int = 0
    event_triggers: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    reasons_for_dump: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    not_carried: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def with_data(self) -> tuple[Table, ...]:
        """The tables that hold rows of their own, largest first."""
        own = (table for table in self.tables if table.kind == "table")
        return tuple(sorted(own, key=lambda table: (-table.bytes, str(table))))


def _dotted(schema: str, name: str) -> str:
    """``schema.name``, quoted where that could mean another table."""
    return ".".join(f'"{part}"' if "." in part or '"' in part else part for part in (schema, name))
