"""The questions to PostgreSQL's catalogue, 12 to 18.  Sessions have an empty search path.

Objects of the system's schemas and of extensions are left out, as pg_dump leaves them out; what
an extension declared as configuration is data, on its condition.
"""

# ruff: noqa: S608 - the parts that are joined here are constants

from __future__ import annotations

from typing import Final, LiteralString

__all__ = [
    "COLUMNS",
    "CONTENT",
    "DATABASE",
    "EVENT_TRIGGERS",
    "EXTENSIONS",
    "FINGERPRINT",
    "INVALID_INDEXES",
    "KEYS",
    "MATVIEWS",
    "NOT_CARRIED",
    "NOT_VALID",
    "PROVIDER_15",
    "PROVIDER_17",
    "ROLES",
    "SEQUENCES",
    "SETTINGS",
    "TABLES",
    "USER_SCHEMAS",
]

USER_SCHEMAS: Final[LiteralString] = r"""
n.nspname not in ('pg_catalog', 'information_schema')
and n.nspname !~ '^pg_(toast|temp_|toast_temp_)' and n.nspname <> 'crossfade_fence'
"""

_OF_EXTENSION: Final[LiteralString] = """
left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
    and d.objsubid = 0 and d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
left join pg_extension e on e.oid = d.refobjid
"""

CONTENT: Final[LiteralString] = (
    """
select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid >= 16384 and not exists (select from pg_depend d
            where d.objid = c.oid and d.deptype = 'e') and
"""
    + USER_SCHEMAS
    + """)
    or exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where p.oid >= 16384 and not exists (select from pg_depend d
            where d.objid = p.oid and d.deptype = 'e') and
"""
    + USER_SCHEMAS
    + ") or exists (select from pg_largeobject_metadata)"
)

DATABASE: Final[LiteralString] = """
select datname, pg_database_size(oid), pg_encoding_to_char(encoding), datcollate, datctype
from pg_database where datname = current_database()
"""

PROVIDER_15: Final[LiteralString] = """
select datlocprovider::text, daticulocale from pg_database where datname = current_database()
"""

PROVIDER_17: Final[LiteralString] = """
select datlocprovider::text, datlocale from pg_database where datname = current_database()
"""

TABLES: Final[LiteralString] = (
    """
select c.oid, n.nspname, c.relname, c.relkind::text, pg_get_userbyid(c.relowner),
    case when c.relkind = 'r' then pg_table_size(c.oid) else 0 end,
    case when c.relkind = 'r'
        then pg_relation_size(c.oid) / current_setting('block_size')::int else 0 end,
    greatest(c.reltuples, 0)::bigint, c.relreplident::text,
    (select x.relname from pg_index i join pg_class x on x.oid = i.indexrelid
        where i.indrelid = c.oid and i.indisreplident and c.relreplident = 'i'),
    c.relpersistence = 'u', c.relispartition, c.relrowsecurity,
    array(select inhparent from pg_inherits where inhrelid = c.oid order by inhseqno),
    e.extname, e.extcondition[array_position(e.extconfig, c.oid)]
from pg_class c join pg_namespace n on n.oid = c.relnamespace
"""
    + _OF_EXTENSION
    + """
where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
    and (e.oid is null or c.oid = any(e.extconfig)) and
"""
    + USER_SCHEMAS
    + "order by n.nspname, c.relname"
)

# A binary value is the same everywhere when it holds no object id: built-in types but reg* and
# their arrays, ranges over them, enums (sent as text); not arrays, rows and ranges of other types.
COLUMNS: Final[LiteralString] = """
with recursive base(top, oid) as (
    select oid, oid from pg_type
    union all
    select base.top, t.typbasetype from base join pg_type t on t.oid = base.oid
    where t.typtype = 'd')
select attrelid, attname, format_type(atttypid, atttypmod), attnum, attnotnull,
    attgenerated <> '', attidentity <> '', format_type(t.oid, null),
    case when t.typtype = 'e' then true
        when t.typtype = 'r' then coalesce(u.oid < 16384 and u.typtype = 'b', false)
        else t.oid < 16384 and t.typtype in ('b', 'm') and t.typsend <> 0 and t.typreceive <> 0
            and ltrim(t.typname, '_') !~ '^reg' and coalesce(l.typname !~ '^reg', true) end
from pg_attribute a join pg_class c on c.oid = a.attrelid
join base on base.top = a.atttypid
join pg_type t on t.oid = base.oid and t.typtype <> 'd'
left join pg_type l on l.oid = t.typelem and t.typelem <> 0
left join pg_range g on g.rngtypid = t.oid
left join pg_type u on u.oid = g.rngsubtype
where attnum > 0 and not attisdropped and c.relkind in ('r', 'p', 'f') and c.oid >= 16384
order by attrelid, attnum
"""

KEYS: Final[LiteralString] = """
select i.indrelid, x.relname, array_agg(a.attname::text order by k.n), i.indisprimary
from pg_index i
join pg_class x on x.oid = i.indexrelid
join pg_am m on m.oid = x.relam and m.amname = 'btree'
cross join unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) with ordinality as k(attnum, n)
left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and a.attnotnull
where i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null
    and i.indexprs is null and i.indrelid >= 16384
group by i.indrelid, x.relname, i.indisprimary
having bool_and(a.attname is not null)
order by i.indrelid, i.indisprimary desc, count(*), x.relname
"""

SEQUENCES: Final[LiteralString] = (
    """
select c.oid, n.nspname, c.relname, s.seqtypid::regtype::text, s.seqstart, s.seqincrement,
    s.seqmin, s.seqmax, s.seqcycle, c.relpersistence = 'u',
    coalesce((select format('%s.%s.%s', tn.nspname, t.relname, a.attname)
        from pg_depend o join pg_class t on t.oid = o.refobjid
        join pg_namespace tn on tn.oid = t.relnamespace
        join pg_attribute a on a.attrelid = t.oid and a.attnum = o.refobjsubid
        where o.classid = 'pg_class'::regclass and o.objid = c.oid and o.deptype in ('a', 'i')
            and o.refclassid = 'pg_class'::regclass and o.refobjsubid > 0 limit 1), '')
from pg_sequence s join pg_class c on c.oid = s.seqrelid
join pg_namespace n on n.oid = c.relnamespace
"""
    + _OF_EXTENSION
    + """
where c.relpersistence <> 't' and (e.oid is null or c.oid = any(e.extconfig)) and
"""
    + USER_SCHEMAS
    + "order by n.nspname, c.relname"
)

EXTENSIONS: Final[LiteralString] = """
select extname, extversion, nspname
from pg_extension e join pg_namespace n on n.oid = e.extnamespace order by extname
"""

ROLES: Final[LiteralString] = """
with here as (select oid, datdba from pg_database where datname = current_database())
select r.rolname from pg_roles r, here
where r.rolname !~ '^pg_' and (
    r.oid = here.datdba
    or exists (select from pg_shdepend s
        where s.refclassid = 'pg_authid'::regclass and s.refobjid = r.oid and (s.dbid = here.oid
            or s.dbid = 0 and s.classid = 'pg_database'::regclass and s.objid = here.oid))
    or exists (select from pg_db_role_setting s
        where s.setrole = r.oid and s.setdatabase = here.oid)
    -- what the first superuser owns is not in pg_shdepend
    or r.oid = 10 and (
        exists (select from pg_class where relowner = 10 and oid >= 16384 and relpersistence <> 't')
        or exists (select from pg_proc where proowner = 10 and oid >= 16384)
        or exists (select from pg_type where typowner = 10 and oid >= 16384)
        or exists (select from pg_namespace
            where nspowner = 10 and (oid >= 16384 or nspname = 'public'))))
order by r.rolname
"""

MATVIEWS: Final[LiteralString] = (
    """
select format('%I.%I', n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and c.relispopulated and
"""
    + USER_SCHEMAS
    + "order by 1"
)

EVENT_TRIGGERS: Final[LiteralString] = """
select count(*) from pg_event_trigger t where not exists (select from pg_depend d
    where d.classid = 'pg_event_trigger'::regclass and d.objid = t.oid and d.deptype = 'e')
"""

SETTINGS: Final[LiteralString] = """
select name, setting from pg_settings where name in (
    'wal_level', 'max_replication_slots', 'max_wal_senders', 'max_slot_wal_keep_size',
    'max_prepared_transactions', 'max_logical_replication_workers', 'max_worker_processes',
    'block_size', 'data_checksums', 'fsync', 'max_active_replication_origins')
"""

INVALID_INDEXES: Final[LiteralString] = """
select i.indrelid::regclass::text, i.indexrelid::regclass::text from pg_index i
join pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
where not i.indisvalid order by 1, 2
"""

NOT_VALID: Final[LiteralString] = """
select conrelid::regclass::text, quote_ident(conname) from pg_constraint
where not convalidated and conrelid <> 0 order by 1, 2
"""

NOT_CARRIED: Final[LiteralString] = """
select format('subscription %I (it would fetch the same changes twice)', subname)
from pg_subscription join pg_database d on d.oid = subdbid
where d.datname = current_database()
union all
select format('prepared transaction %L', gid) from pg_prepared_xacts
where database = current_database()
order by 1
"""

FINGERPRINT: Final[tuple[LiteralString, ...]] = (
    """
select n.nspname, c.relname, c.relkind::text, c.relpersistence::text, a.attname,
    format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text, a.attidentity::text,
    pg_get_expr(v.adbin, v.adrelid), o.collname
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef v on v.adrelid = c.oid and v.adnum = a.attnum
left join pg_collation o on o.oid = a.attcollation
where c.relkind in ('r', 'p', 'f', 'c') and c.relpersistence <> 't' and
"""
    + USER_SCHEMAS
    + "order by n.nspname, c.relname, a.attnum",
    """
select n.nspname, conrelid::regclass::text, contypid::regtype::text, conname,
    pg_get_constraintdef(t.oid), convalidated
from pg_constraint t join pg_namespace n on n.oid = connamespace where contype <> 't' and
"""
    + USER_SCHEMAS
    + "order by 1, 2, 3, 4",
    """
select pg_get_indexdef(i.indexrelid) from pg_index i
join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace where
"""
    + USER_SCHEMAS
    + "order by 1",
    """
select pg_get_triggerdef(t.oid), tgenabled::text from pg_trigger t
join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not tgisinternal and tgname !~ '^crossfade_fence' and
"""
    + USER_SCHEMAS
    + "order by 1",
    """
select n.nspname, c.relname, pg_get_viewdef(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('v', 'm') and c.relpersistence <> 't' and
"""
    + USER_SCHEMAS
    + "order by 1, 2",
    """
select n.nspname, proname, pg_get_function_identity_arguments(p.oid), prokind::text,
    md5(prosrc), pg_get_function_result(p.oid), proconfig
from pg_proc p join pg_namespace n on n.oid = pronamespace where
"""
    + USER_SCHEMAS
    + "order by 1, 2, 3",
    """
select n.nspname, typname, typtype::text, format_type(typbasetype, typtypmod), typnotnull,
    typdefault, array(select enumlabel::text from pg_enum where enumtypid = t.oid
        order by enumsortorder)
from pg_type t join pg_namespace n on n.oid = typnamespace
where typtype in ('d', 'e', 'r', 'm') and
"""
    + USER_SCHEMAS
    + "order by 1, 2",
    """
select polrelid::regclass::text, polname, polcmd::text, pg_get_expr(polqual, polrelid),
    pg_get_expr(polwithcheck, polrelid) from pg_policy order by 1, 2
""",
    """
select ev_class::regclass::text, rulename, pg_get_ruledef(r.oid) from pg_rewrite r
join pg_class c on c.oid = ev_class join pg_namespace n on n.oid = c.relnamespace
where rulename <> '_RETURN' and
"""
    + USER_SCHEMAS
    + "order by 1, 2",
)
