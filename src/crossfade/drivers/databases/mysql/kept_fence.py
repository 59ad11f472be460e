"""The fence that outlives us: triggers that refuse every insert, update and delete.

They follow the table locks without a gap: while a lock is held, the CREATE TRIGGER statements are
sent by sessions of their own and wait for it.  A waiting definition is granted before any writer,
also before writers that have been waiting for longer (tried: 90 writers, none of them wrote).
Rows that replication applies do not fire triggers, so a reverse feed can write.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import blake2b

from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    explained,
    fetch,
    ident,
    quietly_close,
    run,
    session_id,
)
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["EVENTS", "PREFIX", "drop_triggers", "keep_group", "standing", "trigger_name"]

PREFIX = "crossfade_fence_"
EVENTS = ("insert", "update", "delete")
WORDS = "fenced by crossfade: this database was carried to another server"
_LIMIT = 30.0


def trigger_name(table: str, event: str) -> str:
    """The trigger's name: at most 64 characters, whatever the table is called."""
    return f"{PREFIX}{event}_{blake2b(table.encode(), digest_size=8).hexdigest()}"


class _Waiting:
    """A statement that waits for a table's lock, in a session of its own."""

    def __init__(self, endpoint: Endpoint, statement: str) -> None:
        self.session = connect(endpoint)
        self.trouble: BaseException | None = None
        self._statement = statement
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            run(self.session, "set session sql_log_bin = 0, lock_wait_timeout = 60")
            run(self.session, self._statement)
        except BaseException as error:  # noqa: BLE001  raised again by end
            self.trouble = error

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Wait until it is done.  Raises what it raised, or Failed."""
        self._thread.join(_LIMIT)
        if self.trouble:
            raise self.trouble
        if self._thread.is_alive():
            raise Failed("fence-not-kept", "The triggers that keep the fence are not made in time.")


def keep_group(endpoint: Endpoint, holder: Conn, tables: Sequence[str]) -> None:
    """Put triggers on ``tables``, which ``holder`` has locked for reading and then unlocks.

    One table after the other, each locked by a session of its own until it is its turn: where
    triggers of two tables are made at the same time MariaDB leaves a file (``TABLE.TRG-``) behind,
    and then the database cannot be dropped any more (seen with 10.11)."""
    there = standing(holder, endpoint.database)
    locked = [f"lock tables {ident(table)} write" for table in tables]
    with _done_behind(holder, endpoint, locked) as locks:
        for table, lock in zip(tables, locks, strict=True):
            wanted = [event for event in EVENTS if trigger_name(table, event) not in there]
            made = [_definition(table, event) for event in wanted]
            with _done_behind(lock.session, endpoint, made):
                pass


@contextmanager
def _done_behind(
    holder: Conn, endpoint: Endpoint, statements: Sequence[str]
) -> Iterator[list[_Waiting]]:
    """Have the statements wait behind the locks of ``holder``, unlock that, and see them done."""
    with ExitStack() as stack:
        waiting = []
        for statement in statements:
            waiting.append(one := _Waiting(endpoint, statement))
            stack.callback(quietly_close, one.session)
            one.start()
        _until_waiting(holder, waiting)
        run(holder, "unlock tables")
        for one in waiting:
            one.end()
        yield waiting


def _definition(table: str, event: str) -> str:
    return (
        f"create trigger {ident(trigger_name(table, event))} before {event} on {ident(table)}"
        f" for each row signal sqlstate '25006' set mysql_errno = 1290, message_text = '{WORDS}'"
    )


def _until_waiting(holder: Conn, waiting: Sequence[_Waiting]) -> None:
    """Until every session waits for the table's lock."""
    numbers = ", ".join(str(session_id(one.session)) for one in waiting) or "0"
    until = time.monotonic() + _LIMIT
    while not any(one.trouble for one in waiting):
        count = fetch(
            holder,
            "select count(*) from information_schema.processlist"  # noqa: S608
            f" where id in ({numbers}) and state like 'Waiting for table metadata lock%'",
        )[0][0]
        if int(count) >= len(waiting):
            return
        if time.monotonic() > until:
            raise Failed(
                "fence-not-kept",
                "The triggers that keep the fence do not come to wait for the locks.",
                where=f"{count} of {len(waiting)}",
            )
        time.sleep(0.002)


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
