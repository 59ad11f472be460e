"""What the reverse feed needs on the servers, and whether they allow it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from psycopg import sql

from crossfade.drivers.databases.postgres import identities, slots
from crossfade.drivers.databases.postgres.connect import Conn, fetch, one, run
from crossfade.drivers.databases.postgres.feed import Names, session
from crossfade.drivers.databases.postgres.inventory import Table
from crossfade.drivers.databases.postgres.reverse_tables import tables_now
from crossfade.drivers.databases.postgres.roundtrip import Identity, Pair, pair_up
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "against_publisher",
    "against_servers",
    "give_back",
    "identities_of_old",
    "make_slot",
    "plan",
    "publish",
]

_SLOT_PATIENCE = 1500  # ms, in the pause


def plan(old: Sequence[Table], conn: Conn) -> tuple[list[Pair], list[str]]:
    """The tables that go back, and why some cannot; ``conn`` is on the new side.

    Raises psycopg.Error."""
    pairs, reasons = pair_up(old, tables_now(conn), conn.info.server_version)
    if one(conn, "select exists (select from pg_catalog.pg_largeobject_metadata)"):
        reasons.append("large objects cannot be followed")
    return pairs, reasons


def against_servers(old: Endpoint, new: Endpoint, names: Names) -> list[str]:
    """What speaks against a reverse feed on the servers' part.  Raises Failed."""
    try:
        conn = session(new)
    except Failed as error:
        if error.code != "database-missing":
            raise
        conn = session(new, database="template1")
    with conn:
        reasons = against_publisher(conn, names)
    with session(old) as conn:
        for setting in ("max_logical_replication_workers", "max_worker_processes"):
            if int(one(conn, "select pg_catalog.current_setting(%s)", (setting,))) < 2:
                reasons.append(f"the old side's server has {setting} below 2")
    return reasons


def against_publisher(conn: Conn, names: Names) -> list[str]:
    """What the new side's server lacks for being followed.  Raises psycopg.Error."""
    level, able, free, sending = fetch(
        conn,
        "select current_setting('wal_level'),"
        " (select rolsuper from pg_catalog.pg_roles where rolname = current_user),"
        " current_setting('max_replication_slots')::int - (select count(*)"
        "   from pg_catalog.pg_replication_slots where slot_name <> all (%s)),"
        " current_setting('max_wal_senders')::int"
        "   - (select count(*) from pg_catalog.pg_stat_replication where usename <> %s)",
        ([names.feed, names.keys], names.feed),
    )[0]
    reasons = []
    if level != "logical":
        reasons.append(f"the new side's server runs with wal_level = {level} instead of logical")
    if not able:
        reasons.append("Crossfade's role on the new side's server is no superuser")
    if free < 2:
        reasons.append("the new side's server has less than 2 free max_replication_slots")
    if sending < 2:
        reasons.append("the new side's server has less than 2 free max_wal_senders")
    return reasons


def publish(conn: Conn, names: Names, pairs: Sequence[Pair]) -> None:
    """Publish the pairs' tables on the new side.  Fine when it is so.  Raises psycopg.Error."""
    if one(conn, "select 1 from pg_catalog.pg_publication where pubname = %s", (names.feed,)):
        return
    publication = sql.Identifier(names.feed)
    members = [_member(pair) for pair in pairs]
    options = sql.SQL("")
    if any(pair.old.kind == "partitioned" for pair in pairs):
        options = sql.SQL(" with (publish_via_partition_root = true)")
    with conn.transaction():
        run(conn, "select set_config('lock_timeout', '500', true)")
        wanted = [(pair.new, pair.on_new) for pair in pairs]
        before = _set_identities(conn, wanted)
        create = sql.SQL("create publication {}").format(publication)
        if members:
            create = create + sql.SQL(" for table {}").format(sql.SQL(", ").join(members))
        run(conn, create + options)
        _note(conn, names, before)


def make_slot(conn: Conn, slot: str) -> None:
    """Make the slot; waits for those who are writing, a little.  Fine when it is there.

    Raises psycopg.Error."""
    if slots.look(conn, slot) is not None:
        return
    run(conn, "select set_config('statement_timeout', %s, false)", (str(_SLOT_PATIENCE),))
    try:
        fetch(conn, "select pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    finally:
        run(conn, "select set_config('statement_timeout', '0', false)")


def identities_of_old(conn: Conn, names: Names, pairs: Sequence[Pair]) -> None:
    """Let the old side find rows by the key that the new one sends.  Raises psycopg.Error.

    What the identities were before stands in the comment of a publication without tables."""
    if one(conn, "select 1 from pg_catalog.pg_publication where pubname = %s", (names.feed,)):
        return
    with conn.transaction():
        run(conn, "select set_config('lock_timeout', '2000', true)")
        before = _set_identities(conn, [(pair.old, pair.on_old) for pair in pairs])
        if before:
            run(conn, sql.SQL("create publication {}").format(sql.Identifier(names.feed)))
            _note(conn, names, before)


def give_back(conn: Conn, names: Names) -> list[str]:
    """Undo ``identities_of_old``; what was given back, in words.  Raises Failed."""
    given = identities.give_back(conn, names.feed)
    run(conn, sql.SQL("drop publication if exists {}").format(sql.Identifier(names.feed)))
    return given


def _member(pair: Pair) -> sql.Composed:
    only = sql.SQL("only " if pair.new.kind == "table" else "")
    if pair.columns is None:
        return only + pair.new.sql
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in pair.columns)
    return sql.SQL("{}{} ({})").format(only, pair.new.sql, columns)


def _set_identities(
    conn: Conn, wanted: Sequence[tuple[Table, Identity]]
) -> list[tuple[int, Identity, Identity]]:
    """Set the identities that are others now; for each the table, what it was and what it is."""
    now = dict(
        fetch(
            conn,
            "select c.oid, array[case c.relreplident when 'd' then 'default' when 'f' then 'full'"
            " when 'i' then 'index' else 'nothing' end, coalesce((select i.relname from"
            " pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid"
            " where x.indrelid = c.oid and x.indisreplident and c.relreplident = 'i'), '')]::text[]"
            " from pg_catalog.pg_class c where c.oid = any(%s)",
            ([table.oid for table, _ in wanted],),
        )
    )
    changed: list[tuple[int, Identity, Identity]] = []
    for table, identity in wanted:
        kind, index = now[table.oid]
        if (kind, index) != identity and table.kind == "table":
            way = sql.SQL(identity[0] if identity[1] == "" else "using index {}").format(
                sql.Identifier(identity[1] or "-")
            )
            run(conn, sql.SQL("alter table only {} replica identity {}").format(table.sql, way))
            changed.append((table.oid, (kind, index), identity))
    return changed


def _note(conn: Conn, names: Names, before: object) -> None:
    """In the form that ``identities.give_back`` reads."""
    text = "crossfade " + json.dumps({"identities": before}, ensure_ascii=False)
    comment = sql.SQL("comment on publication {} is {}")
    run(conn, comment.format(sql.Identifier(names.feed), sql.Literal(text)))
