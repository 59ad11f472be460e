"""A fence that outlives us: a trigger on every table, and one for the schema.

The triggers are ALWAYS ones, so that ``session_replication_role`` does not matter, and they refuse
superusers too.  The worker of a logical subscription may write: so the reverse feed arrives (and so
would anybody else's subscription: there must be none).  The event trigger refuses changes of the
schema by all sessions but Crossfade's; publications and subscriptions are not its business.

Large objects cannot have triggers: they are guarded by the locks only.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import psycopg
from psycopg import sql

from crossfade.drivers.databases.postgres.clearing import clear_the_way
from crossfade.drivers.databases.postgres.connect import Conn, one, run
from crossfade.errors import Failed

__all__ = ["SCHEMA", "lower", "raise_", "standing"]

SCHEMA = "crossfade_fence"
"""Of the functions.  It, the triggers and the event trigger bear this name."""

_POLITE, _AT_MOST = 3.0, 5.0  # seconds to wait for readers of a table; then they are disconnected

_REFUSE = """
    create or replace function crossfade_fence.refuse() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
    begin
      if exists (select from pg_stat_get_activity(pg_backend_pid())
                 where backend_type like 'logical replication%worker') then
        return null;
      end if;
      raise exception 'Crossfade has fenced this database: the new version serves now'
        using errcode = 'read_only_sql_transaction',
              hint = '"crossfade rollback" goes back to this side.';
    end $$;
    create or replace function crossfade_fence.refuse_change() returns event_trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
    begin
      if current_setting('application_name') not like 'crossfade%'
         and tg_tag not like '%PUBLICATION' and tg_tag not like '%SUBSCRIPTION' then
        raise exception 'Crossfade has fenced this database: % is refused', tg_tag
          using errcode = 'read_only_sql_transaction',
                hint = '"crossfade rollback" goes back to this side.';
      end if;
    end $$"""
_LET_IN = """
    create or replace function crossfade_fence.refuse() returns trigger
    language plpgsql as 'begin return null; end'"""
_STANDING = """
    select n.nspname, c.relname
    from pg_catalog.pg_trigger t
      join pg_catalog.pg_class c on c.oid = t.tgrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      join pg_catalog.pg_proc p on p.oid = t.tgfoid
      join pg_catalog.pg_namespace f on f.oid = p.pronamespace
    where t.tgname = %(name)s and f.nspname = %(name)s and t.tgenabled = 'A'
      and p.prosrc like '%%raise exception%%'"""


def raise_(conn: Conn, tables: Sequence[tuple[str, str]]) -> None:
    """Make the functions and the triggers that are missing, in the transaction of ``conn``."""
    name = sql.Identifier(SCHEMA)
    run(conn, sql.SQL("create schema if not exists {}").format(name))
    run(conn, _REFUSE)
    there = set(standing(conn))
    for schema, table in tables:
        if (schema, table) not in there:
            run(
                conn,
                sql.SQL(
                    "create trigger {name} before insert or update or delete or truncate on {table}"
                    " for each statement execute function {name}.refuse();"
                    " alter table only {table} enable always trigger {name}"
                ).format(name=name, table=sql.Identifier(schema, table)),
            )
    if not one(conn, "select 1 from pg_catalog.pg_event_trigger where evtname = %s", (SCHEMA,)):
        run(
            conn,
            sql.SQL(
                "create event trigger {name} on ddl_command_start"
                " execute function {name}.refuse_change();"
                " alter event trigger {name} enable always"
            ).format(name=name),
        )


def standing(conn: Conn) -> list[tuple[str, str]]:
    """The tables (schema, name) whose trigger stands and refuses; none after ``lower`` began."""
    rows = conn.execute(_STANDING, {"name": SCHEMA}).fetchall()
    return [(str(schema), str(table)) for schema, table in rows]


def lower(conn: Conn, other: Conn) -> None:
    """Let writers in at once, then remove everything.  Both sessions are in autocommit mode.

    A trigger goes only when nobody uses its table; who still does after a while is disconnected
    through ``other``.  Raises Failed ``fence-remains`` when even that did not help; the triggers
    that are left do nothing."""
    name = sql.Identifier(SCHEMA)
    run(conn, sql.SQL("drop event trigger if exists {}").format(name))
    if not one(conn, "select 1 from pg_catalog.pg_namespace where nspname = %s", (SCHEMA,)):
        return
    run(conn, _LET_IN)
    remove = sql.SQL("drop schema if exists {} cascade").format(name)
    polite = time.monotonic() + _POLITE
    while time.monotonic() < polite:
        with contextlib.suppress(psycopg.errors.LockNotAvailable), conn.transaction():
            run(conn, "set local lock_timeout = 200")
            run(conn, remove)
            return
        time.sleep(0.1)
    try:
        with conn.transaction():
            clear_the_way(conn, other, remove, time.monotonic() + _AT_MOST)
    except psycopg.errors.LockNotAvailable as error:
        raise Failed(
            "fence-remains",
            "Writers are let in, but the triggers of the fence cannot be removed: "
            "somebody holds a lock on a table and does not go.",
        ) from error
