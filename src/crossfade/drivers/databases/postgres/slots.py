"""Replication slots: made with a bounded wait, watched, advanced, dropped."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import pq, sql

from crossfade.drivers.databases.postgres import silence
from crossfade.drivers.databases.postgres.connect import Conn, connect, fetch, one, run
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "Exported",
    "Slot",
    "advance",
    "blockers",
    "create",
    "drop",
    "look",
    "words_of",
]


@dataclass(frozen=True, slots=True)
class Exported:
    """A new slot: from which position it tells changes, and the snapshot of just before.

    The snapshot can be taken over by other sessions as long as ``conn`` is open and idle.
    """

    conn: Conn
    position: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class Slot:
    """How a slot stands: positions in the write-ahead log, bytes that it keeps, who reads it.

    lost says why the server gave it up; empty when it did not."""

    confirmed: int
    retained: int
    active_pid: int | None
    lost: str


@contextlib.contextmanager
def create(old: Endpoint, slot: str, *, export: bool, patience: float) -> Iterator[Exported]:
    """Make a slot; the snapshot lives inside the context only, the slot stays.

    The server waits for every transaction that writes just now, in any of its databases; after
    ``patience`` seconds we give up and say for whom we waited, and nothing is left.
    Raises Failed.
    """
    conn = connect(old, replication=True)
    try:
        silence.give_up_after(conn, 20)
        yield _create(conn, old, slot, export=export, patience=patience)
    finally:
        conn.close()


def _create(conn: Conn, old: Endpoint, slot: str, *, export: bool, patience: float) -> Exported:
    words = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {}").format(
        sql.Identifier(slot), sql.SQL("EXPORT_SNAPSHOT" if export else "NOEXPORT_SNAPSHOT")
    )
    channel = conn.pgconn
    channel.send_query(words.as_bytes(conn))
    deadline = time.monotonic() + patience
    while channel.is_busy():
        left = deadline - time.monotonic()
        if left <= 0:
            raise _waited(old, slot, channel.backend_pid, patience)
        if select.select([channel.socket], [], [], min(left, 0.5))[0]:
            channel.consume_input()
    result = channel.get_result()
    if result is None or result.status != pq.ExecStatus.TUPLES_OK:
        raise _refused(result, old, slot)
    position = _number((result.get_value(0, 1) or b"0/0").decode())
    snapshot = (result.get_value(0, 2) or b"").decode()
    while channel.get_result() is not None:
        pass
    return Exported(conn, position, snapshot)


def _refused(result: pq.abc.PGresult | None, old: Endpoint, slot: str) -> Failed:
    text, state = "the connection was lost", ""
    if result is not None:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode() or text
    code = {
        "53400": "replication-slots-used-up",
        "42501": "replication-right-missing",
        "55000": "wal-level-too-low",
        "42710": "replication-slot-exists",
    }.get(state, "replication-slot-refused")
    return Failed(
        code,
        f"The old side's server did not make a replication slot: {text}.",
        where=f"{old}, slot {slot}",
    )


def _waited(old: Endpoint, slot: str, pid: int, patience: float) -> Failed:
    with connect(old) as other:
        who = blockers(other, pid)
        run(other, "select pg_catalog.pg_terminate_backend(%s)", (pid,))
        drop(other, slot)
    return Failed(
        "long-transaction",
        f"The replication slot had to wait more than {patience:.0f} s for"
        f" {who or 'a transaction that writes'}, and was given up.",
        where=f"{old}, slot {slot}",
    )


def blockers(conn: Conn, pid: int | None = None) -> str:
    """Who stands in the way of the session ``pid``, or else the oldest writer and prepared
    transaction, in words: process, role, age.  Never a statement's text."""
    pids = one(conn, "select pg_catalog.pg_blocking_pids(%s)", (pid,)) if pid else []
    rows = fetch(
        conn,
        "select 'the transaction of process ' || pid || ' (role ' || coalesce(usename, '?')"
        " || ', ' || coalesce(nullif(application_name, ''), 'no name') || ', ' || state || ', '"
        " || round(extract(epoch from clock_timestamp() - xact_start)) || ' s old)'"
        " from pg_catalog.pg_stat_activity where case when cardinality(%s::int[]) > 0"
        " then pid = any(%s::int[]) else backend_xid is not null end"
        " and pid <> pg_catalog.pg_backend_pid() order by xact_start limit 3",
        (pids, pids),
    )
    if not rows:
        rows = fetch(
            conn,
            "select 'the prepared transaction ' || quote_literal(gid) || ' (role ' || owner || ', '"
            " || round(extract(epoch from clock_timestamp() - prepared)) || ' s old)'"
            " from pg_catalog.pg_prepared_xacts order by prepared limit 3",
        )
    return " and ".join(row[0] for row in rows)


def look(conn: Conn, slot: str) -> Slot | None:
    """How the slot stands; None when there is none.  Raises psycopg.Error."""
    version = conn.info.server_version
    lost: LiteralString = "''"
    if version >= 130000:
        lost = "case when wal_status = 'lost' then 'max_slot_wal_keep_size was reached' else '' end"
    if version >= 170000:
        lost = "coalesce(invalidation_reason, '')"
    query = sql.SQL(
        "select (coalesce(confirmed_flush_lsn, '0/0') - '0/0'::pg_lsn)::bigint,"
        " coalesce(pg_catalog.pg_current_wal_lsn() - restart_lsn, 0)::bigint, active_pid, {}"
        " from pg_catalog.pg_replication_slots where slot_name = %s"
    )
    rows = fetch(conn, query.format(sql.SQL(lost)), (slot,))
    return Slot(*rows[0]) if rows else None


def advance(conn: Conn, slot: str, position: int) -> None:
    """Forget what the slot has up to ``position``.  Raises psycopg.Error."""
    to = words_of(position)
    run(
        conn,
        "select pg_catalog.pg_replication_slot_advance(slot_name, %s::pg_lsn)"
        " from pg_catalog.pg_replication_slots"
        " where slot_name = %s and confirmed_flush_lsn < %s::pg_lsn",
        (to, slot, to),
    )


def drop(conn: Conn, slot: str, patience: float = 10.0) -> bool:
    """Drop the slot, ending who reads from it.  Whether it was there.  Raises psycopg.Error."""
    deadline = time.monotonic() + patience
    seen = False
    while (state := look(conn, slot)) is not None:
        seen = True
        if state.active_pid is not None:
            run(conn, "select pg_catalog.pg_terminate_backend(%s)", (state.active_pid,))
        try:
            run(conn, "select pg_catalog.pg_drop_replication_slot(%s)", (slot,))
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        except psycopg.errors.UndefinedObject:
            break
    return seen


def words_of(position: int) -> str:
    """A position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def _number(position: str) -> int:
    high, _, low = position.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
