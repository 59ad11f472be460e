"""What stands in a database server's catalogues: taken before and after, nothing may differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pymysql
from psycopg import sql
from tests.testbed.servers import Pair, Server

from crossfade.model import Side
from crossfade.testing.servers import MariadbServer, PostgresServer

__all__ = ["differences", "everything", "kill", "of_pair", "sweep"]

Traces = dict[str, frozenset[tuple[Any, ...]]]

SESSIONS = "session of ours"
_CLUSTER = {
    "database": "select datname, r.rolname, datconnlimit, datallowconn, datacl::text,"
    " shobj_description(d.oid, 'pg_database') from pg_database d join pg_roles r on r.oid = datdba",
    "role": "select rolname, rolsuper, rolcanlogin, rolreplication,"
    " md5(coalesce(rolpassword, '')) from pg_authid",
    "membership": "select roleid::regrole::text, member::regrole::text from pg_auth_members",
    "slot": "select slot_name, database from pg_replication_slots",
    "subscription": "select subname, datname from pg_subscription s"
    " join pg_database d on d.oid = subdbid",
    "origin": "select roname from pg_replication_origin",
    "role setting": "select setdatabase, setrole, setconfig::text from pg_db_role_setting",
    "server setting": "select name, setting from pg_settings"
    " where source in ('configuration file', 'command line', 'override')",
    "prepared transaction": "select gid, database from pg_prepared_xacts",
    SESSIONS: "select application_name, datname from pg_stat_activity"
    " where application_name ilike '%crossfade%'",
}
_DATABASE = {
    "publication": "select pubname from pg_publication",
    "event trigger": "select evtname from pg_event_trigger",
    "schema": "select nspname, nspacl::text from pg_namespace where nspname !~ '^pg_(toast_)?temp'",
    "extension": "select extname, extversion from pg_extension",
    "function": "select p.oid::regprocedure::text, md5(prosrc) from pg_proc p"
    " where pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema')",
    "relation": "select oid::regclass::text, relkind, relreplident, relacl::text, reloptions::text"
    " from pg_class"
    " where relnamespace::regnamespace::text !~ '^(pg_catalog|information_schema|pg_toast)'",
    "trigger": "select tgrelid::regclass::text, tgname, tgenabled from pg_trigger"
    " where not tgisinternal",
    "large object": "select oid from pg_largeobject_metadata",
    "default right": "select defaclrole, defaclacl::text from pg_default_acl",
    "security label": "select label from pg_seclabels",
}
_MYSQL = {
    "database": "select schema_name, default_collation_name, schema_comment"
    " from information_schema.schemata",
    "user": "select user, host, md5(priv) from mysql.global_priv",
    "right": "select grantee, table_schema, privilege_type"
    " from information_schema.schema_privileges",
    "trigger": "select trigger_schema, trigger_name from information_schema.triggers",
    "routine": "select routine_schema, routine_name from information_schema.routines",
    "event": "select event_schema, event_name, status from information_schema.events",
    "table": "select table_schema, table_name, table_type, engine, table_comment"
    " from information_schema.tables"
    " where table_schema not in ('information_schema', 'mysql', 'performance_schema', 'sys')",
    "replication channel": "show all slaves status",
    SESSIONS: "select user, db, command from information_schema.processlist"
    " where command in ('Binlog Dump', 'Slave_IO', 'Slave_SQL', 'Slave_worker')"
    " or user like '%crossfade%'",
    "server setting": "show global variables",
}
_MOVING = re.compile(
    "gtid|timestamp|insert_id|^init_file$|^innodb_buffer_pool_(load|dump)|last_|^rand_|pseudo|_pos$"
)
"""Variables of MariaDB that change by themselves, or when a test starts a server again."""


def everything(server: Server) -> Traces:
    """Every object of a server that an upgrade could leave behind, by its kind."""
    return _postgres(server) if isinstance(server, PostgresServer) else _mysql(server)


def _postgres(server: PostgresServer) -> Traces:
    found: Traces = {kind: frozenset(server.sql(query)) for kind, query in _CLUSTER.items()}
    for (database,) in server.sql("select datname from pg_database where datallowconn"):
        with server.connect(database) as connection:
            for kind, query in _DATABASE.items():
                rows = connection.execute(query.encode()).fetchall()
                found[f"{kind} in {database}"] = frozenset(rows)
    return found


def _mysql(server: MariadbServer) -> Traces:
    found: Traces = {kind: frozenset(server.sql(query)) for kind, query in _MYSQL.items()}
    settings = found["server setting"]
    found["server setting"] = frozenset(row for row in settings if not _MOVING.search(row[0]))
    return found


def of_pair(pair: Pair) -> dict[Side, Traces]:
    """``everything`` of both servers."""
    return {side: everything(pair.of(side)) for side in Side}


def differences(
    before: Mapping[Side, Traces], after: Mapping[Side, Traces], *, but: tuple[str, ...] = ()
) -> dict[str, tuple[frozenset[tuple[Any, ...]], frozenset[tuple[Any, ...]]]]:
    """What is gone and what is new, by side and kind; of the new side without what has one of
    ``but`` in it."""
    found = {}
    for side in Side:
        for kind in sorted({*before[side], *after[side]}):
            was = before[side].get(kind, frozenset())
            now = after[side].get(kind, frozenset())
            gone, new = was - now, now - was
            if kind == SESSIONS:
                gone = frozenset()  # servers notice late that somebody has left
            if side is Side.NEW:
                if any(text in kind for text in but):
                    continue
                new = frozenset(r for r in new if not any(text in str(r) for text in but))
            if gone or new:
                found[f"{side}: {kind}"] = gone, new
    return found


def sweep(pair: Pair, name: str) -> None:
    """Remove a site's databases and everything that an upgrade that failed may have left."""
    for clean in (_unsubscribe, _drop) if pair.kind == "postgres" else (_sweep_mysql,):
        for server in (pair.old, pair.new):
            server.start()
            clean(server, name)


def _databases(server: Server, name: str) -> list[str]:
    query = "select datname from pg_database"
    return [database for (database,) in server.sql(query) if database.startswith(name)]


def _unsubscribe(server: Server, name: str) -> None:
    for gid, database in server.sql("select gid, database from pg_prepared_xacts"):
        words = sql.SQL("rollback prepared {}").format(sql.Literal(gid)).as_string()
        server.sql(words, database=database)
    for database in _databases(server, name):
        for (subscription,) in server.sql(
            "select subname from pg_subscription s join pg_database d on d.oid = subdbid"
            " where datname = current_database()",
            database=database,
        ):
            for statement in (
                "alter subscription {} disable",
                "alter subscription {} set (slot_name = none)",
                "drop subscription {}",
            ):
                words = sql.SQL(statement).format(sql.Identifier(subscription)).as_string()
                server.sql(words, database=database)


def _drop(server: Server, name: str) -> None:
    databases = _databases(server, name)
    for slot, pid in server.sql(
        "select slot_name, active_pid from pg_replication_slots where database = any(%s)",
        [databases],
    ):
        if pid:
            server.sql("select pg_terminate_backend(%s, 5000)", [pid])
        server.sql("select pg_drop_replication_slot(%s)", [slot])
    for database in databases:
        words = sql.SQL("drop database {} with (force)").format(sql.Identifier(database))
        server.sql(words.as_string())


def kill(server: Server, session: int) -> None:
    """End a session of MariaDB's, if it is still there."""
    with suppress(pymysql.OperationalError):
        server.sql(f"kill {session}")


def _sweep_mysql(server: Server, name: str) -> None:
    for row in server.sql("show all slaves status"):
        channel = "'" + str(row[0]).replace("'", "''") + "'"
        server.sql(f"stop slave {channel}; reset slave {channel} all")
    for (database,) in server.sql("select schema_name from information_schema.schemata"):
        if database.startswith(name):
            for (session,) in server.sql(
                "select id from information_schema.processlist where db = %s", [database]
            ):
                kill(server, session)
            quoted = "`" + database.replace("`", "``") + "`"
            server.sql(f"drop database {quoted}")
