"""The schema's objects in words that are the same on PostgreSQL 12 to 18."""

# ruff: noqa: S608 - the parts that are joined here are constants
from __future__ import annotations

from typing import Final, LiteralString

from crossfade.drivers.databases.postgres.queries import USER_SCHEMAS

__all__ = ["OBJECTS"]

_GRANTS: Final[LiteralString] = """
    array(select coalesce(r.rolname, 'public') || ' ' || a.privilege_type
            || case when a.is_grantable then '*' else '' end
        from aclexplode({acl}) a left join pg_roles r on r.oid = a.grantee
        where a.privilege_type <> 'MAINTAIN' and (a.grantee = 0 or r.oid is not null)
            and coalesce(r.rolname, '') !~ '^crossfade_[0-9a-f]{10}'
        order by (coalesce(r.rolname, 'public') || a.privilege_type) collate "C")
"""


def _grants(acl: LiteralString) -> LiteralString:
    return _GRANTS.replace("{acl}", acl)


def _not_of_extension(
    catalogue: LiteralString, oid: LiteralString, kinds: LiteralString = "'e'"
) -> LiteralString:
    """No member of an extension; with "'e', 'i'" also nothing that comes with another object."""
    return (
        " not exists (select from pg_depend d where d.classid = '"
        + catalogue
        + "'::regclass and d.objid = "
        + oid
        + " and d.deptype in ("
        + kinds
        + ")) and "
    )


OBJECTS: Final[dict[str, LiteralString]] = {
    "relation": "select n.nspname, c.relname, c.relkind::text, c.relpersistence::text,"
    " pg_get_userbyid(c.relowner), c.relrowsecurity, c.relforcerowsecurity, c.relispartition,"
    " obj_description(c.oid, 'pg_class'), c.reloptions::text,"
    + _grants("c.relacl")
    + " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and c.relpersistence <> 't' and"
    + _not_of_extension("pg_class", "c.oid")
    + USER_SCHEMAS,
    "column": "select n.nspname, c.relname, a.attname,"
    " format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text,"
    " a.attidentity::text, a.atthasdef, o.collname, col_description(c.oid, a.attnum),"
    + _grants("a.attacl")
    + " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
    " left join pg_collation o on o.oid = a.attcollation"
    " where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and c.relpersistence <> 't' and"
    + _not_of_extension("pg_class", "c.oid")
    + USER_SCHEMAS,
    "inheritance": "select i.inhrelid::regclass::text, i.inhparent::regclass::text, i.inhseqno"
    " from pg_inherits i join pg_class c on c.oid = i.inhrelid"
    " join pg_namespace n on n.oid = c.relnamespace where " + USER_SCHEMAS,
    "sequence": "select n.nspname, c.relname, s.seqtypid::regtype::text, s.seqstart,"
    " s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle"
    " from pg_sequence s join pg_class c on c.oid = s.seqrelid"
    " join pg_namespace n on n.oid = c.relnamespace where c.relpersistence <> 't' and"
    + _not_of_extension("pg_class", "c.oid")
    + USER_SCHEMAS,
    "constraint": "select n.nspname, t.conrelid::regclass::text, t.contypid::regtype::text,"
    " t.conname, t.contype::text, t.condeferrable, t.condeferred, t.convalidated,"
    " t.confrelid::regclass::text, t.confupdtype::text, t.confdeltype::text,"
    " array(select a.attname::text from unnest(t.conkey) with ordinality k(attnum, n)"
    "   join pg_attribute a on a.attrelid = t.conrelid and a.attnum = k.attnum order by k.n)"
    " from pg_constraint t join pg_namespace n on n.oid = t.connamespace"
    " where t.contype not in ('n', 't') and t.conparentid = 0 and"
    + _not_of_extension("pg_constraint", "t.oid")
    + USER_SCHEMAS,
    "index": "select n.nspname, x.relname, i.indrelid::regclass::text, m.amname, i.indisunique,"
    " i.indisprimary, i.indnatts, i.indnkeyatts, i.indpred is not null, i.indexprs is not null,"
    " x.reloptions::text, i.indisclustered"
    " from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam"
    " join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace where"
    " (i.indisvalid or x.relkind = 'I') and"
    + _not_of_extension("pg_class", "c.oid")
    + USER_SCHEMAS,
    "trigger": "select n.nspname, c.relname, t.tgname, t.tgenabled::text, t.tgtype, t.tgdeferrable,"
    " t.tgfoid::regprocedure::text from pg_trigger t join pg_class c on c.oid = t.tgrelid"
    " join pg_namespace n on n.oid = c.relnamespace"
    " where not t.tgisinternal and t.tgname !~ '^crossfade_fence' and" + USER_SCHEMAS,
    "rule": "select n.nspname, c.relname, r.rulename, r.ev_type::text, r.ev_enabled::text,"
    " r.is_instead from pg_rewrite r join pg_class c on c.oid = r.ev_class"
    " join pg_namespace n on n.oid = c.relnamespace where r.rulename <> '_RETURN' and"
    + USER_SCHEMAS,
    "policy": "select p.polrelid::regclass::text, p.polname, p.polcmd::text, p.polpermissive,"
    " array(select coalesce(r.rolname, 'public') from unnest(p.polroles) o left join pg_roles r"
    " on r.oid = o order by 1) from pg_policy p",
    "function": "select n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),"
    " pg_get_function_result(p.oid), p.prokind::text, md5(p.prosrc), p.prosecdef,"
    " p.provolatile::text, p.proparallel::text, p.proisstrict, p.proconfig::text,"
    " pg_get_userbyid(p.proowner), obj_description(p.oid, 'pg_proc'),"
    + _grants("p.proacl")
    + " from pg_proc p join pg_namespace n on n.oid = p.pronamespace where"
    + _not_of_extension("pg_proc", "p.oid", "'e', 'i'")
    + USER_SCHEMAS,
    "type": "select n.nspname, t.typname, t.typtype::text, format_type(t.typbasetype, t.typtypmod),"
    " t.typnotnull, pg_get_userbyid(t.typowner), obj_description(t.oid, 'pg_type'),"
    " array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid"
    "   order by e.enumsortorder),"
    + _grants("t.typacl")
    + " from pg_type t join pg_namespace n on n.oid = t.typnamespace"
    " where t.typtype in ('d', 'e', 'r') and"
    + _not_of_extension("pg_type", "t.oid")
    + USER_SCHEMAS,
    "collation": "select n.nspname, c.collname, c.collprovider::text, c.collisdeterministic"
    " from pg_collation c join pg_namespace n on n.oid = c.collnamespace where"
    + _not_of_extension("pg_collation", "c.oid")
    + USER_SCHEMAS,
    "schema": "select n.nspname, pg_get_userbyid(n.nspowner),"
    " obj_description(n.oid, 'pg_namespace'),"
    + _grants("n.nspacl")
    + " from pg_namespace n where n.nspname <> 'public' and"
    + _not_of_extension("pg_namespace", "n.oid")
    + USER_SCHEMAS,
    "default privilege": "select coalesce(n.nspname, ''), pg_get_userbyid(d.defaclrole),"
    " d.defaclobjtype::text,"
    + _grants("d.defaclacl")
    + " from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace",
    "extension": "select extname from pg_extension",
    "publication": "select pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate,"
    " array(select r.prrelid::regclass::text from pg_publication_rel r"
    "   where r.prpubid = p.oid order by 1) from pg_publication p"
    " where pubname !~ '^crossfade_[0-9a-f]{10}'",
    "event trigger": "select evtname, evtevent, evtenabled::text, evtfoid::regprocedure::text,"
    " evttags::text from pg_event_trigger where evtname !~ '^crossfade_fence'",
    "foreign server": "select s.srvname, w.fdwname, s.srvoptions::text from pg_foreign_server s"
    " join pg_foreign_data_wrapper w on w.oid = s.srvfdw",
    "statistics": "select n.nspname, s.stxname, s.stxrelid::regclass::text, s.stxkind::text"
    " from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where " + USER_SCHEMAS,
    "operator": "select n.nspname, o.oprname, o.oprleft::regtype::text, o.oprright::regtype::text"
    " from pg_operator o join pg_namespace n on n.oid = o.oprnamespace where"
    + _not_of_extension("pg_operator", "o.oid")
    + USER_SCHEMAS,
    "text search": "select n.nspname, c.cfgname from pg_ts_config c"
    " join pg_namespace n on n.oid = c.cfgnamespace where"
    + _not_of_extension("pg_ts_config", "c.oid")
    + USER_SCHEMAS,
    "cast": "select castsource::regtype::text, casttarget::regtype::text, castcontext::text"
    " from pg_cast k where k.oid >= 16384 and"
    + _not_of_extension("pg_cast", "k.oid", "'e', 'i'")
    + " true",
}
