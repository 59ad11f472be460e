"""How rows are found in a table that has no key: by an index that is not unique, or by all columns.

Such a table is followed by whole rows.  The proof looks a changed row up by the columns of an
index, together with all others that have the same values there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final, LiteralString

from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.inventory import Column, Lookup, Table

__all__ = ["NO_EQUALITY", "SMALL", "cannot_be_compared", "columns_to_look_up", "lookups"]

SMALL = 8 * 1024 * 1024
"""Bytes up to which a table without any key or index is read whole as often as need be."""
NO_EQUALITY = ("json", "xml", "point", "polygon", "txid_snapshot", "pg_snapshot", "refcursor")

# Rows for one lookup as the planner would guess them: columns are taken as independent, and the
# row that is looked up as an average one.
_INDEXES: Final[LiteralString] = """
with found as (
    select i.indrelid, x.relname, k.n, a.attname::text as name, c.reltuples as rows,
        (s.null_frac ^ 2 + (1 - s.null_frac) ^ 2 / case when s.n_distinct < 0
            then -s.n_distinct * c.reltuples else nullif(s.n_distinct, 0) end) as share
    from pg_catalog.pg_index i
    join pg_catalog.pg_class x on x.oid = i.indexrelid
    join pg_catalog.pg_am m on m.oid = x.relam and m.amname = 'btree'
    join pg_catalog.pg_class c on c.oid = i.indrelid and c.relkind = 'r'
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) with ordinality as k(attnum, n)
    left join pg_catalog.pg_attribute a
        on a.attrelid = c.oid and a.attnum = k.attnum and a.attgenerated = ''
    left join pg_catalog.pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname
        and s.attname = a.attname and not s.inherited and c.reltuples > 0
    where i.indisvalid and i.indpred is null and i.indrelid >= 16384)
select indrelid, relname, array_agg(name order by n), bool_and(name is not null),
    case when bool_and(share is not null)
        then greatest(1, max(rows) * exp(sum(ln(greatest(share, 1e-15)))))::float8 end
from found group by indrelid, relname
having bool_or(n = 1 and name is not null)
order by indrelid, relname
"""


def lookups(conn: Conn) -> Mapping[int, Lookup]:
    """By table, the index that leaves the fewest rows; not those of expressions or of some rows.

    Raises psycopg.Error.
    """
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for oid, *index in fetch(conn, _INDEXES):
        found[oid].append(tuple(index))
    best = {oid: _best(indexes) for oid, indexes in found.items()}
    return {oid: lookup for oid, lookup in best.items() if lookup}


def _best(indexes: list[tuple[Any, ...]]) -> Lookup | None:
    whole = [index for index in indexes if index[2]]
    if not whole:
        return None

    def order(index: tuple[Any, ...]) -> tuple[Any, ...]:
        name, columns, _, rows = index
        return (rows is None, rows or 0.0, -len(columns), name)

    _, columns, _, rows = min(whole, key=order)
    known = [guess for *_, guess in indexes if guess is not None]
    return Lookup(tuple(columns), rows, max(known, default=None))


def columns_to_look_up(table: Table) -> tuple[str, ...]:
    """The columns by which the proof finds changed rows of a table that is followed by whole rows.

    Empty: it is compared whole.
    """
    if table.lookup:
        return table.lookup.columns
    if table.bytes <= SMALL:
        return ()
    return tuple(c.name for c in table.columns if not c.generated and not cannot_be_compared(c))


def cannot_be_compared(column: Column) -> bool:
    """Whether its type has no equality, so that no whole row can be found by it."""
    plain = (column.base or column.type).removesuffix("[]")
    return plain.split(".")[-1] in NO_EQUALITY
