"""What belongs to a database as a whole: owner, limit, grants, settings, comment."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, explained, fetch, run
from crossfade.drivers.databases.postgres.place import maintenance, mark
from crossfade.drivers.databases.postgres.roles import apply_setting
from crossfade.model import Endpoint

__all__ = ["Properties", "carry_properties", "read_properties"]


@dataclass(frozen=True, slots=True)
class Properties:
    """What belongs to a database as a whole.

    grants are (grantee or "" for everybody, privilege, may grant); None where nothing was changed.
    settings are (role or "" for everybody, ``name=value``).
    """

    owner: str
    comment: str
    limit: int
    grants: tuple[tuple[str, str, bool], ...] | None
    settings: tuple[tuple[str, str], ...]


def read_properties(old: Conn) -> Properties:
    """The properties of the database that ``old`` is in."""
    owner, comment, limit, acl = fetch(old, _PROPERTIES)[0]
    grants = tuple((a, b, c) for a, b, c in fetch(old, _GRANTS)) if acl else None
    settings = [(role, text) for role, texts in fetch(old, _SETTINGS) for text in texts]
    return Properties(owner, comment, limit, grants, tuple(settings))


def carry_properties(new: Endpoint, properties: Properties, tag: str) -> tuple[str, ...]:
    """Owner, limit, grants, settings and comment; returns the settings that the new server does
    not know, in words."""
    name, unknown = sql.Identifier(new.database), []
    whole = sql.SQL("database {}").format(name)
    with explained("give the new database its properties", new), maintenance(new) as conn:
        owner, limit = sql.Identifier(properties.owner), sql.Literal(properties.limit)
        run(conn, sql.SQL("alter {} owner to {}").format(whole, owner))
        run(conn, sql.SQL("alter {} connection limit {}").format(whole, limit))
        _grant(conn, whole, properties)
        for role, setting in properties.settings:
            whose = whole
            if role:
                whose = sql.SQL("role {} in {}").format(sql.Identifier(role), whole)
            try:
                with conn.transaction():
                    apply_setting(conn, whose, setting)
            except psycopg.errors.UndefinedObject:
                unknown.append(setting.partition("=")[0])
        comment = sql.Literal(mark(tag, properties.comment))
        run(conn, sql.SQL("comment on database {} is {}").format(name, comment))
    return tuple(f"setting {setting} of the database" for setting in unknown)


def _grant(conn: Conn, whole: sql.Composable, properties: Properties) -> None:
    if properties.grants is None:
        return
    owner = sql.Identifier(properties.owner)
    run(conn, sql.SQL("revoke all on {} from public, {}").format(whole, owner))
    for grantee, privilege, may_grant in properties.grants:
        run(
            conn,
            sql.SQL("grant {} on {} to {} {}").format(
                sql.SQL(privilege),
                whole,
                sql.Identifier(grantee) if grantee else sql.SQL("public"),
                sql.SQL("with grant option" if may_grant else ""),
            ),
        )


_PROPERTIES = """
select pg_get_userbyid(datdba), coalesce(shobj_description(oid, 'pg_database'), ''),
    datconnlimit, datacl is not null
from pg_database where datname = current_database()
"""

_GRANTS = """
select coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
from pg_database d cross join aclexplode(d.datacl) a left join pg_roles r on r.oid = a.grantee
where d.datname = current_database() and coalesce(r.rolname, '') !~ '^crossfade_[0-9a-f]{10}'
    and (a.grantee = 0 or r.oid is not null)
order by 1, 2
"""

_SETTINGS = """
select coalesce(r.rolname, ''), s.setconfig from pg_db_role_setting s
join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole
where d.datname = current_database() order by 1
"""
