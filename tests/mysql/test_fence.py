"""The fence against everybody who could write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pymysql
import pytest
from tests.mysql.doing import sql

from crossfade.drivers.databases.mysql import connect as sessions
from crossfade.drivers.databases.mysql.connect import connect, fetch, ident, run
from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.errors import Failed
from crossfade.testing.servers import MariadbServer

TABLES = ["plain", 'O"dd `näme`', "second"]


@pytest.fixture
def old(
    make_old: Callable[[], MysqlDatabase], old_server: MariadbServer
) -> Iterator[MysqlDatabase]:
    """A database with a few kinds of tables."""
    made = make_old()
    for table in TABLES:
        sql(old_server, made, f"create table {ident(table)} (id int primary key, v int)")
        sql(old_server, made, f"insert into {ident(table)} values (1, 1), (2, 2)")  # noqa: S608
    sql(
        old_server,
        made,
        "create table aria (id int) engine = Aria",
        "create table isam (id int) engine = MyISAM",
        "create sequence numbers",
        "create view seen as select * from plain",
    )
    yield made
    if made.held:
        made.held.close()
    made.lift()


WRITES = [
    "insert into plain values (9, 9)",
    "insert ignore into plain values (9, 9)",
    "replace into plain values (1, 9)",
    "update plain set v = 9",
    "delete from plain where id = 1",
    "update seen set v = 9",
    "insert into aria values (1)",
    "insert into isam values (1)",
    "select * from plain for update",
    "do nextval(numbers)",
    "truncate table plain",
    "alter table plain add column x int",
    "drop table second",
    "rename table second to third",
    "create index i on plain (v)",
]


@pytest.mark.parametrize("as_app", [False, True], ids=["root", "application"])
def test_no_write_passes(old: MysqlDatabase, *, as_app: bool) -> None:
    """While the fence holds, every kind of write waits, whoever writes; reading goes on."""
    with_fence = old.fence()
    other = connect(old.where, as_app=as_app)
    run(other, "set session lock_wait_timeout = 0, innodb_lock_wait_timeout = 0")
    for statement in WRITES:
        with pytest.raises(pymysql.MySQLError, match="Lock wait timeout"):
            run(other, statement)
    assert fetch(other, "select count(*) from plain") == [(2,)]
    assert old.prove_fence().holds
    with_fence.close()
    run(other, "insert into plain values (9, 9)")
    assert not old.prove_fence().holds
    other.close()


def test_other_databases_go_on(
    old: MysqlDatabase, make_old: Callable[[], MysqlDatabase], old_server: MariadbServer
) -> None:
    """The fence of one database does not hold up another one of the same server."""
    other = make_old()
    sql(old_server, other, "create table t (id int primary key)")
    old.fence()
    session = connect(other.where, as_app=True)
    run(session, "set session lock_wait_timeout = 0")
    assert run(session, "insert into t values (1)") == 1
    session.close()


def test_sessions_in_the_way_are_ended(old: MysqlDatabase) -> None:
    """An open transaction of the application, and one of root in another database, are ended."""
    app, root = connect(old.where, as_app=True), connect(old.where, database="")
    for session, table in ((app, "plain"), (root, "second")):
        run(session, "start transaction")
        name = f"{ident(old.where.database)}.{table}"
        run(session, f"replace into {name} values (1, 99)")  # noqa: S608
    old.fence()
    for session in (app, root):
        with pytest.raises(pymysql.MySQLError):
            run(session, "commit")
        sessions.quietly_close(session)
    assert old.prove_fence().holds
    reader = connect(old.where)
    assert fetch(reader, "select v from plain where id = 1") == [(1,)]
    reader.close()


def test_a_prepared_transaction_is_refused(old: MysqlDatabase) -> None:
    """A prepared transaction could write at any time, so there is no fence."""
    session = connect(old.where, as_app=True)
    for statement in ("xa start 'x'", "replace into plain values (1, 5)", "xa end 'x'"):
        run(session, statement)
    run(session, "xa prepare 'x'")
    try:
        with pytest.raises(Failed) as caught:
            old.fence()
        assert caught.value.code == "prepared-transaction"
    finally:
        run(session, "xa rollback 'x'")
        session.close()


def test_it_dies_with_us(old: MysqlDatabase) -> None:
    """When the process that holds the fence is killed, the old side can be written to again."""
    where = old.where
    program = (
        "import sys, pathlib, time\n"
        "from crossfade.model import Address, Endpoint\n"
        "from crossfade.drivers.databases.mysql.database import MysqlDatabase\n"
        "a, d, u, p, s, q, b = sys.argv[1:]\n"
        "e = Endpoint('mysql', Address.parse(a), d, u, p, s, q, pathlib.Path(b))\n"
        "f = MysqlDatabase('main', e).fence(); print('held', flush=True); time.sleep(60)\n"
    )
    given = (str(where.address), where.database, where.user, where.password)
    more = (where.admin, where.admin_password, str(where.base))
    holder = subprocess.Popen(
        (sys.executable, "-c", program, *given, *more), stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        assert old.prove_fence().holds
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    until = time.monotonic() + 20
    while old.prove_fence().holds:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_kept_without_a_gap(old: MysqlDatabase) -> None:
    """Writers that wait for the fence get an error when it is kept; not one of them writes."""
    fence = old.fence()
    seen: list[str] = []

    def write(statement: str) -> None:
        session = connect(old.where, as_app=True)
        try:
            run(session, statement)
            seen.append(f"wrote: {statement}")
        except pymysql.MySQLError as error:
            seen.append(str(error.args[0]))
        finally:
            sessions.quietly_close(session)

    statements = [
        words.format(ident(table))
        for table in TABLES
        for words in (
            "insert ignore into {} values (50, 1)",
            "update ignore {} set v = v + 1",
            "delete from {}",
            "replace into {} values (1, 7)",
        )
    ]
    writers = [threading.Thread(target=write, args=(s,)) for s in statements * 3]
    for writer in writers:
        writer.start()
    _until_waiting(old, len(writers))
    fence.keep()
    for writer in writers:
        writer.join(60)
    assert Counter(seen) == {"1290": len(writers)}
    assert old.prove_fence().holds
    reader = connect(old.where)
    for table in TABLES:
        query = f"select * from {ident(table)} order by id"  # noqa: S608
        assert fetch(reader, query) == [(1, 1), (2, 2)]
    reader.close()


def test_nothing_is_left_in_the_server(old: MysqlDatabase, old_server: MariadbServer) -> None:
    """Where triggers of two tables are made at the same time MariaDB now and then leaves a file of
    its own behind, and then cannot drop the database (10.11)."""
    for number in range(40):
        sql(old_server, old, f"create table many{number} (id int primary key)")
    (place,) = {path.parent for path in old_server.data.rglob("many0.ibd")}
    for _ in range(4):
        old.fence().keep()
        old.lift()
        endings = {path.suffix for path in place.iterdir()}
        assert endings <= {".frm", ".ibd", ".opt", ".MAD", ".MAI", ".MYD", ".MYI"}


def test_lifted(old: MysqlDatabase, old_server: MariadbServer) -> None:
    """A kept fence outlives its maker and is lifted by another object; nothing of it is left."""
    old.fence().keep()
    again = MysqlDatabase("main", old.where)
    assert again.prove_fence().holds
    again.lift()
    again.lift()
    assert not again.prove_fence().holds
    count = "select count(*) from information_schema.triggers where trigger_schema = %s"
    assert old_server.sql(count, (old.where.database,)) == [(0,)]


def test_keeping_again(old: MysqlDatabase) -> None:
    """After a crash in the middle, a new fence is taken and kept over what stands already."""
    old.fence().keep()
    again = MysqlDatabase("main", old.where)
    again.lift()
    session = connect(old.where)
    run(
        session,
        "create trigger crossfade_fence_insert_other before insert on plain"
        " for each row signal sqlstate '25006' set mysql_errno = 1290, message_text = 'half'",
    )
    session.close()
    again.fence().keep()
    assert again.prove_fence().holds


def test_replicated_rows_pass(old: MysqlDatabase, old_server: MariadbServer) -> None:
    """Row events that replication applies are not refused by a kept fence."""
    sql(old_server, old, "flush binary logs")
    file = old_server.sql("show master status")[0][0]
    sql(old_server, old, "insert into plain values (70, 70)")
    sql(old_server, old, "delete from plain where id = 70")
    old.fence().keep()
    program = old_server.program("mariadb-binlog")
    events = subprocess.run(
        (program, "--stop-position=99999999", str(old_server.data / file)),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    inserted = events.split(b"BINLOG '")[2].split(b"'")[0]
    session = connect(old.where)
    described = events.split(b"BINLOG '")[1].split(b"'")[0]
    run(session, f"binlog '{described.decode()}'")
    run(session, f"binlog '{inserted.decode()}'")
    assert fetch(session, "select v from plain where id = 70") == [(70,)]
    session.close()


def _until_waiting(old: MysqlDatabase, count: int) -> None:
    control = connect(old.where, database="")
    until = time.monotonic() + 60
    query = (
        "select count(*) from information_schema.processlist"
        " where state like 'Waiting for table%' and user = 'app'"
    )
    while fetch(control, query)[0][0] < count:
        assert time.monotonic() < until
        time.sleep(0.02)
    control.close()
