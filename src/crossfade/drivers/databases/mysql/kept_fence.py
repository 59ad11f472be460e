"""The fence that outlives us: triggers that refuse every insert, update and delete.

They follow the table locks without a gap: while a lock is held, the CREATE TRIGGER statements are
sent by sessions of their own and wait for it.  A waiting definition is granted before any writer,
also before writers that have been waiting for longer (tried: 90 writers, none of them wrote).
Rows that replication applies do not fire triggers, so a reverse feed can write.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from hashlib import blake2b

import pymysql

from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    explained,
    fetch,
    ident,
    is_mariadb,
    quietly_close,
    run,
    session_id,
)
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["EVENTS", "PREFIX", "drop_triggers", "keep_group", "standing", "tidy", "trigger_name"]

PREFIX = "crossfade_fence_"
EVENTS = ("insert", "update", "delete")
WORDS = "fenced by crossfade: this database was carried to another server"
_LIMIT = 30.0


def trigger_name(table: str, event: str) -> str:
    """The trigger's name: at most 64 characters, whatever the table is called."""
    return f"{PREFIX}{event}_{blake2b(table.encode(), digest_size=8).hexdigest()}"


def keep_group(endpoint: Endpoint, holder: Conn, tables: Sequence[str]) -> None:
    """Put triggers on ``tables``, which ``holder`` has locked for reading and then unlocks."""
    looking = connect(endpoint)
    try:
        there = standing(looking, endpoint.database)
    finally:
        quietly_close(looking)
    wanted = [(t, e) for t in tables for e in EVENTS if trigger_name(t, e) not in there]
    sessions: list[Conn] = []
    trouble: list[BaseException] = []

    def make(session: Conn, table: str, event: str) -> None:
        try:
            run(session, _definition(table, event))
        except BaseException as error:  # noqa: BLE001  raised again below
            trouble.append(error)

    try:
        for _ in wanted:
            session = connect(endpoint)
            sessions.append(session)
            run(session, "set session sql_log_bin = 0, lock_wait_timeout = 60")
        threads = [
            threading.Thread(target=make, args=(session, *what), daemon=True)
            for session, what in zip(sessions, wanted, strict=True)
        ]
        for thread in threads:
            thread.start()
        _until_waiting(holder, sessions, trouble)
        run(holder, "unlock tables")
        for thread in threads:
            thread.join(_LIMIT)
        if trouble:
            raise trouble[0]
    finally:
        for session in sessions:
            quietly_close(session)


def tidy(endpoint: Endpoint) -> None:
    """Make one trigger of each table again.

    Where triggers of two tables are made at the same time MariaDB (10.11) now and then leaves a
    file of its own behind (``TABLE.TRG-``), and then cannot drop the database any more; one that is
    made alone takes that file away.  The table is never without it.  Who reads the table for long
    is not waited for."""
    conn = connect(endpoint)
    try:
        if not is_mariadb(conn):
            return
        run(conn, "set session sql_log_bin = 0, lock_wait_timeout = 5")
        for name, table in standing(conn, endpoint.database).items():
            if name == trigger_name(table, EVENTS[0]):
                with contextlib.suppress(pymysql.OperationalError):
                    run(conn, _definition(table, EVENTS[0], "create or replace"))
    finally:
        quietly_close(conn)


def _definition(table: str, event: str, create: str = "create") -> str:
    return (
        f"{create} trigger {ident(trigger_name(table, event))} before {event} on {ident(table)}"
        f" for each row signal sqlstate '25006' set mysql_errno = 1290, message_text = '{WORDS}'"
    )


def _until_waiting(holder: Conn, sessions: Sequence[Conn], trouble: list[BaseException]) -> None:
    """Until every session waits for the table's lock."""
    numbers = ", ".join(str(session_id(session)) for session in sessions) or "0"
    until = time.monotonic() + _LIMIT
    while not trouble:
        waiting = fetch(
            holder,
            "select count(*) from information_schema.processlist"  # noqa: S608
            f" where id in ({numbers}) and state like 'Waiting for table metadata lock%'",
        )[0][0]
        if int(waiting) >= len(sessions):
            return
        if time.monotonic() > until:
            raise Failed(
                "fence-not-kept",
                "The triggers that keep the fence do not come to wait for the locks.",
                where=f"{waiting} of {len(sessions)}",
            )
        time.sleep(0.01)


def standing(conn: Conn, database: str) -> dict[str, str]:
    """Our triggers on a database: the table of each, by the trigger's name."""
    rows = fetch(
        conn,
        "select trigger_name, event_object_table from information_schema.triggers"
        " where trigger_schema = %s",
        (database,),
    )
    return {str(name): str(table) for name, table in rows if str(name).startswith(PREFIX)}


def drop_triggers(endpoint: Endpoint) -> int:
    """Remove all of them; returns how many there were.  Raises Failed."""
    conn = connect(endpoint)
    try:
        with explained("lift the fence", endpoint):
            run(conn, "set session sql_log_bin = 0, lock_wait_timeout = 30")
            found = standing(conn, endpoint.database)
            for name in found:
                run(conn, f"drop trigger if exists {ident(name)}")
    finally:
        quietly_close(conn)
    return len(found)
