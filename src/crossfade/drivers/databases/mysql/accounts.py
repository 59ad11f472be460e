"""The accounts that a database needs on the new server, and their rights on it.

Accounts that are missing there are made with their password's hash, as the old server has it;
accounts that exist keep their password and get only what they lack on this database.  Rights on
whole servers and roles are not carried: they are named.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field

import pymysql

from crossfade.drivers.databases.mysql.connect import Conn, fetch, ident, run, text

__all__ = ["Accounts", "carry_accounts", "read_accounts", "withdraw_rights"]

_OURS = {"root", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "mysql"}
_ON = re.compile(
    r"^GRANT .+? ON (?:PROCEDURE |FUNCTION |PACKAGE |PACKAGE BODY )?(`(?:[^`]|``)*`|\*)\."
)


@dataclass(slots=True)
class Accounts:
    """create: the statement that makes each account; grants: rights on the database.

    left_out: rights that are not carried, in words."""

    create: dict[tuple[str, str], str] = field(default_factory=dict)
    grants: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_accounts(conn: Conn, database: str) -> Accounts:
    """Who has rights on a database, or owns a view, routine, trigger or event of it."""
    found = Accounts()
    patterns = {ident(pattern) for pattern in _patterns(database)}
    for user, host in _concerned(conn, database):
        if user in _OURS or not user:
            continue
        name = f"{text_name(user)}@{text_name(host)}"
        try:
            made = str(fetch(conn, f"show create user {name}")[0][0])
            grants = [str(row[0]) for row in fetch(conn, f"show grants for {name}")]
        except pymysql.MySQLError:
            found.left_out.append(f"account {user}@{host} does not exist on the old server")
            continue
        found.create[(user, host)] = made
        for grant in grants:
            on = _ON.match(grant)
            if on is None:
                found.left_out.append(f"role of {user}@{host}: {grant.split(' TO ')[0]}")
            elif on.group(1) in patterns:
                found.grants.append(grant)
            elif on.group(1) == "*" and not grant.startswith("GRANT USAGE "):
                rights = grant.partition(" ON ")[0].removeprefix("GRANT ")
                found.left_out.append(f"{user}@{host} has {rights} on the whole old server")
    return found


def carry_accounts(new: Conn, accounts: Accounts, old_name: str, new_name: str) -> list[str]:
    """Make what is missing; returns what the new server refused, in words."""
    refused: list[str] = []
    run(new, "set session sql_log_bin = 0")
    there = {
        (str(user), str(host)) for user, host in fetch(new, "select user, host from mysql.user")
    }
    for (user, host), statement in accounts.create.items():
        if (user, host) not in there:
            try:
                run(new, statement)
            except pymysql.MySQLError as error:
                refused.append(f"account {user}@{host}: {_first(error)}")
    for grant in accounts.grants:
        try:
            run(new, _renamed(grant, old_name, new_name))
        except pymysql.MySQLError as error:
            refused.append(f"{grant.partition(' IDENTIFIED ')[0]}: {_first(error)}")
    with contextlib.suppress(pymysql.MySQLError):
        run(new, "flush privileges")
    return refused


def withdraw_rights(conn: Conn, database: str) -> None:
    """Take back all rights on a database that is about to be dropped: dropping leaves them for the
    next one of its name.  The accounts themselves stay.  In a session that does not log."""
    for pattern in _patterns(database):
        known = f"select user, host from mysql.db where db = {text(pattern)}"  # noqa: S608
        for user, host in fetch(conn, known):
            whom = f"{text_name(str(user))}@{text_name(str(host))}"
            for rights in ("grant option", "all privileges"):
                with contextlib.suppress(pymysql.MySQLError):
                    run(conn, f"revoke {rights} on {ident(pattern)}.* from {whom}")


def _patterns(database: str) -> set[str]:
    """A database's name as rights name it: as it is, or with its wildcards escaped."""
    return {database, database.replace("_", "\\_").replace("%", "\\%")}


def text_name(name: str) -> str:
    """A part of an account's name."""
    return ident(name)


def _concerned(conn: Conn, database: str) -> list[tuple[str, str]]:
    literal = text(database)
    queries = [f"select user, host from mysql.db where {literal} like db"]  # noqa: S608
    queries += [
        f"select user, host from mysql.{table} where db = {literal}"  # noqa: S608
        for table in ("tables_priv", "columns_priv", "procs_priv")
    ]
    found = {(str(user), str(host)) for query in queries for user, host in fetch(conn, query)}
    for table, column in (
        ("views", "table_schema"),
        ("routines", "routine_schema"),
        ("triggers", "trigger_schema"),
        ("events", "event_schema"),
    ):
        for (definer,) in fetch(
            conn,
            f"select distinct definer from information_schema.{table} where {column} = %s",  # noqa: S608
            (database,),
        ):
            user, _, host = str(definer).rpartition("@")
            found.add((user, host))
    return sorted(found)


def _renamed(grant: str, old_name: str, new_name: str) -> str:
    if old_name == new_name:
        return grant
    on = _ON.match(grant)
    if on is None:
        return grant
    return grant[: on.start(1)] + ident(new_name) + grant[on.end(1) :]


def _first(error: pymysql.MySQLError) -> str:
    return str(error.args[1] if len(error.args) > 1 else error).splitlines()[0]
