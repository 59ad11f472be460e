"""Rows of one table on both sides, compared by hashes that the servers make.

A row's hash is made of hashes of its columns, so that no value is too long for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from crossfade.drivers.databases.mysql.catalog import Column, Table
from crossfade.drivers.databases.mysql.connect import Conn, Row, fetch, ident
from crossfade.drivers.databases.mysql.digests import condition
from crossfade.drivers.databases.mysql.images import Key
from crossfade.drivers.databases.mysql.rows import TEXT

__all__ = ["count", "key_fields", "referring", "row_hash", "unequal", "whole"]

_AT_ONCE = 500
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_SHAPES = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
}  # fmt: skip
_INTS = {"tinyint", "smallint", "mediumint", "int", "bigint"}


def unequal(
    beside: ThreadPoolExecutor, old: Conn, new: Conn, table: Table, keys: Collection[Key]
) -> dict[Key, None]:
    """Those of the rows that are not the same on both sides, or only on one."""
    found: dict[Key, None] = {}
    fields = ", ".join(key_fields(table))
    query = f"select {fields}, {row_hash(table)} from {ident(table.name)} where "  # noqa: S608
    for few in _few(list(keys)):
        asked = query + condition(table, few)
        there = beside.submit(fetch, old, asked)
        here = _by_key(fetch(new, asked))
        olds = _by_key(there.result())
        found.update((key, None) for key in {**olds, **here} if olds.get(key) != here.get(key))
    return found


def referring(
    beside: ThreadPoolExecutor,
    old: Conn,
    new: Conn,
    table: Table,
    columns: tuple[str, ...],
    values: Collection[Key],
) -> dict[Key, None]:
    """Those of the values for which the rows that have them in ``columns`` are not the same."""
    found: dict[Key, None] = {}
    names = [ident(name) for name in columns]
    for few in _few(list(values)):
        for value in few:
            match = " and ".join(f"{n} = {v}" for n, v in zip(names, value, strict=True))
            asked = _sum(table) + f" where {match}"
            there = beside.submit(fetch, old, asked)
            if fetch(new, asked) != there.result():
                found[value] = None
    return found


def whole(beside: ThreadPoolExecutor, old: Conn, new: Conn, table: Table) -> bool:
    """Whether the tables differ as a whole."""
    there = beside.submit(fetch, old, _sum(table))
    return fetch(new, _sum(table)) != there.result()


def count(conn: Conn, table: Table) -> int:
    """How many rows it has."""
    return int(fetch(conn, f"select count(*) from {ident(table.name)}")[0][0])  # noqa: S608


def row_hash(table: Table) -> str:
    """The SQL expression of a row's hash: 32 hex digits."""
    return f"md5(concat_ws('|', {', '.join(_value(column) for column in table.carried)}))"


def key_fields(table: Table) -> list[str]:
    """SQL expressions that give each column of the key as the literal that a row image gives."""
    columns = {column.name: column for column in table.columns}
    return [_literal(columns[name]) for name in table.key]


def _sum(table: Table) -> str:
    # As a number of its own: conv() gives a string, and a sum of strings is a double, which
    # depends on the order of the rows.
    digits = f"cast(conv(left({row_hash(table)}, 15), 16, 10) as unsigned)"
    return f"select count(*), coalesce(sum({digits}), 0) from {ident(table.name)}"  # noqa: S608


def _value(column: Column) -> str:
    name = ident(column.name)
    if column.kind in TEXT | _BYTES:
        value = f"md5({name})"
    elif column.kind in _SHAPES:
        value = f"md5(cast({name} as binary))"
    elif column.kind in ("float", "bit"):
        value = f"({name} + {'0e0' if column.kind == 'float' else '0'})"
    else:
        value = name
    return f"ifnull({value}, '~')" if column.nullable else value


def _literal(column: Column) -> str:
    name = ident(column.name)
    if column.kind in _INTS:
        return f"cast({name} + 0 as char)"
    if column.kind in ("char", "varchar"):
        return f"concat('_{column.charset} x''', lower(hex({name})), '''')"
    if column.kind in ("binary", "varbinary"):
        return f"concat('x''', lower(hex({name})), '''')"
    return f"concat('''', {name}, '''')"


def _by_key(rows: Collection[Row]) -> dict[Key, str]:
    return {tuple(map(str, row[:-1])): str(row[-1]) for row in rows}


def _few(keys: list[Key]) -> Iterator[list[Key]]:
    for begin in range(0, len(keys), _AT_ONCE):
        yield keys[begin : begin + _AT_ONCE]
