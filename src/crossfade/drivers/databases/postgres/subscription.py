"""The new side of a feed: the subscription, how it does, and how the new database gets rid of it.

A subscription that cannot apply a change does not end: its worker dies and is started again every
few seconds, for ever, with the reason in its server's log only.  So its health is judged by what
the old side's slot has confirmed, by the worker, and by the server's count of errors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from crossfade.drivers.databases.postgres import slots
from crossfade.drivers.databases.postgres.connect import Conn, explained, fetch, one, run
from crossfade.drivers.databases.postgres.feed import Names, brief, hush
from crossfade.drivers.databases.postgres.words import Log
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["Watched", "detach", "durable", "enable", "flushed", "subscribe", "subscribed"]

_CONNECTION: dict[str, Any] = {
    "application_name": "crossfade feed",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30000,
}
_DEFINITE = 2
"""As many failed attempts to apply mean that the next one fails as well."""


def subscribe(old: Endpoint, new: Endpoint, names: Names, password: str) -> None:
    """Make the subscription, which does nothing yet; the new database has its tables already.

    Its server logs in to the old one, so a way that is barred is told before anything is copied.
    Fine when it is there (the password is renewed).  Raises Failed.
    """
    at = old.reached_at or old.address
    target = make_conninfo(
        host=at.host,
        port=at.port,
        dbname=old.database,
        user=names.feed,
        password=password,
        **_CONNECTION,
    )
    name = sql.Identifier(names.feed)
    with brief(new) as conn:
        hush(conn)
        options = [sql.SQL(option) for option in _options(conn, old, names)]
        statement = sql.SQL("create subscription {} connection {} publication {} with ({})").format(
            name, sql.Literal(target), name, sql.SQL(", ").join(options)
        )
        if subscribed(conn, names):
            change = sql.SQL("alter subscription {} connection {}")
            statement = change.format(name, sql.Literal(target))
        try:
            run(conn, statement)
        except psycopg.OperationalError as error:
            text = error.diag.message_primary or "no reason given"
            raise Failed(
                "feed-cannot-reach-old",
                f"The new side's server cannot log in to the old one: {text.rstrip('.')}.",
                where=f"{at}, role {names.feed}",
            ) from None
        except psycopg.Error as error:
            text = error.diag.message_primary or "no reason given"
            raise Failed(
                "subscription-refused",
                f"The new side's server did not make the subscription: {text.rstrip('.')}.",
                where=str(new),
            ) from None


def _options(conn: Conn, old: Endpoint, names: Names) -> list[str]:
    given = ["enabled = false", "create_slot = false", "copy_data = false"]
    given.append(f"slot_name = '{names.feed}'")
    with brief(old) as there:
        both = min(there.info.server_version, conn.info.server_version)
    if both >= 140000:
        given.append("streaming = on")
    return given


def enable(conn: Conn, names: Names) -> None:
    """Let the new database follow the slot from where its snapshot ended."""
    run(conn, sql.SQL("alter subscription {} enable").format(sql.Identifier(names.feed)))


def durable(conn: Conn, names: Names, *, each: bool) -> None:
    """Whether the new side makes every single transaction durable before it confirms it.

    Quick to confirm, so it is what the pause needs; but no server applies a long backlog, or very
    many small transactions, as fast in this way.
    """
    wanted = "on" if each else "off"
    now = one(
        conn,
        "select subsynccommit from pg_catalog.pg_subscription s join pg_catalog.pg_database d"
        " on d.oid = s.subdbid where subname = %s and datname = current_database()",
        (names.feed,),
    )
    if now != wanted:
        alter = sql.SQL("alter subscription {} set (synchronous_commit = {})")
        run(conn, alter.format(sql.Identifier(names.feed), sql.Literal(wanted)))


def subscribed(conn: Conn, names: Names) -> bool:
    """Whether this database has the subscription."""
    found = one(
        conn,
        "select 1 from pg_catalog.pg_subscription s join pg_catalog.pg_database d"
        " on d.oid = s.subdbid where subname = %s and datname = current_database()",
        (names.feed,),
    )
    return found is not None


def detach(conn: Conn, names: Names) -> bool:
    """Make the new database independent, without a word to the old side.  Whether it was not."""
    if not subscribed(conn, names):
        return False
    name = sql.Identifier(names.feed)
    run(conn, sql.SQL("alter subscription {} disable").format(name))
    run(conn, sql.SQL("alter subscription {} set (slot_name = none)").format(name))
    run(conn, sql.SQL("drop subscription {}").format(name))
    return True


def flushed(conn: Conn, *, exact: bool = True) -> int:
    """Where the old side's log ends that is on its disk.

    exact: everything acknowledged until now is before it.  A commit of our own makes the server
    write down what was committed asynchronously before; it changes no data.
    """
    if exact:
        run(conn, "select pg_catalog.pg_logical_emit_message(true, 'crossfade', '')")
    end = one(conn, "select (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint")
    return int(end)


@dataclass
class _Seen:
    confirmed: int = -1
    since: float = 0.0
    errors: int = 0
    pids: frozenset[int] = frozenset()


class Watched:
    """A feed that is followed: waits for it, and tells when it cannot go on.

    old and new give a session that works (a new one after a lost connection).
    """

    def __init__(
        self, old: Callable[[], Conn], new: Callable[[], Conn], names: Names, where: str
    ) -> None:
        self._old, self._new, self.names, self.where = old, new, names, where
        self._log = Log(new())
        self._errors = self._count()
        self.cancelled = threading.Event()

    def wait(self, position: int, *, patience: float) -> None:
        """Until everything before ``position`` is applied and durable on the new side.

        patience is how many seconds may pass without any progress.  Raises Failed.
        """
        seen = _Seen(since=time.monotonic(), errors=self._errors)
        pause = 0.0005
        while True:
            if self.cancelled.is_set():
                raise Failed("feed-not-awaited", "The wait for the feed was broken off.")
            try:
                if self._step(position, seen, patience):
                    return
            except (Failed, psycopg.OperationalError) as error:
                if isinstance(error, Failed) and not error.code.startswith("database-"):
                    raise
                if time.monotonic() - seen.since > patience:
                    with explained("follow the old side", self.where):
                        raise
                pause = 0.5
            time.sleep(pause)
            pause = min(0.05, pause * 1.5)

    def _step(self, position: int, seen: _Seen, patience: float) -> bool:
        """Whether the position is reached.  Raises Failed when there is no hope."""
        slot = slots.look(self._old(), self.names.feed)
        if slot is None or slot.lost:
            reason = slot.lost if slot else "it is gone"
            raise self._failed(
                "feed-slot-lost", f"The feed's slot cannot be used any more: {reason}."
            )
        if slot.confirmed >= position:
            return True
        now = time.monotonic()
        if slot.confirmed > seen.confirmed:
            seen.confirmed, seen.since, seen.errors = slot.confirmed, now, self._count()
            seen.pids = frozenset()
        if now - seen.since > min(1.0, patience / 4):
            self._judge(seen, now - seen.since, patience)
        return False

    def _judge(self, seen: _Seen, stuck: float, patience: float) -> None:
        """It makes no progress: why, and is there hope?"""
        enabled, pid = self._worker()
        if not enabled:
            raise self._failed("feed-stopped", "The subscription is disabled or gone.")
        if pid:
            seen.pids |= {pid}
        words = self._log.apply_error()
        failures = max(self._count() - seen.errors, len(seen.pids) - 1)
        if (words and "could not" not in words and failures) or (failures > _DEFINITE and words):
            raise self._failed("feed-stopped", f"The new side cannot apply a change: {words}.")
        if stuck <= patience:
            return
        if failures:
            raise self._failed(
                "feed-stopped",
                f"The new side's worker failed {failures} times without any progress for"
                f" {stuck:.0f} s: {words or 'the reason is in the log of its server'}.",
            )
        what = "its worker does not answer" if pid else "its worker does not run"
        raise self._failed("feed-stalled", f"The feed made no progress for {stuck:.0f} s: {what}.")

    def _worker(self) -> tuple[bool, int | None]:
        rows = fetch(
            self._new(),
            "select s.subenabled, w.pid from pg_catalog.pg_subscription s"
            " join pg_catalog.pg_database d on d.oid = s.subdbid and datname = current_database()"
            " left join pg_catalog.pg_stat_subscription w on w.subid = s.oid and w.relid is null"
            " where s.subname = %s order by w.pid limit 1",
            (self.names.feed,),
        )
        return (bool(rows[0][0]), rows[0][1]) if rows else (False, None)

    def _count(self) -> int:
        """Failed attempts to apply, as the server counts them (PostgreSQL 15 and newer)."""
        conn = self._new()
        if conn.info.server_version < 150000:
            return 0
        query = (
            "select apply_error_count from pg_catalog.pg_stat_subscription_stats where subname = %s"
        )
        return int(one(conn, query, (self.names.feed,)) or 0)

    def _failed(self, code: str, what: str) -> Failed:
        return Failed(code, what, where=f"{self.where}, subscription {self.names.feed}")
