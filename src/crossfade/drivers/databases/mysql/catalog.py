"""What stands in a database: tables with columns and keys, and everything else by its definition.

Read in a handful of queries, whatever the number of tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from crossfade.drivers.databases.mysql.connect import Ask, Conn, fetch, ident, is_mariadb

__all__ = [
    "Catalog",
    "Column",
    "Reference",
    "Table",
    "definitions",
    "fingerprint",
    "floats",
    "read_catalog",
    "read_names",
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.  kind is its type without details (``varchar``), type with them.

    generated columns are computed by the server and not carried; position counts from 0."""

    name: str
    kind: str
    type: str
    position: int
    nullable: bool
    charset: str | None
    generated: bool
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key that changes rows by itself: rows of ``table`` follow rows of ``to``.

    columns of ``table`` refer to to_columns, in order."""

    table: str
    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A base table.  key names the columns that tell its rows apart (primary, or unique and never
    null); empty when there is none.  size is bytes, rows the server's estimate."""

    name: str
    engine: str
    size: int
    rows: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    versioned: bool = False
    auto_increment: int | None = None

    @property
    def carried(self) -> tuple[Column, ...]:
        """The columns that hold data of their own; of a versioned table also each row's period."""
        own = tuple(column for column in self.columns if not column.generated)
        if not self.versioned:
            return own
        named = {c.expression.upper(): c.name for c in self.columns if c.generated}
        period = (named.get("ROW START", "row_start"), named.get("ROW END", "row_end"))
        return own + tuple(
            Column(name, "timestamp", "timestamp(6)", -1, False, None, False) for name in period
        )


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything in one database.  views, routines, triggers and events are names."""

    name: str
    charset: str
    collation: str
    comment: str
    tables: Mapping[str, Table]
    sequences: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    routines: tuple[tuple[str, str], ...] = ()
    triggers: tuple[str, ...] = ()
    events: Mapping[str, str] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all tables with their indexes, as the server counts them."""
        return sum(table.size for table in self.tables.values())

    @property
    def empty(self) -> bool:
        """Whether nothing at all stands in it."""
        return not (self.tables or self.sequences or self.views or self.routines or self.events)


def read_catalog(conn: Conn, database: str) -> Catalog | None:
    """What stands in ``database``; None when there is no such database."""
    comment = "schema_comment" if is_mariadb(conn) else "''"
    found = fetch(
        conn,
        f"select default_character_set_name, default_collation_name, {comment}"  # noqa: S608
        " from information_schema.schemata where schema_name = %s",
        (database,),
    )
    if not found:
        return None
    rows = fetch(
        conn,
        "select table_name, table_type, engine, coalesce(data_length, 0)"
        " + coalesce(index_length, 0), coalesce(table_rows, 0), auto_increment"
        " from information_schema.tables where table_schema = %s order by table_name",
        (database,),
    )
    columns, keys = _columns(conn, database), _keys(conn, database)
    tables = {
        str(name): Table(
            name=str(name),
            engine=str(engine),
            size=int(size),
            rows=int(count),
            columns=columns.get(str(name), ()),
            key=_best(keys.get(str(name), {}), columns.get(str(name), ())),
            versioned=kind == "SYSTEM VERSIONED",
            auto_increment=None if counter is None else int(counter),
        )
        for name, kind, engine, size, count, counter in rows
        if kind in ("BASE TABLE", "SYSTEM VERSIONED")
    }
    of_kind = {k: tuple(str(r[0]) for r in rows if r[1] == k) for k in ("SEQUENCE", "VIEW")}
    charset, collation, said = found[0]
    return Catalog(
        name=database,
        charset=str(charset),
        collation=str(collation),
        comment=str(said or ""),
        tables=tables,
        sequences=of_kind["SEQUENCE"],
        views=of_kind["VIEW"],
        routines=_routines(conn, database),
        triggers=_triggers(conn, database),
        events=_events(conn, database),
        references=_references(conn, database),
    )


def read_names(conn: Conn, database: str) -> tuple[dict[str, str], tuple[str, ...]] | None:
    """Base tables with their engine, and sequences; None when there is no such database.

    For the pause: one question instead of many."""
    rows = fetch(
        conn,
        "select s.schema_name, t.table_name, t.table_type, t.engine"
        " from information_schema.schemata s left join information_schema.tables t"
        " on t.table_schema = s.schema_name and t.table_type <> 'VIEW'"
        " and t.table_schema = %s where s.schema_name = %s order by t.table_name",
        (database, database),
    )
    if not rows:
        return None
    tables = {
        str(name): str(engine)
        for _, name, kind, engine in rows
        if kind in ("BASE TABLE", "SYSTEM VERSIONED")
    }
    return tables, tuple(str(row[1]) for row in rows if row[2] == "SEQUENCE")


def _columns(conn: Conn, database: str) -> dict[str, tuple[Column, ...]]:
    found: dict[str, list[Column]] = {}
    for row in fetch(
        conn,
        "select table_name, column_name, data_type, column_type, is_nullable, character_set_name,"
        " extra, generation_expression from information_schema.columns"
        " where table_schema = %s order by table_name, ordinal_position",
        (database,),
    ):
        table, name, kind, full, nullable, charset, extra, expression = row
        columns = found.setdefault(str(table), [])
        columns.append(
            Column(
                name=str(name),
                kind=str(kind).lower(),
                type=str(full).lower(),
                position=len(columns),
                nullable=nullable == "YES",
                charset=None if charset is None else str(charset),
                generated=bool(expression)
                or "GENERATED" in str(extra).upper().replace("DEFAULT_GENERATED", ""),
                expression=str(expression or ""),
            )
        )
    return {table: tuple(columns) for table, columns in found.items()}


def _keys(conn: Conn, database: str) -> dict[str, dict[str, list[str | None]]]:
    """Unique indexes by table and name; a part of a column counts as None."""
    found: dict[str, dict[str, list[str | None]]] = {}
    for table, index, column, part in fetch(
        conn,
        "select table_name, index_name, column_name, sub_part from information_schema.statistics"
        " where table_schema = %s and non_unique = 0 order by table_name, index_name, seq_in_index",
        (database,),
    ):
        columns = found.setdefault(str(table), {}).setdefault(str(index), [])
        columns.append(None if part is not None or column is None else str(column))
    return found


def _best(keys: Mapping[str, list[str | None]], columns: tuple[Column, ...]) -> tuple[str, ...]:
    """The primary key, or else the shortest unique index over columns that are never null."""
    nullable = {column.name: column.nullable or column.generated for column in columns}
    names = sorted(keys, key=lambda name: (name != "PRIMARY", len(keys[name]), name))
    for name in names:
        parts = keys[name]
        if all(part is not None and not nullable.get(part, True) for part in parts):
            return tuple(str(part) for part in parts)
    return ()


def _routines(conn: Conn, database: str) -> tuple[tuple[str, str], ...]:
    rows = fetch(
        conn,
        "select routine_type, routine_name from information_schema.routines"
        " where routine_schema = %s order by 1, 2",
        (database,),
    )
    return tuple((str(kind), str(name)) for kind, name in rows)


def _triggers(conn: Conn, database: str) -> tuple[str, ...]:
    rows = fetch(
        conn,
        "select trigger_name from information_schema.triggers where trigger_schema = %s"
        " order by event_object_table, action_timing, event_manipulation, action_order",
        (database,),
    )
    return tuple(str(name) for (name,) in rows)


def _events(conn: Conn, database: str) -> dict[str, str]:
    rows = fetch(
        conn,
        "select event_name, status from information_schema.events where event_schema = %s"
        " order by 1",
        (database,),
    )
    return {str(name): str(status) for name, status in rows}


def _references(conn: Conn, database: str) -> tuple[Reference, ...]:
    """Foreign keys whose action changes rows without a word in the binary log."""
    rows = fetch(
        conn,
        "select r.table_name, r.constraint_name, r.referenced_table_name, k.column_name,"
        " k.referenced_column_name from information_schema.referential_constraints r"
        " join information_schema.key_column_usage k on k.constraint_schema = r.constraint_schema"
        " and k.constraint_name = r.constraint_name and k.table_name = r.table_name"
        " where r.constraint_schema = %s and r.unique_constraint_schema = %s"
        " and not (r.delete_rule in ('RESTRICT', 'NO ACTION')"
        " and r.update_rule in ('RESTRICT', 'NO ACTION'))"
        " order by 1, 2, k.ordinal_position",
        (database, database),
    )
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for table, name, to, column, other in rows:
        found.setdefault((str(table), str(name), str(to)), []).append((str(column), str(other)))
    return tuple(
        Reference(table, tuple(a for a, _ in pairs), to, tuple(b for _, b in pairs))
        for (table, _, to), pairs in found.items()
    )


def definitions(conn: Conn, catalog: Catalog, ask: Ask | None = None) -> dict[str, str]:
    """How everything in the database is made, by ``kind name``, without counters.

    Our own fence's triggers are left out; the session must have that database as its own.  ask
    reads sequences where the session cannot."""
    found: dict[str, str] = {"database": f"{catalog.charset} {catalog.collation}"}
    for name in (*catalog.tables, *catalog.views):
        row = fetch(conn, f"show create table {ident(name)}")[0]
        found[f"table {name}"] = _without_counter(str(row[1]))
    for name in catalog.sequences:
        query = f"select * from {ident(name)}"  # noqa: S608
        row = (ask(query) if ask else fetch(conn, query))[0]
        found[f"sequence {name}"] = " ".join(map(str, row[1:6]))
    for kind, name in catalog.routines:
        row = fetch(conn, f"show create {kind} {ident(name)}")[0]
        found[f"{kind.lower()} {name}"] = f"{row[1]} {row[2]}"
    for name in catalog.triggers:
        if not name.startswith("crossfade_fence_"):
            row = fetch(conn, f"show create trigger {ident(name)}")[0]
            found[f"trigger {name}"] = f"{row[1]} {row[2]}"
    for name in catalog.events:
        row = fetch(conn, f"show create event {ident(name)}")[0]
        found[f"event {name}"] = " ".join(str(row[3]).replace(" DISABLE", " ENABLE").split())
    return found


def fingerprint(made: Mapping[str, str]) -> str:
    """16 hex digits over definitions."""
    whole = blake2b(digest_size=8)
    for name in sorted(made):
        whole.update(f"{name}\0{made[name]}\0".encode())
    return whole.hexdigest()


def _without_counter(statement: str) -> str:
    """SHOW CREATE TABLE's last line without AUTO_INCREMENT=n."""
    head, line, tail = statement.rpartition("\n")
    words = [word for word in tail.split(" ") if not word.startswith("AUTO_INCREMENT=")]
    return head + line + " ".join(words)


def floats(conn: Conn, catalog: Catalog) -> set[str]:
    """Tables with FLOAT columns, which the client's dump rounds to six digits."""
    rows = fetch(
        conn,
        "select distinct table_name from information_schema.columns"
        " where table_schema = %s and data_type = 'float'",
        (catalog.name,),
    )
    return {str(row[0]) for row in rows}
