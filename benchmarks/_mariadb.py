"""A pair of MariaDB servers, what fills them, and the way of others to copy it."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

from benchmarks._servers import DATABASE, TAG, Pair, Server, Way, programs

from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.model import Endpoint
from crossfade.ports import Carrier
from crossfade.testing.servers import MariadbServer

__all__ = ["MariadbPair"]

SETTINGS = {
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "sync_binlog": "1",
    "innodb_buffer_pool_size": "512M",
    "innodb_log_file_size": "512M",
    "max_allowed_packet": "64M",
}
ACCOUNTS, DOCUMENTS, SMALL = 3_700_000, 530_000, 500
"""For each gigabyte: rows of the large table, of the wide one, and of each small one."""
SMALL_TABLES = 100

TABLES = """
create table accounts (aid int not null auto_increment primary key, bid int not null,
  abalance int not null, filler char(84) not null);
insert into accounts select seq, seq div 100000, 0, rpad('', 84, 'x') from seq_1_to_{accounts};
create table documents (
  id bigint not null auto_increment primary key, uid char(32) not null unique, owner int not null,
  title varchar(200) not null, body text not null, meta json not null, tags varchar(100) not null,
  state varchar(12) not null, version int not null, size int not null, price decimal(12, 2),
  weight double, hidden bool not null, checked date, read_by int, stars smallint,
  language char(2) not null, note text, made datetime not null, changed datetime(6) not null,
  key documents_owner (owner), key documents_made (made),
  constraint documents_of foreign key (owner) references accounts (aid));
insert into documents select seq, md5(seq), 1 + (seq * 7919) % {accounts},
  concat('Title of document ', seq), repeat(md5(seq), 15),
  json_object('author', md5(seq % 1000), 'pages', seq % 500, 'history', json_array(seq, seq + 1)),
  concat('tag ', seq % 50, ',tag ', seq % 7), concat('state ', seq % 5), seq % 20, seq % 100000,
  seq / 7, rand(), seq % 11 = 0, date '2020-01-01' + interval (seq % 2000) day, seq % 4000,
  seq % 5, 'en', if(seq % 4 = 0, concat('Note on ', seq), null),
  timestamp '2024-01-01 00:00:00' + interval seq second, now(6) from seq_1_to_{documents};
create table writes (id bigint not null auto_increment primary key, token varchar(40) not null);
"""
SMALL_TABLE = """
create table small_{n} (id int not null auto_increment primary key, parent int,
  name varchar(60) not null, value decimal(12, 3), at datetime not null default now(), key (name)
  {reference});
insert into small_{n} (parent, name, value) select {parent}, concat('name ', seq), seq / 3
  from seq_1_to_{rows};
"""


class MariadbPair(Pair):
    """Two servers of the distribution's MariaDB."""

    kind: ClassVar[str] = "mariadb"
    old: MariadbServer
    new: MariadbServer

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.old = MariadbServer(directory / "old", settings=SETTINGS, durable=True)
        self.new = MariadbServer(directory / "new", settings=SETTINGS, durable=True)

    def fill(self, where: Endpoint, gb: float) -> None:
        """A large table, a wide one, and small ones that refer to each other."""
        database = where.database
        accounts, documents = max(1000, round(ACCOUNTS * gb)), max(100, round(DOCUMENTS * gb))
        self.old.sql(TABLES.format(accounts=accounts, documents=documents), database=database)
        for n in range(SMALL_TABLES):
            small = SMALL_TABLE.format(
                n=n,
                reference=f", foreign key (parent) references small_{n - 1} (id)" if n else "",
                parent="seq" if n else "null",
                rows=max(20, round(SMALL * gb)),
            )
            self.old.sql(small, database=database)
        self._analyze(database)

    def carrier(
        self, old: Endpoint, new: Endpoint, directory: Path
    ) -> tuple[MysqlDatabase, MysqlDatabase, Carrier]:
        """Ours, at the default rate."""
        there, here = MysqlDatabase(DATABASE, old), MysqlDatabase(DATABASE, new)
        return there, here, there.carrier(here, directory, TAG)

    def ways(self, database: str) -> dict[str, Way]:
        """The quickest of the others (the clients' own dump takes more than twice as long)."""
        return {"mydumper -t2 -r250000, then myloader -t2": partial(_mydumper, self, database)}

    def by_hand(self, old: Endpoint, new: Endpoint) -> float:
        """``mariadb-dump`` to a file, ``mariadb`` from it."""
        file = self.attempt() / "dump.sql"
        self.make_empty(new.database)
        began = time.monotonic()
        dump, load = self.old.program("mariadb-dump"), self.new.program("mariadb")
        options = ("--single-transaction", f"--result-file={file}")
        programs((dump, self.login(self.old), *options, old.database), env={}, log=self.log)
        source = (f"--execute=source {file}",)
        programs((load, self.login(self.new), *source, new.database), env={}, log=self.log)
        seconds = time.monotonic() - began
        file.unlink()
        return seconds

    def size(self, database: str) -> int:
        """What the server counts, tables and indexes."""
        query = "select sum(data_length + index_length) from information_schema.tables"
        return int(self.old.sql(f"{query} where table_schema = %s", (database,))[0][0])

    def counts(self, server: Server, database: str) -> dict[str, int]:
        """Rows of all tables; columns in indexes, and constraints."""
        tables = [str(row[0]) for row in server.sql("show tables", database=database)]
        counted = "select '{0}', count(*) from `{0}`"
        each = " union all ".join(counted.format(name) for name in tables)
        rows = server.sql(each, database=database) if tables else []
        for what, query in (
            ("indexes", "select count(*) from information_schema.statistics"),
            ("constraints", "select count(*) from information_schema.table_constraints"),
        ):
            rows.append((what, server.sql(f"{query} where table_schema = %s", (database,))[0][0]))
        return {str(name): int(count) for name, count in rows}

    def settle(self) -> None:
        """All dirty pages of both are on the disk, and what was deleted is purged."""
        for server in (self.old, self.new):
            server.sql("set global innodb_max_dirty_pages_pct = 0")
        deadline = time.monotonic() + 120
        query = (
            "select sum(variable_value) from information_schema.global_status where variable_name"
            " in ('innodb_buffer_pool_pages_dirty')"
        )
        while any(int(s.sql(query)[0][0]) > 50 for s in (self.old, self.new)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        for server in (self.old, self.new):
            server.sql("set global innodb_max_dirty_pages_pct = 90")

    def tidy(self, database: str) -> None:
        """The writer's rows go."""
        self.old.sql("truncate writes", database=database)

    def make_empty(self, database: str) -> None:
        """The application's account stands on both servers."""
        self.new.sql(f"create database {database} character set utf8mb4")

    def drop(self, database: str) -> None:
        """Whatever its tables refer to."""
        self.new.sql(f"set sql_log_bin = 0; drop database if exists `{database}`")

    def login(self, server: MariadbServer) -> str:
        """The option that lets MariaDB's programs log in; the password is in a file of ours."""
        path = self.directory / f"{server.directory.name}.cnf"
        path.touch(mode=0o600)
        lines = ["[client]", f"host={server.address.host}", f"port={server.address.port}"]
        lines += [f"user={server.admin}", f"password={server.password_of(server.admin)}"]
        path.write_text("\n".join([*lines, ""]))
        return f"--defaults-file={path}"

    def _analyze(self, database: str) -> None:
        names = [str(row[0]) for row in self.old.sql("show tables", database=database)]
        self.old.sql(f"analyze table {', '.join(names)}", database=database)


def _mydumper(pair: MariadbPair, database: str) -> dict[str, float]:
    place = pair.attempt() / "dump"
    began = time.monotonic()
    chunks = ("--threads=2", "--rows=250000", f"--outputdir={place}")
    programs(
        ("mydumper", *_login(pair, pair.old), f"--database={database}", *chunks),
        env={},
        log=pair.log,
    )
    dumped = time.monotonic() - began
    target = (f"--database={database}", "--threads=2", f"--directory={place}")
    programs(("myloader", *_login(pair, pair.new), *target), env={}, log=pair.log)
    parts = {"dump": dumped, "load": time.monotonic() - began - dumped}
    shutil.rmtree(place)
    return parts


def _login(pair: MariadbPair, server: MariadbServer) -> tuple[str, ...]:
    """mydumper and myloader take the port from the command only."""
    host, port = server.address.host, server.address.port
    return (pair.login(server), f"--host={host}", f"--port={port}", f"--user={server.admin}")
