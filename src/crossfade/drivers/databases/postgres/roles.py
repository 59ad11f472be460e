"""Roles: those that the database needs and that the new server lacks are made there.

They get the same attributes, settings and password verifier; nobody sees a password.  A comment
says which attempt made them, so that they can be removed with the database.  A role that is there
already is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, fetch, one, run

__all__ = [
    "Membership",
    "Role",
    "apply_setting",
    "carry_roles",
    "made",
    "missing",
    "read_roles",
    "remove_roles",
    "unmark_roles",
]

_ATTRIBUTES = (
    "superuser",
    "inherit",
    "createrole",
    "createdb",
    "login",
    "replication",
    "bypassrls",
)


@dataclass(frozen=True, slots=True)
class Role:
    """A role: which attributes it has, and what else is said of it (verifier: "" if none)."""

    name: str
    attributes: tuple[bool, ...]
    limit: int
    until: str
    verifier: str
    comment: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """member belongs to role, with options such as ``admin``."""

    role: str
    member: str
    options: tuple[str, ...]


def missing(new: Conn, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the new server does not have."""
    there = {row[0] for row in fetch(new, "select rolname from pg_roles")}
    return [name for name in names if name not in there]


def read_roles(old: Conn, names: Sequence[str]) -> tuple[list[Role], list[Membership]]:
    """The roles with these names, those that they belong to, those that belong to them.

    Needs a superuser, since verifiers are secret.  Raises psycopg.Error."""
    rows = fetch(old, _CLOSURE, (list(names),))
    members = fetch(old, _MEMBERS_16 if old.info.server_version >= 160000 else _MEMBERS)
    roles = [Role(r[0], tuple(r[1]), r[2], r[3], r[4], r[5], tuple(r[6])) for r in rows]
    known = {role.name for role in roles}
    return roles, [
        Membership(a, b, tuple(options))
        for a, b, options in members
        if {a, b} <= {*known, *_given(a)}
    ]


def _given(name: str) -> tuple[str, ...]:
    """A role that every server has (pg_read_all_data, say)."""
    return (name,) if name.startswith("pg_") else ()


def carry_roles(
    new: Conn, roles: Sequence[Role], memberships: Sequence[Membership], tag: str
) -> tuple[str, ...]:
    """Make the roles that the new server lacks; returns their names.

    A membership is granted when we made one of the two.  All or nothing.  Raises psycopg.Error.
    """
    absent = set(missing(new, [role.name for role in roles]))
    ours = absent | {name for name, _ in made(new, tag)}
    with new.transaction():
        _say_nothing(new)
        for role in roles:
            if role.name in absent:
                _make(new, role, tag)
        for membership in memberships:
            if ours & {membership.role, membership.member}:
                _grant(new, membership)
    return tuple(role.name for role in roles if role.name in absent)


def made(new: Conn, tag: str) -> list[tuple[str, str]]:
    """Roles that the attempt ``tag`` made, with the comment that they had on the old side."""
    mark = _mark(tag)
    found = fetch(
        new,
        "select rolname, shobj_description(oid, 'pg_authid') from pg_roles"
        " where starts_with(shobj_description(oid, 'pg_authid'), %s)",
        (mark,),
    )
    return [(name, comment[len(mark) :].lstrip("\n")) for name, comment in found]


def unmark_roles(new: Conn, tag: str) -> None:
    """The roles that the attempt made are the server's own: their comments are the old side's."""
    for name, comment in made(new, tag):
        run(
            new,
            sql.SQL("comment on role {} is {}").format(
                sql.Identifier(name), sql.Literal(comment or None)
            ),
        )


def remove_roles(new: Conn, tag: str) -> tuple[list[str], list[str]]:
    """Drop the roles that the attempt made; returns those dropped and those that others use."""
    dropped, kept = [], []
    for name, _ in made(new, tag):
        try:
            run(new, sql.SQL("drop role {}").format(sql.Identifier(name)))
            dropped.append(name)
        except psycopg.errors.DependentObjectsStillExist:
            kept.append(name)
    return dropped, kept


def _mark(tag: str) -> str:
    return f"made by Crossfade ({tag})"


def _say_nothing(conn: Conn) -> None:
    """Keep statements with verifiers out of the server's log, where we may."""
    for name, value in (
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
        ("log_min_error_statement", "panic"),
    ):
        if one(conn, "select rolsuper from pg_roles where rolname = current_user"):
            run(conn, "select set_config(%s, %s, true)", (name, value))


def _make(new: Conn, role: Role, tag: str) -> None:
    name = sql.Identifier(role.name)
    words = [w if on else f"no{w}" for w, on in zip(_ATTRIBUTES, role.attributes, strict=True)]
    create = sql.SQL("create role {} {} connection limit {}").format(
        name, sql.SQL(" ".join(words)), sql.Literal(role.limit)
    )
    if role.verifier:
        create += sql.SQL(" password {}").format(sql.Literal(role.verifier))
    if role.until:
        create += sql.SQL(" valid until {}").format(sql.Literal(role.until))
    run(new, create)
    comment = "\n".join(text for text in (_mark(tag), role.comment) if text)
    run(new, sql.SQL("comment on role {} is {}").format(name, sql.Literal(comment)))
    for setting in role.settings:
        apply_setting(new, sql.SQL("role {}").format(name), setting)


def apply_setting(conn: Conn, whose: sql.Composable, setting: str) -> None:
    """``ALTER <whose> SET``, from ``name=value`` as pg_db_role_setting keeps it.

    A list of names is kept quoted, and would be quoted once more: it is taken over as it is.
    The caller is in a transaction.
    """
    name, _, value = setting.partition("=")
    dotted = sql.SQL(".").join(sql.Identifier(piece) for piece in name.split("."))
    if name in _LISTS:
        run(conn, "select set_config(%s, %s, true)", (name, value))
        run(conn, sql.SQL("alter {} set {} from current").format(whose, dotted))
    else:
        run(conn, sql.SQL("alter {} set {} to {}").format(whose, dotted, sql.Literal(value)))


def _grant(new: Conn, membership: Membership) -> None:
    grant = sql.SQL("grant {} to {}").format(
        sql.Identifier(membership.role), sql.Identifier(membership.member)
    )
    if new.info.server_version < 160000:
        if "admin true" in membership.options:
            grant += sql.SQL(" with admin option")
    else:
        options = [o for o in membership.options if not o.startswith("admin")]
        options.append("admin true" if "admin true" in membership.options else "admin false")
        grant += sql.SQL(" with ") + sql.SQL(", ").join(sql.SQL(option) for option in options)
    run(new, grant)


_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)

_CLOSURE = """
with recursive up(oid) as (
    select oid from pg_authid where rolname = any(%s)
    union select m.roleid from pg_auth_members m join up on m.member = up.oid),
needed(oid) as (
    select oid from up
    union select m.member from pg_auth_members m join needed on m.roleid = needed.oid
        join pg_authid g on g.oid = m.roleid where g.rolname !~ '^pg_')
select r.rolname, array[rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
        rolreplication, rolbypassrls],
    rolconnlimit, coalesce(rolvaliduntil::text, ''), coalesce(rolpassword, ''),
    coalesce(shobj_description(r.oid, 'pg_authid'), ''),
    coalesce((select setconfig from pg_db_role_setting s
        where s.setrole = r.oid and s.setdatabase = 0), '{}')
from pg_authid r join needed on needed.oid = r.oid
where r.rolname !~ '^pg_'
order by r.rolname
"""

_MEMBERS = """
select g.rolname, m.rolname, array['admin ' || bool_or(a.admin_option)]
from pg_auth_members a join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member
group by 1, 2 order by 1, 2
"""

_MEMBERS_16 = """
select g.rolname, m.rolname, array['admin ' || bool_or(a.admin_option),
    'inherit ' || bool_or(a.inherit_option), 'set ' || bool_or(a.set_option)]
from pg_auth_members a join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member
group by 1, 2 order by 1, 2
"""
