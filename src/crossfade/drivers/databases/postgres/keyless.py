"""Whether a table without a key can be followed all the same, though it is large.

Two things cost the more the larger it is: what the new server does for an UPDATE or DELETE, and
how the proof finds a changed row.  Each is cheap where an index helps, and bearable where such
changes are rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crossfade.drivers.databases.postgres import identities
from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.drivers.databases.postgres.lookups import SMALL, cannot_be_compared

__all__ = ["Use", "judge", "used"]

INDEXED = 160000
"""From here on a server that follows uses indexes for tables without a key."""
LONG_ENOUGH = 600.0
"""Seconds of statistics that say something about the future."""
_SCAN = 200e6
"""Bytes of a table that a server reads in a second, comparing row by row."""
_APPLY = 1e-5
_PROVE = 5e-6
"""Seconds for a row that is found by an index and compared with the one that is meant."""
_APPLY_FREE = 0.01
_PROVE_FREE = 0.001
"""Seconds for one change that matter at no rate."""
_SHARE = 0.05
"""Share of its time that one of the two may take."""


@dataclass(frozen=True, slots=True)
class Use:
    """Rows of a table that were inserted, and updated or deleted, in so many seconds."""

    inserted: int
    others: int
    seconds: float

    @property
    def known(self) -> bool:
        """Whether that was long enough to go by."""
        return self.seconds >= LONG_ENOUGH


def used(conn: Conn) -> Mapping[int, Use]:
    """By table, since the statistics began; that they did is not always told, and then the least
    that is known.  Raises psycopg.Error."""
    rows = fetch(
        conn,
        "select s.relid, s.n_tup_ins, s.n_tup_upd + s.n_tup_del,"
        " coalesce(extract(epoch from clock_timestamp() - greatest(d.stats_reset,"
        " (select stats_reset from pg_catalog.pg_stat_bgwriter))), 0)::float8"
        " from pg_catalog.pg_stat_user_tables s"
        " join pg_catalog.pg_stat_database d on d.datname = current_database()",
    )
    return {oid: Use(inserted, others, age) for oid, inserted, others, age in rows}


def judge(table: Table, use: Use | None, new_version: int) -> tuple[str, str]:
    """A reason for a dump, and a warning; both empty when the table is nothing special.

    new_version is the number of the new side's server (170004); 0: not known.
    """
    if not identities.by_whole_rows(table):
        return "", ""
    odd = next((c.name for c in table.columns if cannot_be_compared(c) and not c.generated), None)
    if odd:
        return f"table {table} has no key, and column {odd} cannot be compared", ""
    if table.bytes <= SMALL:
        return "", ""
    known = use if use and use.known else None
    changes = known.others / known.seconds if known else None
    every = (known.inserted + known.others) / known.seconds if known else None
    apply, indexed = _apply(table, new_version)
    prove = _seconds(table, table.lookup.rows if table.lookup else None, _PROVE)
    size = f"table {table} has no key and is large ({table.bytes / 1024**2:.0f} MB)"
    if not _bearable(apply, changes, _APPLY_FREE):
        return f"{size}: {_why(changes, 'updated or deleted', apply)}{_HELP}", ""
    if not _bearable(prove, every, _PROVE_FREE):
        return f"{size}: {_why(every, 'written', prove)}{_HELP}", ""
    rule = (
        "the new side's server finds its rows by an index"
        if indexed and apply <= _APPLY_FREE
        else f"rows are rarely updated or deleted there ({_rate(changes or 0.0)})"
    )
    return "", f"{size}; it is followed by whole rows, since {rule}"


_HELP = " (a primary key, or a unique index on columns that are not null, would help)"


def _apply(table: Table, new_version: int) -> tuple[float, bool]:
    """Seconds for one update or delete on the new side, and whether an index serves it."""
    if new_version < INDEXED or table.lookup is None:
        return table.bytes / _SCAN, False
    return _seconds(table, table.lookup.most, _APPLY), True


def _seconds(table: Table, rows: float | None, each: float) -> float:
    """What one lookup takes; without statistics the index is trusted."""
    whole = table.bytes / _SCAN
    if table.lookup is None:
        return whole
    return min(whole, (rows or 1.0) * each)


def _bearable(cost: float, rate: float | None, free: float) -> bool:
    return cost <= free or (rate is not None and rate * cost <= _SHARE)


def _why(rate: float | None, done: str, cost: float) -> str:
    if rate is None:
        return f"how often rows are {done} there is not known, and each takes about {cost:.1g} s"
    return f"rows are {done} too often there ({_rate(rate)}), and each takes about {cost:.1g} s"


def _rate(a_second: float) -> str:
    for unit, seconds in (("second", 1), ("minute", 60), ("hour", 3600)):
        if a_second * seconds >= 1:
            return f"{a_second * seconds:.0f} a {unit}"
    return "less than one an hour"
