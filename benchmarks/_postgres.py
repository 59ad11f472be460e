"""A pair of PostgreSQL servers, what fills them, and the ways of others to copy it."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

from benchmarks._servers import DATABASE, Pair, Server, Way, programs

from crossfade.drivers.databases.postgres.database import PostgresDatabase
from crossfade.model import Endpoint
from crossfade.ports import Carrier
from crossfade.testing.servers import PostgresServer
from crossfade.testing.servers._majors import installed

__all__ = ["PostgresPair"]

SETTINGS = {
    "wal_level": "logical",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
}
ACCOUNTS, DOCUMENTS, SMALL = 35, 430_000, 500
"""For each gigabyte: pgbench's scale, rows of the wide table, rows of each small table."""
SMALL_TABLES = 200

WIDE = """
create table documents (
  id bigserial primary key, uid uuid not null unique,
  owner int not null references pgbench_accounts (aid), title text not null, body text not null,
  meta jsonb not null, tags text[] not null, state varchar(12) not null, version int not null,
  size int not null, price numeric(12, 2), weight float8, hidden boolean not null, checked date,
  read_by int, stars smallint, language char(2) not null, note text,
  made timestamptz not null, changed timestamptz not null);
create index documents_owner on documents (owner);
create index documents_made on documents (made);
insert into documents (uid, owner, title, body, meta, tags, state, version, size, price, weight,
    hidden, checked, read_by, stars, language, note, made, changed)
  select gen_random_uuid(), 1 + (random() * {last})::int, 'Title of document ' || g,
    repeat(md5(g::text), 15), jsonb_build_object('author', md5((g % 1000)::text), 'pages', g % 500,
      'history', jsonb_build_array(g, g + 1, g + 2), 'public', g % 3 = 0),
    array['tag ' || g % 50, 'tag ' || g % 7], 'state ' || g % 5, g % 20, g % 100000, g / 7.0,
    random(), g % 11 = 0, date '2020-01-01' + g % 2000, g % 4000, g % 5, 'en',
    case when g % 4 = 0 then 'Note on ' || g end, timestamptz '2024-01-01' + g * interval '1 s',
    now()
  from generate_series(1, {rows}) g;
create table writes (id bigserial primary key, token text not null);
"""
SMALL_TABLE = """
create table small_{n} (id serial primary key, parent int{reference}, name text not null,
  value numeric(12, 3), at timestamptz not null default now());
create index on small_{n} (name);
insert into small_{n} (parent, name, value) select {parent}, 'name ' || g, g / 3.0
  from generate_series(1, {rows}) g;
"""
COUNTED = """
select c.oid::regclass::text, (xpath('/row/c/text()', query_to_xml(
    format('select count(*) as c from %s', c.oid::regclass), false, true, '')))[1]::text::bigint
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and n.nspname = 'public'
union all select 'indexes', count(*) from pg_index i join pg_class c on c.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and i.indisvalid
union all select 'constraints', count(*) from pg_constraint c
  join pg_namespace n on n.oid = c.connamespace where n.nspname = 'public' and c.convalidated
"""


class PostgresPair(Pair):
    """Two servers of the distribution's PostgreSQL."""

    kind: ClassVar[str] = "postgres"
    old: PostgresServer
    new: PostgresServer

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        major = max(m for m, place in installed().items() if (place / "pg_dump").exists())
        self.old = PostgresServer(directory / "old", major, settings=SETTINGS, durable=True)
        other = Path(os.environ.get("BENCH_NEW_DIRECTORY") or directory)
        self.new = PostgresServer(other / "new", major, settings=SETTINGS, durable=True)

    def fill(self, where: Endpoint, gb: float) -> None:
        """pgbench's tables with a large one, a wide one, small ones that refer to each other."""
        database = where.database
        scale = max(1, round(ACCOUNTS * gb))
        initialise = ("-i", "-q", "-I", "dtgpf", "-s", str(scale))
        programs(
            (self.old.program("pgbench"), *initialise, *self.server(self.old), database),
            env=self.env,
            log=self.log,
        )
        rows = max(100, round(DOCUMENTS * gb))
        self.old.sql(WIDE.format(rows=rows, last=scale * 100_000 - 1), database=database)
        small = [
            SMALL_TABLE.format(
                n=n,
                reference=f" references small_{n - 1}" if n else "",
                parent="g" if n else "null",
                rows=max(20, round(SMALL * gb)),
            )
            for n in range(SMALL_TABLES)
        ]
        self.old.sql("".join(small), database=database)
        self.old.sql("grant all on all tables in schema public to app", database=database)
        self.old.sql("grant all on all sequences in schema public to app", database=database)
        self.old.sql("vacuum (freeze, analyze)", database=database)

    def carrier(
        self, old: Endpoint, new: Endpoint, directory: Path
    ) -> tuple[PostgresDatabase, PostgresDatabase, Carrier]:
        """Ours, at the default rate."""
        there, here = PostgresDatabase(DATABASE, old), PostgresDatabase(DATABASE, new)
        return there, here, there.carrier(here, directory, "crossfade_0be0c40000")

    def ways(self, database: str) -> dict[str, Way]:
        """Uncompressed, since a copy on one machine only loses time by compressing."""
        return {
            "pg_dump -Fc -Z0 piped to pg_restore": partial(_piped, self, database),
            "pg_dump -Fd -Z0 -j2, then pg_restore -j2": partial(_parallel, self, database),
            "pgcopydb clone, 2 table and 2 index jobs": partial(_pgcopydb, self, database),
        }

    def by_hand(self, old: Endpoint, new: Endpoint) -> float:
        """``pg_dump -Fc`` to a file, ``pg_restore`` from it, as most instructions have it."""
        file = self.attempt() / "dump"
        self.make_empty(new.database)
        began = time.monotonic()
        dump, restore = self.old.program("pg_dump"), self.new.program("pg_restore")
        written = ("-Fc", "-f", file, *self.server(self.old), old.database)
        read = ("-d", new.database, *self.server(self.new), file)
        programs((dump, *written), env=self.env, log=self.log)
        programs((restore, *read), env=self.env, log=self.log)
        seconds = time.monotonic() - began
        file.unlink()
        return seconds

    def size(self, database: str) -> int:
        """What the server says."""
        return int(self.old.sql("select pg_database_size(%s)", (database,))[0][0])

    def counts(self, server: Server, database: str) -> dict[str, int]:
        """Rows of all tables; indexes and constraints that are valid."""
        rows = server.sql(COUNTED, database=database)
        return {str(name): int(count) for name, count in rows}

    def settle(self) -> None:
        """A checkpoint on both, and the files of what was dropped are gone."""
        for server in (self.old, self.new):
            server.sql("checkpoint")

    def tidy(self, database: str) -> None:
        """Dead rows go, and so do the writer's."""
        self.old.sql("truncate writes", database=database)
        self.old.sql("vacuum analyze pgbench_accounts", database=database)
        self.old.sql("vacuum analyze documents", database=database)

    def make_empty(self, database: str) -> None:
        """Owned by the application's role, which stands on both servers."""
        self.new.sql(f"create database {database} owner app")

    def drop(self, database: str) -> None:
        """With everybody's sessions."""
        self.new.sql(f'drop database if exists "{database}" with (force)')

    def server(self, server: PostgresServer) -> tuple[str, ...]:
        """Where a program of PostgreSQL finds a server."""
        return ("-h", server.address.host, "-p", str(server.address.port), "-U", server.admin)

    def uri(self, server: PostgresServer, database: str) -> str:
        """The same as one word, without the password."""
        return f"postgresql://{server.admin}@{server.address}/{database}"

    @property
    def env(self) -> dict[str, str]:
        """Programs find both servers' passwords in a file of ours."""
        path = self.directory / "pgpass"
        path.touch(mode=0o600)
        lines = [
            f"{s.address.host}:{s.address.port}:*:{s.admin}:{s.password_of(s.admin)}\n"
            for s in (self.old, self.new)
        ]
        path.write_text("".join(lines))
        return {"PGPASSFILE": str(path)}


def _piped(pair: PostgresPair, database: str) -> dict[str, float]:
    programs(
        (pair.old.program("pg_dump"), "-Fc", "-Z0", *pair.server(pair.old), database),
        (pair.new.program("pg_restore"), "-d", database, *pair.server(pair.new)),
        env=pair.env,
        log=pair.log,
    )
    return {}


def _parallel(pair: PostgresPair, database: str) -> dict[str, float]:
    place = pair.attempt() / "dump"
    began = time.monotonic()
    written = ("-Fd", "-Z0", "-j2", "-f", place, *pair.server(pair.old), database)
    programs((pair.old.program("pg_dump"), *written), env=pair.env, log=pair.log)
    dumped = time.monotonic() - began
    read = ("-j2", "-d", database, *pair.server(pair.new), place)
    programs((pair.new.program("pg_restore"), *read), env=pair.env, log=pair.log)
    parts = {"dump": dumped, "restore": time.monotonic() - began - dumped}
    for path in place.iterdir():
        path.unlink()
    return parts


def _pgcopydb(pair: PostgresPair, database: str) -> dict[str, float]:
    command = ("pgcopydb", "clone", "--table-jobs", "2", "--index-jobs", "2")
    source = ("--source", pair.uri(pair.old, database), "--target", pair.uri(pair.new, database))
    place = ("--dir", pair.attempt() / "pgcopydb")
    programs((*command, *source, *place), env=pair.env, log=pair.log)
    return {}
