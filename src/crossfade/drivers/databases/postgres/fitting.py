"""Whether the old database fits on the new server, and what will not be there as it was.

Nothing is dropped silently: what cannot be carried is named here, before anything is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres import queries_fitting as q
from crossfade.drivers.databases.postgres.connect import Conn, fetch, one, run
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.programs import find_programs
from crossfade.drivers.databases.postgres.roles import missing, read_roles
from crossfade.errors import Failed
from crossfade.model import Finding, Problem

__all__ = ["Fit", "fit"]

_FEW = 8  # names in one sentence


@dataclass
class Fit:
    """problems refuse; warnings are to be known; not_carried is what the new side will not have;
    actions are what is made on the new server besides the database."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_carried: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


def fit(inventory: Inventory, old: Conn, new: Conn, user: str, new_database: str) -> Fit:
    """Look at both servers; ``old`` is in the old database, ``new`` in any of the new server.

    user is the application's role.  Changes nothing.  Raises psycopg.Error.
    """
    found = Fit(not_carried=list(inventory.not_carried))
    _programs(found, inventory)
    _versions(found, inventory, old, new, new_database)
    _rights(found, old, "old")
    _rights(found, new, "new")
    if any(problem.code == "database-right-missing" for problem in found.problems):
        return found
    _roles(found, inventory, old, new, user)
    _extensions(found, inventory, old, new)
    _locale(found, inventory, new)
    _settings(found, old, new)
    _left_behind(found, inventory, old)
    return found


def _programs(found: Fit, inventory: Inventory) -> None:
    try:
        find_programs(inventory.version)
    except Failed as error:
        finding = Finding("PostgreSQL's programs are here", "yes", error.what, error.where, False)
        found.problems.append(Problem(error.code, finding, "install them, then: crossfade plan"))


def _versions(found: Fit, inventory: Inventory, old: Conn, new: Conn, new_database: str) -> None:
    there = new.info.server_version // 10000
    if there < inventory.version // 10000:
        found.problems.append(
            _problem(
                "new-server-older",
                "the new server is at least as new as the old one",
                f"{inventory.version // 10000} or newer",
                str(there),
                "use a newer PostgreSQL for the new side",
            )
        )
    if new_database == inventory.database and one(old, q.SYSTEM) == one(new, q.SYSTEM):
        found.problems.append(
            _problem(
                "same-database",
                "the new database is another one than the old one",
                "two databases",
                f"{new_database} on the same server",
                "name another database for the new side in crossfade.yaml",
            )
        )


def _rights(found: Fit, conn: Conn, side: str) -> None:
    if one(conn, "select rolsuper from pg_roles where rolname = current_user"):
        return
    user = one(conn, "select quote_ident(current_user)")
    found.problems.append(
        _problem(
            "database-right-missing",
            f"Crossfade's role on the {side} side may read and make roles and everything else",
            "a superuser",
            f"{user} is none",
            f"ALTER ROLE {user} SUPERUSER  -- on the {side} side's server",
        )
    )


def _roles(found: Fit, inventory: Inventory, old: Conn, new: Conn, user: str) -> None:
    roles, _ = read_roles(old, [*inventory.roles, user])
    names = [role.name for role in roles]
    absent = missing(new, names)
    if absent:
        found.actions.append(
            f"make the roles {_listed(absent)} on the new server, with attributes and password"
            " verifiers of the old one"
        )
    there = {row[0]: tuple(row[1]) for row in fetch(new, q.ATTRIBUTES)}
    found.warnings += [
        f"role {role.name} has other attributes on the new server, and keeps them there"
        for role in roles
        if role.name in there and there[role.name] != role.attributes
    ]
    strangers = [row[0] for row in fetch(old, q.OTHER_ROLES, (names,)) if row[0] not in there]
    if strangers:
        found.not_carried.append(f"roles with no part in this database: {_listed(strangers)}")


def _extensions(found: Fit, inventory: Inventory, old: Conn, new: Conn) -> None:
    available = dict(fetch(new, "select name, default_version from pg_available_extensions"))
    for extension in inventory.extensions:
        if extension.name not in available:
            found.problems.append(
                _problem(
                    "extension-missing",
                    f"extension {extension.name} can be had on the new server",
                    f"version {extension.version} or newer",
                    "not installed",
                    f"install the package with PostgreSQL's extension {extension.name} there",
                )
            )
        elif available[extension.name] != extension.version:
            found.warnings.append(
                f"extension {extension.name} is {extension.version} on the old side and will be"
                f" {available[extension.name]} on the new one"
            )
    loaded = {name.strip() for name in str(one(old, q.PRELOADED)).split(",") if name.strip()}
    there = {name.strip() for name in str(one(new, q.PRELOADED)).split(",")}
    if loaded - there:
        found.warnings.append(
            f"the old server loads {_listed(sorted(loaded - there))} when it starts"
            " (shared_preload_libraries), the new one does not"
        )


_LOCALE_USED = """
select exists (
  select from pg_catalog.pg_database where (datcollate, datctype) = (given.a, given.b)
  union all select from pg_catalog.pg_collation where (collcollate, collctype) = (given.a, given.b)
) from (values (%s, %s)) given (a, b)
"""


def _locale(found: Fit, inventory: Inventory, new: Conn) -> None:
    """Whether the new server's system knows the locale: where nothing there uses it yet, that is
    tried in a transaction that is undone."""
    if inventory.provider != "libc" or inventory.collate in ("C", "POSIX"):
        return
    if one(new, _LOCALE_USED, (inventory.collate, inventory.ctype)):
        return
    name = sql.Literal(inventory.collate)
    ctype = sql.Literal(inventory.ctype)
    try:
        with new.transaction(force_rollback=True):
            create = "create collation pg_temp.crossfade_probe (lc_collate = {}, lc_ctype = {})"
            run(new, sql.SQL(create).format(name, ctype))
    except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue):
        found.problems.append(
            _problem(
                "locale-missing",
                "the new server's system knows the old database's locale",
                f"{inventory.collate}, {inventory.ctype}",
                "not installed",
                "generate that locale on the new server's machine (locale-gen)",
            )
        )
    except psycopg.Error:  # a locale of another encoding than this session's: seen when it is used
        return


def _settings(found: Fit, old: Conn, new: Conn) -> None:
    known = {row[0] for row in fetch(new, "select lower(name) from pg_settings")}
    for role, texts in fetch(old, q.SETTINGS):
        for text in texts:
            name = text.partition("=")[0]
            if name.lower() not in known and "." not in name:
                whose = f"role {role} in the database" if role else "the database"
                found.not_carried.append(
                    f"setting {name} of {whose}, which the new server does not know"
                )


def _left_behind(found: Fit, inventory: Inventory, old: Conn) -> None:
    found.not_carried += [row[0] for row in fetch(old, q.LEFT_BEHIND)]
    foreign = [str(table) for table in inventory.tables if table.kind == "foreign"]
    if foreign:
        found.warnings.append(f"the rows of foreign tables stay where they are: {_listed(foreign)}")
    if inventory.matviews:
        found.warnings.append(
            f"materialized views are filled anew: {_listed(list(inventory.matviews))}"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _problem(code: str, claim: str, expected: str, observed: str, remedy: str) -> Problem:
    return Problem(code, Finding(claim, expected, observed, "both servers", False), remedy)
