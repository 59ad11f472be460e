"""Rows as lines of bytes: written by one server, read by the other, touched by nobody between.

The sending server builds a line for each row by itself, and the receiving one takes it with LOAD
DATA, so that Python only passes bytes on.  Every value travels as the bytes that it is stored in
(``convert ... using binary``), no character set is converted on the way; floats go as doubles,
which lose nothing.  The same lines, hashed, are how rows are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pymysql.constants import COMMAND

from crossfade.drivers.databases.mysql.catalog import Column, Table
from crossfade.drivers.databases.mysql.connect import Conn, ident
from crossfade.errors import Failed

__all__ = ["TEXT", "line", "line_of", "load", "load_statement", "read_lines"]

TEXT = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_SHAPES = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
}  # fmt: skip
_WRITTEN = {"uuid", "inet4", "inet6"}
_LONG = {"mediumtext", "longtext", "json", "mediumblob", "longblob"}
_ESCAPED_UP_TO = 1 << 16
"""Bytes of a value.  MariaDB's replace() moves the rest of the value for every hit, so that
megabytes with many hits would keep the old server busy for an hour; they travel as digits."""
_FIELD = "0x09"
_LINE = "0x0a"
_BLOCK = 1 << 19


def line(table: Table) -> str:
    """The SQL expression of a row's line: fields escaped by a backslash, ended by a line feed."""
    return line_of(table.carried)


def line_of(columns: Iterable[Column]) -> str:
    """The same for some columns."""
    fields = [_field(column) for column in columns]
    return "concat(" + f", {_FIELD}, ".join(fields) + f", {_LINE})"


def _field(column: Column) -> str:
    name = ident(column.name)
    if column.kind in TEXT | _BYTES | _SHAPES:
        value = (
            f"convert({name} using binary)" if column.kind in TEXT else f"cast({name} as binary)"
        )
        escaped = value
        for byte in ("5c", "09", "0a"):
            escaped = f"replace({escaped}, 0x{byte}, 0x5c{byte})"
        if column.kind in _LONG:
            escaped = (
                f"if(octet_length({name}) > {_ESCAPED_UP_TO},"
                f" concat(0x68, hex({value})), concat(0x65, {escaped}))"
            )
        value = escaped
    elif column.kind in ("float", "bit"):
        value = f"({name} * 1e0)" if column.kind == "float" else f"({name} + 0)"
    elif column.kind in _WRITTEN:
        value = f"convert({name} using ascii)"
    else:
        value = name
    return f"ifnull({value}, 0x5c4e)" if column.nullable else value


def load_statement(table: Table, *, replace: bool = False) -> str:
    """The statement that takes such lines on the other server."""
    names, sets = [], []
    for column in table.carried:
        variable = f"@v{column.position}"
        if column.kind in _LONG:
            names.append(variable)
            value = (
                f"if(left({variable}, 1) = 0x68,"
                f" unhex(substr({variable}, 2)), substr({variable}, 2))"
            )
            sets.append(f"{ident(column.name)} = {value}")
        elif column.kind == "bit" or column.kind in _WRITTEN:
            names.append(variable)
            value = f"cast({variable} as unsigned)"
            if column.kind in _WRITTEN:  # bytes would be taken for the stored form
                value = f"convert({variable} using ascii)"
            sets.append(f"{ident(column.name)} = {value}")
        else:
            names.append(ident(column.name))
    return (
        f"load data local infile 'crossfade' {'replace ' if replace else ''}"
        f"into table {ident(table.name)} character set binary"
        f" fields terminated by {_FIELD} escaped by 0x5c lines terminated by {_LINE}"
        f" ({', '.join(names)})" + (f" set {', '.join(sets)}" if sets else "")
    )


def read_lines(conn: Conn, query: str) -> Iterator[tuple[bytes, int]]:
    """The first column of every row of a query, as the server sends them: joined into blocks, with
    the number of rows in each.

    A result is read packet by packet from the session itself: a row as a Python object would cost
    more than both servers together.  The iterator must be read to its end."""
    raw: Any = conn
    raw._execute_command(COMMAND.COM_QUERY, query)
    raw._read_packet()  # the number of columns; raises when the server refuses
    raw._read_packet()  # the column
    raw._read_packet()  # the end of the columns
    rest = b""
    while True:
        read = raw._rfile.read1(_BLOCK)
        if not read:
            raise ConnectionResetError("the server closed the connection")
        whole, rest, ended = _taken(rest + read if rest else read)
        if whole:
            yield b"".join(whole), len(whole)
        if ended is not None:
            raw._next_seq_id = 0
            if ended[:1] == b"\xff":
                _raise(raw, ended)
            return


def _taken(data: bytes) -> tuple[list[bytes], bytes, bytes | None]:
    """Values of all whole packets, the rest, and the packet that ends the result, if it came."""
    lines: list[bytes] = []
    position, length = 0, len(data)
    while position + 5 <= length:
        size = data[position] | data[position + 1] << 8 | data[position + 2] << 16
        end = position + 4 + size
        if size == 0xFFFFFF:
            joined = _joined(data, position)
            if joined is None:
                break
            lines.append(joined[0])
            position = joined[1]
            continue
        if end > length:
            break
        first = data[position + 4]
        if first < 251:
            lines.append(data[position + 5 : end])
        elif first == 252:
            lines.append(data[position + 7 : end])
        elif first == 253:
            lines.append(data[position + 8 : end])
        elif first == 254 and size >= 9:
            lines.append(data[position + 13 : end])
        elif first == 0xFB:  # NULL: a line never is, and what follows must not be lost
            raise Failed("rows-not-sent", "The old server cannot write a row as a line.")
        else:
            return lines, b"", data[position + 4 : end]
        position = end
    return lines, data[position:], None


def _joined(data: bytes, position: int) -> tuple[bytes, int] | None:
    """A value longer than a packet, and where the next one begins; None when not all is there."""
    parts = []
    size = 0xFFFFFF
    while size == 0xFFFFFF:
        if position + 4 > len(data):
            return None
        size = int.from_bytes(data[position : position + 3], "little")
        if position + 4 + size > len(data):
            return None
        parts.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    whole = b"".join(parts)
    return whole[{252: 3, 253: 4, 254: 9}[whole[0]] :], position


def load(conn: Conn, statement: str, blocks: Iterable[bytes]) -> int:
    """Give blocks of lines to a LOAD DATA LOCAL statement; returns how many rows it took."""
    raw: Any = conn
    raw._execute_command(COMMAND.COM_QUERY, statement)
    packet = raw._read_packet()
    if not packet.is_load_local_packet():
        raise ConnectionResetError("the server does not ask for the rows")
    for block in blocks:
        for start in range(0, len(block), 1 << 20):
            raw.write_packet(block[start : start + (1 << 20)])
    raw.write_packet(b"")
    answer = raw._read_packet()
    answer.advance(1)
    return int(answer.read_length_encoded_integer())


def _raise(raw: Any, packet: bytes) -> None:
    from pymysql.err import raise_mysql_exception

    raise_mysql_exception(packet)
