"""Numbers that the server hands out: sequences and AUTO_INCREMENT counters.

A sequence goes on with the first value that the old server had not yet reserved, so that nothing
is handed out twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossfade.drivers.databases.mysql.catalog import Catalog
from crossfade.drivers.databases.mysql.connect import Ask, Conn, fetch, ident, run
from crossfade.model import Finding

__all__ = ["advance", "raise_counters", "read_counters"]


def read_counters(conn: Conn, database: str) -> dict[str, int]:
    """AUTO_INCREMENT of every table that has it."""
    rows = fetch(
        conn,
        "select table_name, auto_increment from information_schema.tables"
        " where table_schema = %s and auto_increment is not null",
        (database,),
    )
    return {str(name): int(value) for name, value in rows}


def advance(
    name: str,
    ask: Ask,
    old: Conn,
    old_database: str,
    new: Conn,
    new_database: str,
    catalog: Catalog,
) -> Finding:
    """Set every counter and sequence of the new side; read them back."""
    run(new, "set session sql_log_bin = 0")
    wanted = {s: int(ask(f"select * from {ident(s)}")[0][0]) for s in catalog.sequences}  # noqa: S608
    for sequence, value in wanted.items():
        fetch(new, f"select setval({ident(sequence)}, {value}, 0)")
    counters = read_counters(old, old_database)
    raise_counters(new, counters, read_counters(new, new_database))
    behind = [s for s, value in wanted.items() if _next(new, s) < value and _upwards(new, s)]
    after = read_counters(new, new_database)
    behind += [table for table, value in counters.items() if after.get(table, 0) < value]
    seen = f"{len(wanted)} sequences and {len(counters)} counters as on the old side"
    return Finding(
        claim=f"sequences and counters of database {name} go on where the old side's ended",
        expected="none behind",
        observed=f"behind: {', '.join(behind[:5])}" if behind else seen,
        source="both servers",
        holds=not behind,
    )


def raise_counters(new: Conn, wanted: Mapping[str, int], there: Mapping[str, int]) -> None:
    """Set the AUTO_INCREMENT counters that are behind."""
    for table, value in wanted.items():
        if there.get(table, 0) < value:
            run(new, f"alter table {ident(table)} auto_increment = {value}")


def _next(new: Conn, sequence: str) -> int:
    return int(fetch(new, f"select * from {ident(sequence)}")[0][0])  # noqa: S608


def _upwards(new: Conn, sequence: str) -> bool:
    return int(fetch(new, f"select * from {ident(sequence)}")[0][4]) >= 0  # noqa: S608
