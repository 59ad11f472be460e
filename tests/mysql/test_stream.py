"""The strategy ``stream`` under load, and when something gets in its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.mysql.doing import On, broken, sql
from tests.mysql.following import (
    SCHEMA,
    asked,
    cut_over,
    eventually,
    rows_of,
    way,
    writing,
)

from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.drivers.databases.mysql.stream import StreamWay
from crossfade.errors import Failed
from crossfade.testing.servers import MariadbServer

Pair = tuple[MysqlDatabase, MysqlDatabase]
Begin = Callable[[], StreamWay]


@pytest.fixture
def filled(pair: Pair, old_server: MariadbServer) -> Pair:
    """The old database has tables of many kinds, with rows."""
    sql(old_server, pair[0], *SCHEMA)
    return pair


@pytest.fixture
def stream(filled: Pair, directory: Path) -> Iterator[StreamWay]:
    """Nothing is begun yet; everything is removed afterwards."""
    made = way(filled, directory)
    yield made
    held = filled[0].held
    if held:
        held.close()
    made.let_go()
    assert made.standing() == []


@pytest.fixture
def followed(stream: StreamWay) -> StreamWay:
    """The new side follows."""
    begin(stream)
    return stream


def begin(stream: StreamWay) -> None:
    """Copy and follow."""
    on = On()
    assert broken(stream.back_up(on) + stream.restore(on)) == []


def interrupted(stream: StreamWay) -> None:
    """What the end of the process does: nobody follows any more."""
    keeper = stream._keeper
    assert keeper is not None
    keeper.stop().close()
    stream._keeper = None


def test_nothing_is_lost_under_load(filled: Pair, stream: StreamWay) -> None:
    """Every acknowledged write is on the new side, and every byte is the same."""
    old, new = filled
    with writing(old) as writers:
        begin(stream)
        eventually(lambda: all(len(writer.acked) > 150 for writer in writers))
        assert cut_over(filled, stream) == []
    acked = {token for writer in writers for token in writer.acked}
    assert acked <= {str(row[0]) for row in asked(new, "select tok from `wri``tes`")}
    assert rows_of(old) == rows_of(new)
    assert stream.written_since() == 0
    held = old.held
    assert held is not None
    upcoming = held.read("select next_not_cached_value from `Seq 1`")
    assert asked(new, "select next_not_cached_value from `Seq 1`") == upcoming
    assert asked(new, "select nextval(`Seq 1`)")[0][0] == upcoming[0][0]


def test_a_rehearsal_needs_no_fence(filled: Pair, stream: StreamWay) -> None:
    """The old side works on, and what is in use is left out."""
    old, new = filled
    with writing(old) as writers:
        begin(stream)
        assert broken(stream.bring_last(On(), still=False)) == []
        before = asked(new, "select count(*) from `wri``tes`")
        reached = len(writers[0].acked)
        eventually(lambda: len(writers[0].acked) > reached + 20)
        assert asked(new, "select count(*) from `wri``tes`") == before


def test_another_process_goes_on(filled: Pair, followed: StreamWay, directory: Path) -> None:
    """Without a new copy, and with what was not yet compared."""
    old, new = filled
    interrupted(followed)
    with writing(old, 1) as writers:
        eventually(lambda: len(writers[0].acked) > 60)
    other = way(filled, directory)
    marked = asked(
        new, "select create_time from information_schema.tables where table_name = 'pairs'"
    )
    begin(other)
    again = "select create_time from information_schema.tables where table_name = 'pairs'"
    assert asked(new, again) == marked
    assert cut_over(filled, other) == []
    assert rows_of(old) == rows_of(new)
    assert broken(way(filled, directory).bring_last(On(), still=True)) == []


def test_a_begun_copy_begins_again(filled: Pair, stream: StreamWay, directory: Path) -> None:
    """The snapshot of a process that ended is gone, so another one copies anew."""
    assert broken(stream.back_up(On())) == []
    stream.base.release()
    other = way(filled, directory)
    begin(other)
    assert cut_over(filled, other) == []
    other.let_go()


def test_an_emptied_table_and_bulk_changes(
    filled: Pair, followed: StreamWay, old_server: MariadbServer
) -> None:
    """TRUNCATE and statements with many rows arrive, in their order."""
    old, new = filled
    sql(
        old_server,
        old,
        "truncate table `wri``tes`",
        "insert into `wri``tes` (tok) select seq from seq_1_to_30000",
        "update `wri``tes` set tok = concat(tok, 'x') where id % 2",
        "delete from children",
        "start transaction; insert into keyless values (1, 'a'); savepoint s;"
        " insert into keyless values (2, 'b'); rollback to s; commit",
        "start transaction; insert into counts values (9999, 1); rollback",
    )
    assert cut_over(filled, followed) == []
    assert rows_of(old) == rows_of(new)


def test_a_row_longer_than_the_new_server_takes(
    filled: Pair, stream: StreamWay, old_server: MariadbServer, new_server: MariadbServer
) -> None:
    """The limit is raised for our session only."""
    old, new = filled
    sql(old_server, old, "create table big (id int primary key, b longblob)")
    begin(stream)
    interrupted(stream)
    new_server.sql("set global max_allowed_packet = 1048576")
    try:
        sql(old_server, old, "insert into big values (1, repeat('x', 5000000)), (2, 'y')")
        assert cut_over(filled, stream) == []
        assert new_server.sql("select @@global.max_allowed_packet") == [(1048576,)]
    finally:
        new_server.sql("set global max_allowed_packet = 67108864")
    assert asked(new, "select md5(b) from big") == asked(old, "select md5(b) from big")


@pytest.mark.parametrize(
    "statement",
    ["alter table counts add x int", "create table more (i int)", "drop table keyless"],
)
def test_a_changed_schema_is_refused(
    filled: Pair, followed: StreamWay, old_server: MariadbServer, statement: str
) -> None:
    """It never crosses to the new side."""
    old, new = filled
    sql(old_server, old, statement)
    with pytest.raises(Failed) as failed:
        followed.bring_last(On(), still=False)
    assert failed.value.code == "schema-changed"
    assert " ".join(statement.split()[:2]) in failed.value.what.lower()
    tables = "select count(*) from information_schema.columns where table_schema = database()"
    assert asked(new, tables) != asked(old, tables)


def test_what_other_databases_do_is_nothing(
    filled: Pair, followed: StreamWay, old_server: MariadbServer
) -> None:
    """Neither their rows nor their definitions, nor new accounts, cross to the new server."""
    old, new = filled
    old_server.sql("create database `o ther`; use `o ther`; create table counts (id int)")
    old_server.sql("insert into `o ther`.counts values (1); create user nobody")
    try:
        sql(old_server, old, "insert into counts values (5000, 1)")
        assert cut_over(filled, followed) == []
    finally:
        old_server.sql("drop database `o ther`; drop user nobody")
    assert asked(new, "select v from counts where id = 5000") == [(1,)]
    assert asked(new, "select count(*) from mysql.global_priv where user = 'nobody'") == [(0,)]


def test_changes_by_statements_are_refused(
    filled: Pair, followed: StreamWay, old_server: MariadbServer
) -> None:
    """A session that logs statements cannot be proven equal; this is said before the pause."""
    sql(old_server, filled[0], "set binlog_format = 'STATEMENT'; update counts set v = 5")
    with pytest.raises(Failed) as failed:
        followed.restore(On())
    assert failed.value.code == "changes-by-statement"


def test_a_row_that_the_new_side_refuses(
    filled: Pair, followed: StreamWay, old_server: MariadbServer, new_server: MariadbServer
) -> None:
    """The feed stops with the server's own words and the table's name."""
    old, new = filled
    sql(new_server, new, "insert into counts values (7777, 1)")
    sql(old_server, old, "insert into counts values (7777, 2)")
    with pytest.raises(Failed) as failed:
        followed.bring_last(On(), still=False)
    assert failed.value.code == "feed-stopped"
    assert "counts" in failed.value.what
    assert "7777" in failed.value.what


def test_a_difference_names_table_and_key(
    filled: Pair, followed: StreamWay, old_server: MariadbServer, new_server: MariadbServer
) -> None:
    """A changed row that is not the same on the new side ends the switch, until it is."""
    old, new = filled
    interrupted(followed)
    sql(old_server, old, "insert into pairs values ('Ä', '2024-01-02', 1)")
    following = followed._opened()
    upto = following.reach(patience=20)
    sql(new_server, new, "update pairs set v = 3 where a = 'Ä'")
    assert list(map(str, following.compare(upto, patience=20))) == ["pairs (a, d) = Ä/'2024-01-02'"]
    following.close()
    wrong = cut_over(filled, followed)
    assert len(wrong) == 1
    assert "differs in pairs (a, d) = Ä/'2024-01-02'" in wrong[0]
    sql(new_server, new, "update pairs set v = 1 where a = 'Ä'")
    assert cut_over(filled, followed) == []


def test_what_no_log_tells_is_counted(
    filled: Pair, followed: StreamWay, old_server: MariadbServer
) -> None:
    """A write that an administrator kept out of the log is noticed by the count."""
    sql(old_server, filled[0], "set sql_log_bin = 0; insert into keyless values (1, 'secret')")
    wrong = cut_over(filled, followed)
    assert len(wrong) == 1
    assert "keyless" in wrong[0]
    assert "secret" not in wrong[0]


def test_the_new_server_is_killed(
    filled: Pair, followed: StreamWay, new_server: MariadbServer
) -> None:
    """No change is lost and none is made twice, whatever was not committed."""
    old, new = filled
    with writing(old) as writers:
        eventually(lambda: len(writers[0].acked) > 30)
        new_server.kill()
        new_server.start()
        reached = len(writers[0].acked)
        eventually(lambda: len(writers[0].acked) > reached + 30)
        assert broken(followed.restore(On())) == []
        assert cut_over(filled, followed) == []
    assert rows_of(old) == rows_of(new)


def test_the_old_server_is_killed(
    filled: Pair, followed: StreamWay, old_server: MariadbServer
) -> None:
    """Following goes on when it serves again, in its next log file."""
    old, new = filled
    with writing(old) as writers:
        eventually(lambda: len(writers[0].acked) > 30)
        old_server.kill()
        old_server.start()
        reached = len(writers[0].acked)
        eventually(lambda: len(writers[0].acked) > reached + 30)
        assert broken(followed.restore(On())) == []
        assert cut_over(filled, followed) == []
    assert rows_of(old) == rows_of(new)


def test_a_late_write_is_noticed(
    filled: Pair, followed: StreamWay, old_server: MariadbServer
) -> None:
    """What the old side took after the last change was brought is counted, and compared anew."""
    old, new = filled
    assert cut_over(filled, followed) == []
    held = old.held
    assert held is not None
    held.close()
    sql(old_server, old, "insert into counts values (8000, 1)")
    assert followed.written_since() == 1
    assert cut_over(filled, followed) == []
    assert asked(new, "select v from counts where id = 8000") == [(1,)]


def test_a_removed_log_is_told(
    filled: Pair, followed: StreamWay, old_server: MariadbServer, directory: Path
) -> None:
    """When the old server has removed what was not read yet, following cannot go on."""
    interrupted(followed)
    sql(old_server, filled[0], "insert into counts values (8000, 1)")
    old_server.sql("flush binary logs")
    last = old_server.sql("show binary logs")[-1][0]

    def purged() -> bool:
        # The server keeps what a reader was just sent until it notices that the reader is gone.
        old_server.sql("purge binary logs to %s", (last,))
        return bool(old_server.sql("show binary logs")[0][0] == last)

    eventually(purged)
    with pytest.raises(Failed) as failed:
        way(filled, directory).bring_last(On(), still=False)
    assert failed.value.code == "changes-not-kept"


def test_old_and_new_on_one_server(
    filled: Pair, old_server: MariadbServer, directory: Path
) -> None:
    """Under another name, on the same server."""
    old = filled[0]
    beside = MysqlDatabase("main", old_server.endpoint("N eu ->x, `y", user="app"))
    one = way((old, beside), directory, "cf_one")
    with writing(old, 1) as writers:
        begin(one)
        eventually(lambda: len(writers[0].acked) > 40)
        assert cut_over((old, beside), one) == []
    assert rows_of(old) == rows_of(beside)
    assert one.let_go() != []
    assert one.let_go() == []
    beside.remove()
