"""A database that is written to while it is followed."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pymysql
from tests.mysql.doing import On, broken

from crossfade.drivers.databases.mysql.base_copy import BaseCopy
from crossfade.drivers.databases.mysql.connect import Conn, connect, fetch, ident, run
from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.drivers.databases.mysql.stream import StreamWay
from crossfade.errors import Failed

__all__ = ["SCHEMA", "TABLES", "Writer", "asked", "cut_over", "eventually", "way", "writing"]

SCHEMA = (
    "create table `D ocs` (id int auto_increment primary key, uid varchar(60) unique, body text,"
    " n int, f float, at timestamp(3) default current_timestamp(3), twice int as (n * 2) virtual,"
    " key (n)) charset utf8mb4",
    "create table counts (id int primary key, v int)",
    "create table `wri``tes` (id bigint auto_increment primary key, tok varchar(80))",
    "create table parents (id int primary key, v int)",
    "create table children (id int auto_increment primary key, p int,"
    " foreign key (p) references parents (id) on delete cascade on update cascade)",
    "create table keyless (a int, b varchar(30))",
    "create table pairs (a varchar(20), d date, v int, primary key (a, d)) charset utf8mb4",
    "create table log_of (what varchar(20))",
    "create trigger logging after insert on parents for each row"
    " insert into log_of values ('parent')",
    "create sequence `Seq 1` cache 5",
    "insert into `D ocs` (uid, body, n, f) select concat('u', seq), repeat(md5(seq), 9), seq % 9,"
    " seq / 7 from seq_1_to_600",
    "insert into counts select seq, 0 from seq_1_to_500",
    "insert into parents select seq, 0 from seq_1_to_500",
    "insert into children (p) select 1 + seq % 500 from seq_1_to_900",
)
TABLES = (
    "D ocs", "counts", "wri`tes", "parents", "children", "keyless", "pairs", "log_of",
)  # fmt: skip


class Writer:
    """Writes one small transaction after another; acked has the tokens that were committed."""

    def __init__(self, database: MysqlDatabase, seed: int = 1, pause: float = 0.01) -> None:
        self.acked: list[str] = []
        self._database, self._pause, self._seed = database, pause, seed
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, also when a fence is in the way."""
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._over.is_set():
            with (
                contextlib.suppress(pymysql.MySQLError, OSError, Failed),
                closing(connect(self._database.where, read_timeout=5)) as conn,
            ):
                while not self._over.is_set():
                    number += 1
                    self._write(conn, number)
                    time.sleep(self._pause)
            time.sleep(0.1)

    def _write(self, conn: Conn, number: int) -> None:
        token, pick = f"é{self._seed}-{number}", self._random.randint
        run(conn, "start transaction")
        run(conn, "insert into `wri``tes` (tok) values (%s)", (token,))
        run(conn, "update counts set v = v + 1 where id = %s", (pick(1, 500),))
        some = (
            (3, "insert into `D ocs` (uid, body, n, f) values (%s, repeat('ü', 3000), 3, 0.1)"),
            (5, "insert into pairs values (%s, now(), 1) on duplicate key update v = v + 1"),
            (7, "insert into keyless values (1, %s)"),
        )
        for every, statement in some:
            if number % every == 0:
                run(conn, statement, (token[:20],))
        if number % 4 == 0:
            run(conn, "delete from `D ocs` where id = %s", (pick(1, 600),))
            run(conn, "update `D ocs` set uid = concat(uid, 'x') where id = %s", (pick(1, 600),))
        if number % 6 == 0:
            run(conn, "delete from parents where id = %s", (pick(1, 400),))
            run(conn, "update parents set id = id + 1000 where id = %s", (pick(401, 500),))
            fetch(conn, "select nextval(`Seq 1`)")
        run(conn, "commit")
        self.acked.append(token)


@contextmanager
def writing(database: MysqlDatabase, count: int = 2) -> Iterator[list[Writer]]:
    """Some writers at work."""
    writers = [Writer(database, seed) for seed in range(1, count + 1)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


def way(pair: tuple[MysqlDatabase, MysqlDatabase], directory: Path, tag: str = "cf_t") -> StreamWay:
    """A stream from the old database to the new one."""
    old, new = pair
    base = BaseCopy("main", old.where, new.where, tag, streams=2, fence=lambda: old.held)
    return StreamWay(base, directory, tag)


def cut_over(pair: tuple[MysqlDatabase, MysqlDatabase], stream: StreamWay) -> list[str]:
    """Fence and bring the last; what does not hold."""
    pair[0].fence()
    return broken(stream.bring_last(On(), still=True))


def asked(database: MysqlDatabase, query: str) -> list[tuple[object, ...]]:
    """Rows of a query."""
    with closing(connect(database.where)) as conn:
        return fetch(conn, query)


def rows_of(database: MysqlDatabase) -> dict[str, object]:
    """The checksum of every table."""
    return {name: asked(database, f"checksum table {ident(name)}")[0][1] for name in TABLES}


def eventually(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it is so; fails when it does not become so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
