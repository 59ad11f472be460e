"""Takes the keys out of row images in the binary log, as SQL literals.

Only the columns of a table's key are looked at; all others are stepped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from crossfade.drivers.databases.mysql.binlog import Rows, lenenc, unzipped
from crossfade.drivers.databases.mysql.catalog import Column, Table

__all__ = ["Key", "UnreadableImage", "keys_of", "readable_key"]

Key = tuple[str, ...]
"""The literals of a row's key columns, in the key's order."""

_INTS = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
_READABLE = {*_INTS, "char", "varchar", "binary", "varbinary", "date", "datetime", "timestamp"}
_FIXED = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 7: 4, 8: 8, 9: 3, 10: 3, 11: 3, 12: 8, 13: 1, 14: 3, 6: 0}
_LONG = {252, 255, 245, 140, 249, 250, 251}
_FRACTION = {17: 4, 18: 5, 19: 3}
_META = {
    4: 1, 5: 1, 252: 1, 255: 1, 245: 1, 140: 1, 17: 1, 18: 1, 19: 1, 249: 1, 250: 1, 251: 1,
    15: 2, 141: 2, 16: 2, 246: 2, 254: 2, 247: 2, 248: 2, 253: 2,
}  # fmt: skip
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


class UnreadableImage(Exception):
    """The key is not in the image, or of a kind that is not read."""


def readable_key(table: Table) -> bool:
    """Whether keys of this table can be read from row images."""
    kinds = {column.name: column.kind for column in table.columns}
    return bool(table.key) and all(kinds[name] in _READABLE for name in table.key)


def keys_of(rows: Rows, table: Table) -> Iterator[tuple[Key, bool]]:
    """The key of every changed row, before and after; and whether a row with it went away.

    Raises UnreadableImage."""
    if len(rows.types) < len(table.columns):
        raise UnreadableImage
    types = _types(rows.types, rows.metadata)
    wanted = {column.position: column for column in table.columns if column.name in table.key}
    order = [next(p for p, c in wanted.items() if c.name == name) for name in table.key]
    data = rows.body
    count, position = lenenc(data, 0)
    width = (count + 7) // 8
    images = []
    for _ in range(2 if rows.what == "update" else 1):
        images.append(_bits(data[position : position + width], count))
        position += width
    if rows.zipped:
        data, position = unzipped(data[position:]), 0
    while position < len(data):
        before: Key | None = None
        for number, present in enumerate(images):
            found, position = _image(data, position, present, types, wanted)
            if any(p not in found for p in order):
                if number and before:  # a minimal image repeats only what changed
                    found = {p: found.get(p, before[i]) for i, p in enumerate(order)}
                else:
                    raise UnreadableImage
            key = tuple(found[p] for p in order)
            if number == 0 and rows.what == "update":
                before = key
                continue
            if before is not None and before != key:
                yield before, True
            yield key, rows.what == "delete"


def _types(types: bytes, metadata: bytes) -> list[tuple[int, int, int]]:
    """For each column its type and two numbers of metadata."""
    found, position = [], 0
    for kind in types:
        size = _META.get(kind, 0)
        meta = metadata[position : position + size]
        position += size
        first, second = (*meta, 0, 0)[:2]
        if kind in (254, 247, 248):
            if first & 0x30 != 0x30:
                found.append((first | 0x30, second | ((first & 0x30) ^ 0x30) << 4, 0))
            else:
                found.append((first, second, 0))
        elif kind in (15, 141, 253):
            found.append((kind, first | second << 8, 0))
        else:
            found.append((kind, first, second))
    return found


def _bits(data: bytes, count: int) -> list[bool]:
    return [bool(data[i >> 3] & 1 << (i & 7)) for i in range(count)]


def _image(
    data: bytes,
    position: int,
    present: list[bool],
    types: list[tuple[int, int, int]],
    wanted: dict[int, Column],
) -> tuple[dict[int, str], int]:
    """The wanted columns' literals of one image, and where the next image begins."""
    width = (sum(present) + 7) // 8
    nulls = data[position : position + width]
    position += width
    found: dict[int, str] = {}
    seen = 0
    for index, there in enumerate(present):
        if not there:
            continue
        null = nulls[seen >> 3] & 1 << (seen & 7)
        seen += 1
        if null:
            continue
        kind, first, second = types[index]
        start, end = _extent(data, position, kind, first, second)
        if index in wanted:
            found[index] = _literal(data[start:end], kind, first, wanted[index])
        position = end
    return found, position


def _extent(data: bytes, position: int, kind: int, first: int, second: int) -> tuple[int, int]:
    """Where a value's bytes begin and end."""
    if kind in _FIXED:
        return position, position + _FIXED[kind]
    if kind in (15, 141, 253, 254):
        size = 2 if first > 255 else 1
        length = int.from_bytes(data[position : position + size], "little")
        return position + size, position + size + length
    if kind in _LONG:
        length = int.from_bytes(data[position : position + first], "little")
        return position + first, position + first + length
    if kind in _FRACTION:
        return position, position + _FRACTION[kind] + (first + 1) // 2
    if kind == 246:
        return position, position + _decimal_bytes(first, second)
    if kind == 16:
        return position, position + second + (1 if first else 0)
    if kind in (247, 248):
        return position, position + first
    raise UnreadableImage


def _decimal_bytes(precision: int, scale: int) -> int:
    whole = precision - scale
    return whole // 9 * 4 + _DIGITS[whole % 9] + scale // 9 * 4 + _DIGITS[scale % 9]


def _literal(value: bytes, kind: int, first: int, column: Column) -> str:
    """A value as the SQL literal that compares equal to the column's."""
    if column.kind in _INTS:
        return str(int.from_bytes(value, "little", signed="unsigned" not in column.type))
    if column.kind in ("char", "varchar"):
        return f"_{column.charset} x'{value.hex()}'"
    if column.kind == "binary":
        return f"x'{value.ljust(first, bytes(1)).hex()}'"
    if column.kind == "varbinary":
        return f"x'{value.hex()}'"
    if column.kind == "date" and kind in (10, 14):
        packed = int.from_bytes(value, "little")
        return f"'{packed >> 9:04}-{packed >> 5 & 15:02}-{packed & 31:02}'"
    if kind == 18:
        return _datetime(value, first)
    if kind == 17:
        return _timestamp(value, first)
    raise UnreadableImage


def _fraction(value: bytes, digits: int) -> str:
    if not digits:
        return ""
    number = int.from_bytes(value, "big")
    wide = (digits + 1) // 2 * 2
    return "." + f"{number:0{wide}}"[:digits]


def _datetime(value: bytes, digits: int) -> str:
    packed = int.from_bytes(value[:5], "big") - 0x8000000000
    days, clock = packed >> 17, packed & 0x1FFFF
    months, day = days >> 5, days & 31
    stamp = f"{months // 13:04}-{months % 13:02}-{day:02} "
    stamp += f"{clock >> 12:02}:{clock >> 6 & 63:02}:{clock & 63:02}"
    return f"'{stamp}{_fraction(value[5:], digits)}'"


def _timestamp(value: bytes, digits: int) -> str:
    seconds = int.from_bytes(value[:4], "big")
    if not seconds:
        return f"'0000-00-00 00:00:00{_fraction(value[4:], digits)}'"
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"'{moment:%Y-%m-%d %H:%M:%S}{_fraction(value[4:], digits)}'"
