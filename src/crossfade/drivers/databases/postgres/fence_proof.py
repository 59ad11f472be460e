"""Shows that a database is fenced, by trying; and says beforehand what would stand in the way."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from crossfade.drivers.databases.postgres.clearing import prepared
from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, fetch, one, run
from crossfade.model import Endpoint, Finding, Problem

__all__ = ["problems", "prove"]

# A writer's lock is asked for, without waiting.  Where it is given (the fence is a kept one), a
# DELETE of no row is tried, which fires the trigger.  Each try is undone by the exception.
_TRY = """
    do $$
    declare t record; open_ones text[] := '{}'; tried int := 0;
    begin
      for t in
        select c.oid, format('%I.%I', n.nspname, c.relname) as name
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and c.relpersistence <> 't'
          and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      loop
        tried := tried + 1;
        begin
          execute format('lock table only %s in row exclusive mode nowait', t.name);
          execute format('delete from only %s where false', t.name);
          raise exception using errcode = 'CFOPN';
        exception
          when lock_not_available or read_only_sql_transaction or insufficient_privilege then null;
          when sqlstate 'CFOPN' then open_ones := open_ones || t.name;
        end;
      end loop;
      perform set_config('crossfade.tried', tried::text, false);
      perform set_config('crossfade.open', array_to_string(open_ones[1:5], ', '), false);
    end $$"""


def prove(endpoint: Endpoint) -> Finding:
    """Whether every table refuses a writer now: as superuser, and as the application's role."""
    with explained("try the fence", endpoint), connect(endpoint) as conn:
        tried, found = 0, list[str]()
        for role in dict.fromkeys((endpoint.admin, endpoint.user)):
            with conn.transaction():
                run(conn, "set local session_replication_role = replica")
                run(conn, sql.SQL("set local role {}").format(sql.Identifier(role)))
                run(conn, _TRY)
            tried = int(one(conn, "select pg_catalog.current_setting('crossfade.tried')"))
            by_role = one(conn, "select pg_catalog.current_setting('crossfade.open')")
            found += [f"{role} can write to {by_role}"] if by_role else []
    return Finding(
        claim=f"nobody can write to database {endpoint.database}",
        expected=f"refused on {tried} tables",
        observed="; ".join(found) or f"refused on {tried} tables",
        source="a writer's lock and a DELETE of no row tried on every table, "
        f"as {endpoint.admin} and as {endpoint.user}",
        holds=not found,
    )


def problems(endpoint: Endpoint, ours: Sequence[str] = ()) -> tuple[Problem, ...]:
    """What would keep us from fencing the database.  Changes nothing.

    ours are the names of subscriptions in it that Crossfade made."""
    with explained("look whether the database can be fenced", endpoint), connect(endpoint) as conn:
        found = (
            _superuser(conn),
            _standby(conn),
            _language(conn),
            _prepared(conn),
            _subscriptions(conn, ours),
            _locks(conn),
        )
    return tuple(problem for problem in found if problem is not None)


def _superuser(conn: Conn) -> Problem | None:
    if one(conn, "select rolsuper from pg_catalog.pg_roles where rolname = current_user"):
        return None
    user = conn.info.user
    finding = Finding(f"{user} is a superuser", "yes", "no", "pg_roles", False)
    return Problem("fence-right-missing", finding, f"psql -c 'ALTER ROLE \"{user}\" SUPERUSER'")


def _standby(conn: Conn) -> Problem | None:
    if not one(conn, "select pg_catalog.pg_is_in_recovery()"):
        return None
    finding = Finding("the server accepts writes", "yes", "a standby", "pg_is_in_recovery", False)
    return Problem("database-is-standby", finding, "crossfade plan")


def _language(conn: Conn) -> Problem | None:
    if one(conn, "select 1 from pg_catalog.pg_language where lanname = 'plpgsql'"):
        return None
    finding = Finding("the language plpgsql is there", "yes", "no", "pg_language", False)
    return Problem("plpgsql-missing", finding, "psql -c 'CREATE EXTENSION plpgsql'")


def _prepared(conn: Conn) -> Problem | None:
    gids = prepared(conn)
    if not gids:
        return None
    seen = ", ".join(repr(gid) for gid in gids)
    finding = Finding("prepared transactions", "none", seen, "pg_prepared_xacts", False)
    return Problem("prepared-transaction", finding, "psql -c 'TABLE pg_prepared_xacts'")


def _subscriptions(conn: Conn, ours: Sequence[str]) -> Problem | None:
    rows = fetch(
        conn,
        """select subname from pg_catalog.pg_subscription s
           join pg_catalog.pg_database d on d.oid = s.subdbid
           where d.datname = pg_catalog.current_database() and subenabled
             and subname <> all (%s)""",
        (list(ours),),
    )
    if not rows:
        return None
    names = ", ".join(f'"{name}"' for (name,) in rows)
    finding = Finding(
        "nothing else is replicated into the database", "none", names, "pg_subscription", False
    )
    return Problem("database-fed-by-others", finding, "psql -c 'ALTER SUBSCRIPTION … DISABLE'")


def _locks(conn: Conn) -> Problem | None:
    """The fence needs a lock for each table; others must not run out of locks because of it."""
    needed, used, setting, sessions = fetch(
        conn,
        """select (select count(*) from pg_catalog.pg_class where relkind in ('r', 'p')),
                  (select count(*) from pg_catalog.pg_locks),
                  pg_catalog.current_setting('max_locks_per_transaction')::int8,
                  pg_catalog.current_setting('max_connections')::int8
                  + pg_catalog.current_setting('max_prepared_transactions')::int8""",
    )[0]
    enough = -(-(needed + used) * 10 // (8 * sessions))
    if setting >= enough:
        return None
    finding = Finding(
        "room for a lock on every table",
        f"max_locks_per_transaction of {enough} for {needed} tables",
        f"{setting}",
        "pg_settings",
        False,
    )
    return Problem(
        "too-many-tables",
        finding,
        f"psql -c 'ALTER SYSTEM SET max_locks_per_transaction = {enough}'",
    )
