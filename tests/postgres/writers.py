"""Every way to write to a PostgreSQL database that the fence has to withstand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from crossfade.testing.servers import PostgresServer

__all__ = ["OBJECTS", "ONLY_SUPERUSER", "ROLES", "SCHEMA", "WRITERS", "Conn", "session"]

Conn = psycopg.Connection[tuple[Any, ...]]

SCHEMA = """
create role "Grantée" login;
create role "O'wner" login;
create database "Ä pp" owner "O'wner";
"""

OBJECTS = """
create schema "Schéma 1" authorization "O'wner";
set role "O'wner";
set search_path = "Schéma 1";
create table "T""one" (id int primary key, "Valüe" text default 'x');
insert into "T""one" select g from generate_series(1, 10) g;
create table child (id int primary key, one int references "T""one" on delete cascade);
insert into child values (1, 1);
create unlogged table fast (id int);
create table part (id int, v text) partition by range (id);
create table part_a partition of part for values from (0) to (1000);
create table part_b partition of part for values from (1000) to (2000);
create table parent (id int);
create table heir (more text) inherits (parent);
create view through as select id, "Valüe" from "T""one";
create view ruled as select id from fast;
create rule into_fast as on insert to ruled do instead insert into fast values (new.id);
create view handled as select id from fast;
create function handle() returns trigger language plpgsql as
  $$begin insert into "Schéma 1".fast values (new.id); return new; end$$;
create trigger handle instead of insert on handled for each row execute function handle();
create function hidden(int) returns void language plpgsql security definer as
  $$begin insert into "Schéma 1".fast values ($1); end$$;
create table deleted_by_rule (id int);
create rule nothing as on delete to deleted_by_rule do instead nothing;
create sequence numbers;
grant usage on sequence numbers to "Grantée";
create materialized view seen as select count(*) from fast;
grant usage on schema "Schéma 1" to "Grantée";
grant all on all tables in schema "Schéma 1" to "Grantée";
reset role;
create table public.of_the_superuser (id int);
select lo_from_bytea(4711, 'large');
grant select, update on large object 4711 to "O'wner", "Grantée";
grant create on schema public to "O'wner", "Grantée";
"""

ROLES = ("postgres", "O'wner", "Grantée")


def _copy(conn: Conn) -> None:
    with conn.cursor().copy("copy fast from stdin") as copy:
        copy.write_row((1,))


def _sql(*statements: str) -> Callable[[Conn], None]:
    def write(conn: Conn) -> None:
        for statement in statements:
            conn.execute(statement.encode())

    return write


WRITERS: dict[str, Callable[[Conn], None]] = {
    "insert": _sql('insert into "T""one" values (11, \'y\')'),
    "update": _sql('update "T""one" set "Valüe" = \'y\''),
    "delete": _sql("delete from child"),
    "cascade": _sql('delete from "T""one" where id = 1'),
    "truncate": _sql("truncate child"),
    "copy": _copy,
    "function": _sql("select hidden(1)"),
    "do block": _sql("do 'begin insert into \"Schéma 1\".fast values (1); end'"),
    "view": _sql("insert into through values (12)"),
    "rule": _sql("insert into ruled values (1)"),
    "instead of trigger": _sql("insert into handled values (1)"),
    "unlogged": _sql("insert into fast values (1)"),
    "partitioned": _sql("insert into part values (1)"),
    "partition": _sql("insert into part_b values (1001)"),
    "moved between partitions": _sql(
        "update part set id = 1500 where id = 1", "insert into part values (1500)"
    ),
    "parent": _sql("insert into parent values (1)"),
    "heir": _sql("insert into heir values (1)"),
    "merge": _sql(
        "merge into fast using (select 1 as i) s on fast.id = s.i"
        " when not matched then insert values (s.i)"
    ),
    "conflict": _sql('insert into "T""one" values (1) on conflict do nothing'),
    "with": _sql("with w as (insert into fast values (1) returning id) select * from w"),
    "row lock": _sql('select * from "T""one" for update'),
    "new table": _sql("create table public.n (i int)", "insert into public.n values (1)"),
    "table as": _sql("create table public.n as select 1 as one"),
    "temporary table": _sql("create temporary table t (i int)"),
    "new large object": _sql("select lo_create(0)"),
    "large object": _sql("select lo_put(4711, 0, 'LARGE')"),
    "read-write": _sql("set transaction read write", "insert into fast values (1)"),
}
"""Each works for every role while nothing is fenced."""

ONLY_SUPERUSER: dict[str, Callable[[Conn], None]] = {
    "as replica": _sql("set session_replication_role = replica", "insert into fast values (1)"),
    "foreign to the application": _sql("insert into public.of_the_superuser values (1)"),
    "trigger off": _sql("alter table fast disable trigger all", "insert into fast values (1)"),
    "table dropped": _sql("drop table child"),
    "column added": _sql('alter table "T""one" add column more int'),
    "materialized view": _sql("refresh materialized view seen"),
}


def session(server: PostgresServer, role: str = "postgres", **given: Any) -> Conn:
    """A session of this role in a transaction, which waits 30 ms at most for a lock.

    It says so often that it wants to write that a read-only database would not stop it."""
    options = "-c lock_timeout=30 -c default_transaction_read_only=off"
    conn = server.connect("Ä pp", **{"autocommit": False, "options": options, **given})
    conn.execute(sql.SQL("set session authorization {}").format(sql.Identifier(role)))
    conn.execute('set search_path = "Schéma 1"')
    conn.commit()
    return conn
