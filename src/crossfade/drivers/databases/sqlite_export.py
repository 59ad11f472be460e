"""Rows that one SQLite file has and another lacks, as JSON lines."""

from __future__ import annotations

import base64
import json
import math
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from crossfade.drivers.databases.sqlite_digest import tables_of, text_as_it_is
from crossfade.drivers.databases.sqlite_files import quoted

__all__ = ["export_beyond"]

_SHADOWS = tuple(
    "config content data docsize idx node parent rowid segdir segments stat".split()  # noqa: SIM905
)


def export_beyond(here: Path, there: Path, to: Path) -> int:
    """Write the rows of ``here`` that ``there`` lacks to ``to``; returns how many.

    Both files must be whole and still.  Raises OSError or sqlite3.Error.
    """
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    to.chmod(0o700)
    connection = sqlite3.connect("file::memory:", uri=True, isolation_level=None)
    try:
        connection.text_factory = text_as_it_is
        for schema, path in (("here", here), ("there", there)):
            uri = f"{path.absolute().as_uri()}?immutable=1"
            connection.execute(f"ATTACH ? AS {schema}", (uri,))
        known = set(tables_of(connection, "there"))
        shadows = _shadow_tables(connection)
        return sum(
            _export(connection, table, table in known, to)
            for table in tables_of(connection, "here")
            if table not in shadows and not table.startswith("sqlite_")
        )
    finally:
        connection.close()


def _export(connection: sqlite3.Connection, table: str, known: bool, to: Path) -> int:
    columns = _columns(connection, "here", table)
    if known:
        theirs = {column.lower() for column in _columns(connection, "there", table)}
        columns = [column for column in columns if column.lower() in theirs]
    if not columns:
        return 0
    # Rows are the same only if they are so byte for byte, whatever the columns' collations say.
    listed = ", ".join(f"{quoted(column)} COLLATE BINARY" for column in columns)
    sql = f"SELECT {listed} FROM here.{quoted(table)}"  # noqa: S608
    if known:
        sql += f" EXCEPT SELECT {listed} FROM there.{quoted(table)}"  # noqa: S608
    return _write(to / f"{quote(table, safe=' ')}.jsonl", columns, connection.execute(sql))


def _write(path: Path, columns: list[str], rows: Iterable[tuple[object, ...]]) -> int:
    """Write rows to a file of their own, if there are any."""
    path.unlink(missing_ok=True)
    count = 0
    for row in rows:
        if count == 0:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            file = os.fdopen(fd, "w", encoding="utf-8")
        values = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        file.write(json.dumps(values, ensure_ascii=False) + "\n")
        count += 1
    if count:
        file.flush()
        os.fsync(file.fileno())
        file.close()
    return count


def _plain(value: object) -> object:
    """A value of SQLite in JSON; bytes, and text that is not UTF-8, as ``{"base64": …}``."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": str(value)}
    return value


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    """The columns that hold data of their own, not those computed from others."""
    rows = connection.execute(f"PRAGMA {schema}.table_xinfo({quoted(table)})").fetchall()
    return [row[1] for row in rows if row[6] == 0]


def _shadow_tables(connection: sqlite3.Connection) -> set[str]:
    """Tables in which virtual tables keep their own data, which is derived from others."""
    sql = "SELECT name FROM here.sqlite_master WHERE type='table' AND rootpage=0"
    return {f"{name}_{ending}" for (name,) in connection.execute(sql) for ending in _SHADOWS}
