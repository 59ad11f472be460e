"""Tries whether anybody could write: on every table, as the administrator and as the application.

Where a lock must be in the way, a DELETE of no row is tried that may not wait; where the fence is
kept by triggers, an INSERT in a transaction that is rolled back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import pymysql

from crossfade.drivers.databases.mysql.catalog import read_names
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    explained,
    ident,
    is_mariadb,
    quietly_close,
    run,
)
from crossfade.drivers.databases.mysql.kept_fence import EVENTS, standing, trigger_name
from crossfade.errors import Failed
from crossfade.model import Endpoint, Finding

__all__ = ["prove"]

_REFUSED = {1205, 1290, 1036, 1044, 1142, 1143, 1227}


def prove(endpoint: Endpoint) -> Finding:
    """A finding that holds when nobody could write to any table or sequence just now."""
    open_to: list[str] = []
    tried = 0
    with explained("prove the fence", endpoint):
        admin = connect(endpoint, timeout=5)
        try:
            names = read_names(admin, endpoint.database)
            if names is None:
                raise Failed("database-missing", "The database is gone.", where=str(endpoint))
            kept = standing(admin, endpoint.database)
            with contextlib.ExitStack() as stack:
                sessions = [(endpoint.admin, admin), *_application(endpoint, stack)]
                for who, session in sessions:
                    wait = 0 if is_mariadb(session) else 1
                    run(session, f"set session lock_wait_timeout = {wait}, sql_mode = ''")
                    open_to += _tried(session, who, names[0], kept)
                    tried += len(names[0])
        finally:
            quietly_close(admin)
    seen = f"{tried} tries refused" if not open_to else f"open: {', '.join(open_to[:5])}"
    return Finding(
        claim=f"nobody can write to {endpoint.database}",
        expected=f"{tried} tries refused",
        observed=seen,
        source=f"a write to every table, as {endpoint.admin} and as {endpoint.user}",
        holds=not open_to,
    )


def _application(endpoint: Endpoint, stack: contextlib.ExitStack) -> Iterable[tuple[str, Conn]]:
    """The application's session; none when it cannot log in, so that it cannot write either."""
    try:
        session = connect(endpoint, as_app=True, timeout=5)
    except Failed as error:
        if error.code == "database-login-refused":
            return []
        raise
    stack.callback(quietly_close, session)
    return [(endpoint.user, session)]


def _tried(
    session: Conn, who: str, tables: Mapping[str, str], kept: Mapping[str, str]
) -> list[str]:
    open_to = []
    for table, engine in tables.items():
        name = ident(table)
        if all(trigger_name(table, event) in kept for event in EVENTS):
            insert = f"insert into {name} () values ()"  # noqa: S608
            refused = engine != "InnoDB" or _refused(session, insert)
        else:
            refused = _refused(session, f"delete from {name} where false")  # noqa: S608
        if not refused:
            open_to.append(f"{table} to {who}")
    return open_to


def _refused(session: Conn, statement: str) -> bool:
    try:
        run(session, "start transaction")
        run(session, statement)
    except pymysql.MySQLError as error:
        return bool(error.args) and error.args[0] in _REFUSED
    finally:
        with contextlib.suppress(pymysql.MySQLError):
            run(session, "rollback")
    return False
