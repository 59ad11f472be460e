"""Whether a database can be followed: what speaks for a dump, and what has to be put right first.

A reason for ``dump`` is told with the pause that it means; a problem refuses the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crossfade.drivers.databases.postgres import keyless
from crossfade.drivers.databases.postgres.connect import Conn, fetch, one
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.drivers.databases.postgres.fitting import Fit
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.lookups import SMALL
from crossfade.model import Endpoint, Finding, Problem

__all__ = ["Verdict", "in_use", "judge", "look_at_new", "look_at_old"]

OLD_ENOUGH = 60.0
"""Seconds after which a prepared transaction counts as forgotten."""
_UNLOGGED = "table {} is unlogged and not small: no log tells its changes"


@dataclass
class Verdict:
    """reasons: why it has to be a dump.  problems: what refuses; on_new: the same of the new side's
    server; of_place: what stands where the new database should.  warnings: what to know.
    fit: whether the old database fits on the new server, whichever the strategy."""

    reasons: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    on_new: list[Problem] = field(default_factory=list)
    of_place: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fit: Fit = field(default_factory=Fit)


def judge(inventory: Inventory) -> list[str]:
    """Reasons for a dump that lie in the schema."""
    large = (table for table in inventory.with_data if table.unlogged and table.bytes > SMALL)
    return [*inventory.reasons_for_dump, *(_UNLOGGED.format(table) for table in large)]


def _keyless(conn: Conn, inventory: Inventory, new_version: int, verdict: Verdict) -> None:
    """Reasons and warnings for tables that are followed by whole rows."""
    use = keyless.used(conn)
    for table in inventory.with_data:
        if not table.unlogged:
            reason, warning = keyless.judge(table, use.get(table.oid), new_version)
            verdict.reasons += [reason] if reason else []
            verdict.warnings += [warning] if warning else []


def look_at_old(conn: Conn, inventory: Inventory, names: Names, new_version: int = 0) -> Verdict:
    """What the old side's server allows, when the new side's has this version (its number).

    Raises psycopg.Error."""
    verdict = Verdict(judge(inventory))
    _keyless(conn, inventory, new_version, verdict)
    level = str(one(conn, "show wal_level"))
    if level != "logical":
        verdict.reasons.append(
            f"the old side's server runs with wal_level = {level}; to be followed it would need"
            " wal_level = logical and one restart, which Crossfade does not do unasked"
        )
    verdict.reasons += _triggers(conn)
    if verdict.reasons:
        verdict.warnings.clear()
        return verdict
    verdict.problems += _rights(conn)
    verdict.problems += _room(conn, names)
    verdict.problems += _prepared(conn)
    kept = str(one(conn, "select coalesce(current_setting('max_slot_wal_keep_size', true), '-1')"))
    if kept != "-1":
        verdict.warnings.append(
            f"the old side's server gives a slot up that keeps more than {kept} of log"
            " (max_slot_wal_keep_size): then the feed has to begin again"
        )
    return verdict


def _triggers(conn: Conn) -> list[str]:
    """Those that fire for replicated rows would do on the new side again what was replicated."""
    rows = fetch(
        conn,
        "select quote_ident(t.tgname), t.tgrelid::regclass::text from pg_catalog.pg_trigger t"
        " where t.tgenabled in ('A', 'R') and not t.tgisinternal"
        " and not starts_with(t.tgname::text, 'crossfade_fence') order by 2, 1 limit 1",
    )
    return [
        f"trigger {trigger} of table {table} also fires for rows that are replicated"
        for trigger, table in rows
    ]


def look_at_new(conn: Conn, names: Names) -> list[Problem]:
    """What the new side's server lacks for following.  Raises psycopg.Error."""
    problems = []
    if not one(conn, "select rolsuper from pg_catalog.pg_roles where rolname = current_user"):
        user = one(conn, "select quote_ident(current_user)")
        problems.append(
            _problem(
                "replication-right-missing",
                "Crossfade's role on the new side may make a subscription",
                "a superuser",
                f"{user} is none",
                f"ALTER ROLE {user} SUPERUSER  -- on the new side's server",
            )
        )
    for setting in ("max_logical_replication_workers", "max_worker_processes"):
        value = int(one(conn, "select current_setting(%s)", (setting,)))
        if value < 2:
            problems.append(_setting("the new side's server", setting, value, 4))
    limit, used = fetch(
        conn,
        "select current_setting(case when current_setting('server_version_num')::int >= 180000"
        " then 'max_active_replication_origins' else 'max_replication_slots' end)::int,"
        " (select count(*) from pg_catalog.pg_replication_origin)",
    )[0]
    ours = one(conn, "select 1 from pg_catalog.pg_subscription where subname = %s", (names.feed,))
    if used >= limit and not ours:
        problems.append(
            _setting("the new side's server", "max_replication_slots", limit, limit + 4)
        )
    return problems


def in_use(new: Endpoint) -> list[Problem]:
    """Somebody's data stands where the new database should."""
    return [
        _problem(
            "new-place-in-use",
            "the place of the new database is free",
            "no database, or an empty one",
            f"{new.database} has data that is not ours",
            "name another database for the new side in crossfade.yaml, or remove that one",
        )
    ]


def _rights(conn: Conn) -> list[Problem]:
    user, able = fetch(
        conn,
        "select quote_ident(rolname), rolsuper from pg_catalog.pg_roles"
        " where rolname = current_user",
    )[0]
    if able:
        return []
    return [
        _problem(
            "replication-right-missing",
            "Crossfade's role on the old side may publish tables and make slots and roles",
            "a superuser",
            f"{user} is none",
            f"ALTER ROLE {user} SUPERUSER  -- on the old side's server",
        )
    ]


def _room(conn: Conn, names: Names) -> list[Problem]:
    """Two slots, and as many connections that send log, have to be free."""
    problems = []
    slots, senders, used, sending, ours, sent = fetch(
        conn,
        "select current_setting('max_replication_slots')::int,"
        " current_setting('max_wal_senders')::int,"
        " (select count(*) from pg_catalog.pg_replication_slots),"
        " (select count(*) from pg_catalog.pg_stat_replication),"
        " (select count(*) from pg_catalog.pg_replication_slots where slot_name = any(%s)),"
        " (select count(*) from pg_catalog.pg_stat_replication where usename = %s)",
        ([names.feed, names.keys], names.feed),
    )[0]
    for setting, code, most, taken, have in (
        ("max_replication_slots", "replication-slots-used-up", slots, used, ours),
        ("max_wal_senders", "replication-senders-used-up", senders, sending, sent),
    ):
        if most - taken + have < 2:
            problems.append(
                _problem(
                    code,
                    "the old side's server has room to be followed",
                    f"2 free of {setting}",
                    f"{taken} of {most} are used",
                    f"drop what is not used any more, or raise {setting} (needs a restart)",
                )
            )
    return problems


def _prepared(conn: Conn) -> list[Problem]:
    """A forgotten one keeps every slot from being made, and its locks hold against the fence."""
    rows = fetch(
        conn,
        "select quote_literal(gid), quote_ident(owner), database,"
        " round(extract(epoch from clock_timestamp() - prepared))::int"
        " from pg_catalog.pg_prepared_xacts"
        " where clock_timestamp() - prepared > make_interval(secs => %s) order by prepared limit 5",
        (OLD_ENOUGH,),
    )
    return [
        _problem(
            "prepared-transaction",
            "no forgotten prepared transaction stands in the way",
            "none",
            f"{gid} of {owner} in database {database}, {age} s old",
            f"COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid} in that database",
        )
        for gid, owner, database, age in rows
    ]


def _setting(where: str, name: str, value: int, wanted: int) -> Problem:
    return _problem(
        "server-setting",
        f"{where} can follow",
        f"{name} >= {wanted}",
        f"{name} = {value}",
        f"ALTER SYSTEM SET {name} = {wanted}  -- and restart that server",
    )


def _problem(code: str, claim: str, expected: str, observed: str, next: str) -> Problem:
    finding = Finding(claim, expected, observed, "the server's settings and catalogue", False)
    return Problem(code, finding, next)
