"""What would stay behind on the new side: the rows that the old side lacks, written to files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymysql.cursors import SSCursor

from crossfade.drivers.databases.mysql.base_copy import session_of
from crossfade.drivers.databases.mysql.catalog import Table, read_catalog
from crossfade.drivers.databases.mysql.connect import Conn, explained, ident
from crossfade.drivers.databases.mysql.rows import line_of
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["export"]


def export(old: Endpoint, new: Endpoint, to: Path, without: Sequence[str] = ()) -> dict[str, int]:
    """Write the new side's rows that the old side lacks or has otherwise: ``to/<table>.jsonl``.

    Compared are the columns that both have.  A row that is there several times counts as often.
    Returns the number of rows by table; tables without any are left out.  Raises Failed."""
    counts: dict[str, int] = {}
    with (
        explained("find what only the new side has", f"{old} and {new}"),
        session_of(old, old.database) as there,
        session_of(new, new.database) as here,
    ):
        before, after = read_catalog(there, old.database), read_catalog(here, new.database)
        if before is None or after is None:
            raise Failed("database-missing", "A database is gone.", where=f"{old} and {new}")
        for name, table in after.tables.items():
            if name in without:
                continue
            rows = _beyond(there, here, before.tables.get(name), table)
            count = _write(rows, to / (quote(name, safe=" ") + ".jsonl"))
            if count:
                counts[name] = count
    return counts


def _beyond(
    there: Conn, here: Conn, before: Table | None, table: Table
) -> Iterator[dict[str, Any]]:
    """The rows of ``table`` that ``before`` lacks."""
    names = {column.name for column in before.carried} if before else set()
    common = [c for c in table.carried if c.name in names] or list(table.carried)
    known: dict[bytes, int] = {}
    digest = f"select unhex(md5({line_of(common)})) from {ident(table.name)}"  # noqa: S608
    if before is not None:
        for (row,) in _stream(there, digest):
            known[row] = known.get(row, 0) + 1
    whole = f"select unhex(md5({line_of(common)})), t.* from {ident(table.name)} t"  # noqa: S608
    for row in _stream(here, whole):
        left = known.get(row[0], 0)
        if left:
            known[row[0]] = left - 1
        else:
            yield dict(zip((c.name for c in table.columns), row[1:], strict=False))


def _stream(conn: Conn, query: str) -> Iterator[tuple[Any, ...]]:
    with conn.cursor(SSCursor) as cursor:
        cursor.execute(query)
        yield from cursor


def _write(rows: Iterator[dict[str, Any]], file: Path) -> int:
    """One JSON object a line; bytes that are no text as ``{"hex": ...}``."""
    count = 0
    opened = None
    try:
        for row in rows:
            if opened is None:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                opened = file.open("w", encoding="utf-8")
                file.chmod(0o600)
            opened.write(json.dumps(row, ensure_ascii=False, default=_plain) + "\n")
            count += 1
    finally:
        if opened is not None:
            opened.close()
    return count


def _plain(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else str(value)
