"""The new side's tables as the reverse feed needs them: asked in a few milliseconds, in the pause.

No sizes but the planner's, no estimates, nothing of what copying needs.
"""

from __future__ import annotations

from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.inventory import Column, Table, UniqueKey

__all__ = ["tables_now"]

_KINDS = {"r": "table", "p": "partitioned", "f": "foreign"}
_TABLES = """
    select c.oid, n.nspname, c.relname, c.relkind::text, c.relpages::int8 * 8192,
      c.relpersistence = 'u', c.relispartition, c.relreplident::text,
      (select array_agg(array[a.attname, format_type(a.atttypid, a.atttypmod),
                              (a.attnotnull)::text, (a.attgenerated <> '')::text] order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"""
_KEYS = """
    select i.indrelid, ic.relname, i.indisprimary, i.indisreplident,
      (select array_agg(a.attname::text order by k.n)
       from unnest(i.indkey::int2[]) with ordinality k(attnum, n)
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
       where k.n <= i.indnkeyatts)
    from pg_index i join pg_class ic on ic.oid = i.indexrelid
    where i.indrelid >= 16384 and i.indisunique and i.indisvalid and i.indimmediate
      and i.indpred is null and i.indexprs is null
      and not exists (select from unnest(i.indkey::int2[]) with ordinality k(attnum, n)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where k.n <= i.indnkeyatts and not a.attnotnull)
    order by i.indrelid, not i.indisprimary, ic.relname"""


def tables_now(conn: Conn) -> list[Table]:
    """Every table of the database: columns, keys and kind.  Raises psycopg.Error."""
    keys: dict[int, list[UniqueKey]] = {}
    identities: dict[int, str] = {}
    for oid, index, primary, identity, names in fetch(conn, _KEYS):
        keys.setdefault(oid, []).append(UniqueKey(index, tuple(names), primary))
        if identity:
            identities[oid] = index
    return [
        Table(
            oid=oid,
            schema=schema,
            name=name,
            kind=_KINDS[kind],
            owner="",
            bytes=size,
            pages=size // 8192,
            rows=0,
            columns=_columns(columns or []),
            keys=tuple(keys.get(oid, ())),
            identity={"f": "full", "i": "index", "n": "nothing"}.get(identity, "default"),
            identity_index=identities.get(oid, "") if identity == "i" else "",
            unlogged=unlogged,
            partition=partition,
        )
        for oid, schema, name, kind, size, unlogged, partition, identity, columns in fetch(
            conn, _TABLES
        )
    ]


def _columns(rows: list[list[str]]) -> tuple[Column, ...]:
    return tuple(
        Column(name, kind, position, not_null == "true", generated == "true", identity=False)
        for position, (name, kind, not_null, generated) in enumerate(rows, 1)
    )
