"""Reads what stands in a PostgreSQL database.  Changes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from crossfade.drivers.databases.postgres import queries
from crossfade.drivers.databases.postgres.connect import Conn, fetch, one
from crossfade.drivers.databases.postgres.inventory import (
    Column,
    Extension,
    Inventory,
    Lookup,
    Sequence,
    Table,
    UniqueKey,
)
from crossfade.drivers.databases.postgres.lookups import lookups

__all__ = [
    "Column",
    "Extension",
    "Inventory",
    "Sequence",
    "Table",
    "UniqueKey",
    "inspect",
    "schema_fingerprint",
]

_KINDS = {"r": "table", "p": "partitioned", "f": "foreign"}
_IDENTITIES = {"d": "default", "n": "nothing", "f": "full", "i": "index"}


def inspect(conn: Conn) -> Inventory:
    """The inventory of the database that ``conn`` is in.  Raises psycopg.Error.

    Everything is read as of one moment when ``conn`` is in a repeatable-read transaction.
    """
    version = int(one(conn, "show server_version_num"))
    name, size, encoding, collate, ctype = fetch(conn, queries.DATABASE)[0]
    provider, locale = _provider(conn, version)
    tables = _tables(conn)
    large_objects = int(one(conn, "select count(*) from pg_largeobject_metadata"))
    extensions = tuple(Extension(*row) for row in fetch(conn, queries.EXTENSIONS))
    words = str(one(conn, "show server_version")).split()[0]
    return Inventory(
        database=name,
        version=version,
        version_words=words,
        bytes=int(size),
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        provider=provider,
        locale=locale,
        tables=tables,
        sequences=tuple(Sequence(*row) for row in fetch(conn, queries.SEQUENCES)),
        extensions=extensions,
        roles=tuple(row[0] for row in fetch(conn, queries.ROLES)),
        matviews=tuple(row[0] for row in fetch(conn, queries.MATVIEWS)),
        large_objects=large_objects,
        event_triggers=int(one(conn, queries.EVENT_TRIGGERS)),
        settings={row[0]: row[1] for row in fetch(conn, queries.SETTINGS)},
        reasons_for_dump=_reasons(large_objects),
        warnings=_warnings(conn),
        not_carried=tuple(row[0] for row in fetch(conn, queries.NOT_CARRIED)),
        facts={
            "version": words,
            "encoding": f"{encoding} {collate} {ctype} {provider} {locale}".strip(),
            "schema": schema_fingerprint(conn),
            "extensions": ", ".join(f"{e.name} {e.version}" for e in extensions),
        },
    )


def schema_fingerprint(conn: Conn) -> str:
    """16 hex digits that change with columns, constraints, indexes, triggers, views, functions.

    Compares a database with itself at another time; between two servers compare their dumps.
    """
    whole = sha256()
    for query in queries.FINGERPRINT:
        for row in fetch(conn, query):
            whole.update(json.dumps(row, ensure_ascii=False, default=str).encode())
        whole.update(b"\n")
    return whole.hexdigest()[:16]


def _provider(conn: Conn, version: int) -> tuple[str, str]:
    """The kind of the database's collation (libc, icu, builtin), and its locale where not libc."""
    if version < 150000:
        return "libc", ""
    query = queries.PROVIDER_17 if version >= 170000 else queries.PROVIDER_15
    kind, locale = fetch(conn, query)[0]
    return {"c": "libc", "i": "icu", "b": "builtin"}.get(kind, kind), locale or ""


def _tables(conn: Conn) -> tuple[Table, ...]:
    columns = _columns(conn)
    keys = _keys(conn, columns)
    ways = lookups(conn)
    return tuple(_table(row, columns, keys, ways) for row in fetch(conn, queries.TABLES))


def _columns(conn: Conn) -> Mapping[int, list[Column]]:
    found: dict[int, list[Column]] = defaultdict(list)
    for oid, *values in fetch(conn, queries.COLUMNS):
        found[oid].append(Column(*values))
    return found


def _keys(conn: Conn, columns: Mapping[int, list[Column]]) -> Mapping[int, list[UniqueKey]]:
    found: dict[int, list[UniqueKey]] = defaultdict(list)
    for oid, index, names, primary in fetch(conn, queries.KEYS):
        data = {column.name for column in columns[oid] if not column.generated}
        if data.issuperset(names):
            found[oid].append(UniqueKey(index, tuple(names), primary))
    return found


def _table(
    row: tuple[Any, ...],
    columns: Mapping[int, list[Column]],
    keys: Mapping[int, list[UniqueKey]],
    ways: Mapping[int, Lookup],
) -> Table:
    oid, schema, name, kind, owner, size, pages, rows, identity, index, *rest = row
    unlogged, partition, security, parents, extension, condition = rest
    return Table(
        oid=oid,
        schema=schema,
        name=name,
        kind=_KINDS[kind],
        owner=owner,
        bytes=int(size),
        pages=int(pages),
        rows=int(rows),
        columns=tuple(columns.get(oid, ())),
        keys=tuple(keys.get(oid, ())),
        identity=_IDENTITIES[identity],
        identity_index=index or "",
        unlogged=unlogged,
        partition=partition,
        parents=tuple(parents),
        row_security=security,
        extension=extension or "",
        condition=condition or "",
        lookup=ways.get(oid),
    )


def _reasons(large_objects: int) -> tuple[str, ...]:
    reasons = []
    if large_objects:
        reasons.append(f"it holds {large_objects} large objects, whose changes cannot be followed")
    return tuple(reasons)


def _warnings(conn: Conn) -> tuple[str, ...]:
    said = [
        f"table {row[0]} has an invalid index {row[1]}: it is made anew on the new side"
        for row in fetch(conn, queries.INVALID_INDEXES)
    ]
    said += [
        f"constraint {row[1]} of {row[0]} was never validated: it stays so on the new side"
        for row in fetch(conn, queries.NOT_VALID)
    ]
    return tuple(said)
