"""The carrier before anything is done, and when something is in the way."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.mysql.doing import On, broken, sql

from crossfade.drivers.databases.mysql.carrier import MysqlCarrier
from crossfade.drivers.databases.mysql.connect import connect, ident, run
from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.drivers.databases.mysql.kept import compared
from crossfade.drivers.databases.mysql.pacing import pace_of
from crossfade.errors import Failed
from crossfade.model import Digest, Part
from crossfade.testing.servers import MariadbServer

Pair = tuple[MysqlDatabase, MysqlDatabase]


def test_log_bin_off(pair: Pair, directory: Path, tmp_path: Path) -> None:
    """Without a binary log a dump is made, and the plan says what a restart would change."""
    _, new = pair
    with MariadbServer(tmp_path / "silent") as server:
        old = MysqlDatabase("main", server.create("app", user="silent"))
        sql(server, old, "create table t (id int primary key)", "insert into t values (1)")
        carrier = old.carrier(new, directory, "crossfade_off")
        plan = carrier.preview()
        assert plan.strategy == "dump"
        assert "log_bin" in plan.why
        assert "restart" in plan.why
        on = On()
        assert broken(carrier.back_up(on) + carrier.restore(on)) == []
        old.fence()
        before = carrier.mark()
        assert broken(carrier.bring_last(on, still=True)) == []
        assert carrier.mark() == before
        held = old.held
        assert held is not None
        held.close()
        sql(server, old, "insert into t values (2)")
        assert carrier.mark() != before


def test_reasons_for_a_dump(pair: Pair, directory: Path, old_server: MariadbServer) -> None:
    """Tables without snapshots and versioned tables are named as the reason for a dump."""
    old, new = pair
    sql(
        old_server,
        old,
        "create table a (id int primary key) engine = Aria",
        "create table v (id int primary key, x int) with system versioning",
        "insert into v values (1, 1)",
        "update v set x = 2",
    )
    carrier = old.carrier(new, directory, "crossfade_why")
    plan = carrier.preview()
    assert plan.strategy == "dump"
    assert "Aria" in plan.why
    assert "system-versioned" in plan.why
    on = On()
    assert broken(carrier.back_up(on) + carrier.restore(on)) == []
    reader = connect(new.where)
    with reader.cursor() as cursor:
        cursor.execute("select count(*) from v for system_time all")
        assert cursor.fetchall() == ((2,),)
    reader.close()


def test_the_mark_sees_every_write(pair: Pair, directory: Path, old_server: MariadbServer) -> None:
    """Rows and definitions of this database change the mark; another database's do not."""
    old, new = pair
    sql(old_server, old, "create table t (id int primary key)")
    carrier = old.carrier(new, directory, "crossfade_mark")
    marks = [carrier.mark()]
    for statement in (
        "insert into t values (1)",
        "truncate table t",
        "create table u (id int)",
        "create view w as select 1",
    ):
        sql(old_server, old, statement)
        marks.append(carrier.mark())
    assert len(set(marks)) == 5
    old_server.sql("create or replace database elsewhere; create table elsewhere.t (id int)")
    old_server.sql("insert into elsewhere.t values (1)")
    assert carrier.mark() == marks[-1]


def test_kept_while_written_to(pair: Pair, directory: Path, old_server: MariadbServer) -> None:
    """A server that never rests: what stands still is compared whole, what is in use by its rows.
    A table that is neither as before nor as after the dump fails it."""
    old, new = pair
    sql(old_server, old, "create table still (id int primary key)", "insert into still values (1)")
    sql(old_server, old, "create table busy (id int auto_increment primary key)")
    over = threading.Event()

    def write() -> None:
        writer = connect(old.where, as_app=True)
        while not over.is_set():
            run(writer, "insert into busy values ()")
        writer.close()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        kept = old.carrier(new, directory, "crossfade_busy").keep(On(), directory)
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert broken(list(kept.findings)) == []
    assert kept.digest.parts["still"].count == 1
    before, after = (Digest({"busy": Part(n, str(n))}) for n in (3, 5))
    for rows, holds in ((3, True), (4, True), (6, False)):
        there = Digest({"busy": Part(rows, "other")})
        assert compared("main", before, after, there, set()).holds is holds
    assert not compared("main", before, before, Digest({"busy": Part(3, "other")}), set()).holds


def test_a_place_in_use(pair: Pair, directory: Path, new_server: MariadbServer) -> None:
    """A new database that holds what is not ours is never touched."""
    old, new = pair
    new_server.sql(f"create database {ident(new.where.database)}")
    sql(new_server, new, "create table precious (id int)")
    carrier = old.carrier(new, directory, "crossfade_use")
    assert [problem.code for problem in carrier.preview().problems] == ["new-place-in-use"]
    for act in (lambda: carrier.back_up(On()), lambda: carrier.restore(On()), new.remove):
        with pytest.raises(Failed) as caught:
            act()
        assert caught.value.code == "new-place-in-use"
    sql(new_server, new, "drop table precious")
    assert old.carrier(new, directory, "crossfade_use").preview().problems == ()


def test_a_wrong_password(pair: Pair, directory: Path, tmp_path: Path) -> None:
    """A wrong password is a problem in the plan that names the account, never the password."""
    old, new = pair
    secret = tmp_path / "wrong"
    secret.write_text("hush-hush")
    where = replace(old.where, admin_password=f"file:{secret}")
    plan = MysqlDatabase("main", where).carrier(new, directory, "crossfade_pw").preview()
    assert [problem.code for problem in plan.problems] == ["database-login-refused"]
    assert "hush" not in repr(plan)


def test_rights_are_missing(pair: Pair, directory: Path, old_server: MariadbServer) -> None:
    """An administrator who may not do what is needed is told so in the plan."""
    old, new = pair
    where = replace(old.where, admin=old.where.user, admin_password=old.where.password)
    plan = MysqlDatabase("main", where).carrier(new, directory, "crossfade_rt").preview()
    assert [problem.code for problem in plan.problems] == ["database-right-missing"]


def test_rows_while_the_old_side_writes(
    pair: Pair, directory: Path, old_server: MariadbServer
) -> None:
    """A copy is one moment of the old side, however much is written meanwhile."""
    old, new = pair
    sql(
        old_server,
        old,
        "create table t (id int primary key auto_increment, v varchar(40))",
        "insert into t (v) select md5(seq) from seq_1_to_30000",
    )
    writer = connect(old.where, as_app=True)
    carrier = old.carrier(new, directory, "crossfade_rows")
    assert isinstance(carrier, MysqlCarrier)
    base, on = carrier.base, On()
    base.begin()
    run(writer, "update t set v = 'later'")
    run(writer, "delete from t where id > 100")
    base.prepare(on)
    base.copy(on)
    here, there = base.digest_both()
    assert here == there
    assert there.count == 30000
    base.release()
    writer.close()


def test_without_a_rate_the_copy_rests_when_answers_are_slow(pair: Pair) -> None:
    """A fixed rate does not look at the server."""
    with pace_of(pair[0].where, None) as pace:
        for _ in range(30):
            pace.judge(0.001, 0.050)
        assert pace.duty < 0.5
    with pace_of(pair[0].where, 1e6) as fixed:
        assert (fixed.rate, fixed.duty) == (1e6, 1.0)
