"""How the reverse feed does, in one sentence: asked of both servers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from crossfade.drivers.databases.postgres import slots
from crossfade.drivers.databases.postgres.connect import explained, fetch
from crossfade.drivers.databases.postgres.feed import Names, brief
from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.ports import WayBack

__all__ = ["look"]

_PATIENCE = 5.0
_YOUNG = 6.0
"""Seconds: a worker that cannot apply a change is started again every five."""


@dataclass(frozen=True, slots=True)
class _Follower:
    """The subscription: whether it is there and enabled, its worker, its failed attempts (-1: the
    server does not count them)."""

    there: bool
    enabled: bool
    pid: int | None
    errors: int


@dataclass(frozen=True, slots=True)
class _Source:
    """The slot, bytes behind, and for how many seconds the follower is connected (-1: is not)."""

    slot: slots.Slot | None
    behind: int
    connected: float


def look(old: Endpoint, new: Endpoint, names: Names, name: str) -> WayBack:
    """What going back would cost.  A server that is away is an answer, not an error."""
    with ThreadPoolExecutor(1) as beside:
        there = beside.submit(_follower, old, names)
        try:
            source = _source(new, names)
        except Failed as error:
            return WayBack(False, f"the new side of database {name} does not answer: {error.what}")
        try:
            follower = there.result()
        except Failed as error:
            return WayBack(False, f"the old side of database {name} does not answer: {error.what}")
    return _judge(follower, source, name)


def _judge(follower: _Follower, source: _Source, name: str) -> WayBack:
    prefix = f"database {name}: "
    if source.slot is None:
        return WayBack(False, prefix + "the new server keeps no writes for the way back")
    if source.slot.lost:
        return WayBack(False, prefix + f"the reverse feed was given up: {source.slot.lost}")
    kept = f"{source.behind} bytes of changes wait on the new server"
    if not follower.there:
        return WayBack(True, prefix + f"the reverse feed was not started yet; {kept}")
    if not follower.enabled:
        return WayBack(False, prefix + f"the reverse feed is disabled; {kept}")
    waits = source.behind > 0
    if follower.pid is None and source.connected < 0:
        failed = f" after {follower.errors} failed attempts" if follower.errors > 0 else ""
        return WayBack(
            False,
            prefix + f"the reverse feed's worker does not run on the old server{failed}; {kept}",
        )
    if waits and source.connected < _YOUNG and follower.errors != 0:
        failed = f" ({follower.errors} failed attempts)" if follower.errors > 0 else ""
        return WayBack(
            False, prefix + f"the reverse feed has just been started again{failed}; {kept}"
        )
    return WayBack(True, prefix + f"a reverse feed brings every write to the old side; {kept}")


def _follower(old: Endpoint, names: Names) -> _Follower:
    with brief(old, seconds=_PATIENCE) as conn, explained("look at the reverse feed", old):
        rows = fetch(
            conn,
            "select s.subenabled, w.pid from pg_catalog.pg_subscription s"
            " join pg_catalog.pg_database d on d.oid = s.subdbid and datname = current_database()"
            " left join pg_catalog.pg_stat_subscription w on w.subid = s.oid and w.relid is null"
            " where s.subname = %s order by w.pid limit 1",
            (names.feed,),
        )
        if not rows:
            return _Follower(there=False, enabled=False, pid=None, errors=0)
        errors = -1
        if conn.info.server_version >= 150000:
            counted = fetch(
                conn,
                "select apply_error_count from pg_catalog.pg_stat_subscription_stats"
                " where subname = %s",
                (names.feed,),
            )
            errors = int(counted[0][0]) if counted else 0
        return _Follower(there=True, enabled=bool(rows[0][0]), pid=rows[0][1], errors=errors)


def _source(new: Endpoint, names: Names) -> _Source:
    with brief(new, seconds=_PATIENCE) as conn, explained("look at the reverse feed", new):
        slot = slots.look(conn, names.feed)
        rows = fetch(
            conn,
            "select greatest(0, pg_current_wal_flush_lsn() - s.confirmed_flush_lsn)::int8,"
            " coalesce(extract(epoch from clock_timestamp() - r.backend_start), -1)::float8"
            " from pg_catalog.pg_replication_slots s"
            " left join pg_catalog.pg_stat_replication r on r.pid = s.active_pid"
            " where s.slot_name = %s",
            (names.feed,),
        )
    behind, connected = rows[0] if rows else (0, -1.0)
    return _Source(slot, int(behind), float(connected))
