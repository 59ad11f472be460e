"""The old side's AUTO_INCREMENT counters and sequences, when going back."""

from __future__ import annotations

from crossfade.drivers.databases.mysql.base_copy import session_of
from crossfade.drivers.databases.mysql.catalog import Catalog
from crossfade.drivers.databases.mysql.connect import explained, fetch, ident, run
from crossfade.drivers.databases.mysql.counters import read_counters
from crossfade.drivers.databases.mysql.fence import Fence
from crossfade.model import Endpoint, Finding

__all__ = ["advance"]


def advance(name: str, fence: Fence, old: Endpoint, tables: Catalog) -> Finding:
    """Let them go on where the new side's ended; tables are those that both sides have.

    fence holds on the new side.  Raises Failed."""
    with (
        explained("read counters", fence.endpoint),
        session_of(fence.endpoint, fence.endpoint.database) as conn,
    ):
        found = read_counters(conn, fence.endpoint.database)
        wanted = {table: value for table, value in found.items() if table in tables.tables}
    nexts = {s: int(fence.read(f"select * from {ident(s)}")[0][0]) for s in tables.sequences}  # noqa: S608
    with explained("set counters", old), session_of(old, old.database) as conn:
        for sequence, value in nexts.items():
            fetch(conn, f"select setval({ident(sequence)}, {value}, 0)")
        there = read_counters(conn, old.database)
        for table, value in wanted.items():
            if there.get(table, 0) < value:
                run(conn, f"alter table {ident(table)} auto_increment = {value}")
        after = read_counters(conn, old.database)
    behind = [table for table, value in wanted.items() if after.get(table, 0) < value]
    seen = f"{len(nexts)} sequences and {len(wanted)} counters as on the new side"
    return Finding(
        claim=f"sequences and counters of database {name} go on where the new side's ended",
        expected="none behind",
        observed=f"behind: {', '.join(behind[:5])}" if behind else seen,
        source="both servers",
        holds=not behind,
    )
