"""The way back: every write of the new side on the old one, or told that it cannot be."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mysql.doing import On, broken, sql
from tests.mysql.following import SCHEMA, asked, cut_over, eventually, rows_of, way, writing

from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.drivers.databases.mysql.reverse import ReverseFeed
from crossfade.testing.servers import MariadbServer

Pair = tuple[MysqlDatabase, MysqlDatabase]
_COUNTS = "select id, v from counts order by id"


@pytest.fixture
def carried(pair: Pair, old_server: MariadbServer, directory: Path) -> Iterator[Pair]:
    """The old side is fenced, and the new one has everything."""
    old, new = pair
    sql(old_server, old, *SCHEMA)
    stream = way(pair, directory)
    assert broken(stream.back_up(On()) + stream.restore(On())) == []
    assert cut_over(pair, stream) == []
    stream.let_go()
    yield old, new
    back(pair, directory).let_go()


def back(pair: Pair, directory: Path) -> ReverseFeed:
    """The reverse feed, as any process finds it."""
    return ReverseFeed("main", pair[0].where, pair[1].where, "cf_t", directory)


def switched(pair: Pair, directory: Path) -> ReverseFeed:
    """The switch: prepared, committed, begun."""
    reverse = back(pair, directory)
    assert broken(reverse.prepare()) == []
    assert reverse.state().lossless
    pair[0].fence().keep()
    assert broken(reverse.start()) == []
    return reverse


def writes_of(pair: Pair) -> list[str]:
    """The new side works for a while; the tokens of its writes."""
    with writing(pair[1]) as writers:
        eventually(lambda: all(len(writer.acked) > 60 for writer in writers))
    return [token for writer in writers for token in writer.acked]


def follower(directory: Path) -> int:
    """The process that follows; 0 when there is none."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"crossfade.drivers.databases.mysql.backward" in words and any(
            word.startswith(os.fsencode(directory)) for word in words
        ):
            return int(entry.name)
    return 0


def test_everything_comes_back(
    carried: Pair, directory: Path, tmp_path: Path, new_server: MariadbServer
) -> None:
    """With columns and tables that only the new version has; then the old side works again."""
    old, new = carried
    sql(
        new_server,
        new,
        "alter table `D ocs` add more int not null default 7, add kind enum('a') default 'a'",
        "create table only_new (id int primary key)",
        "create index by_v on counts (v)",
    )
    assert back(carried, directory).possible() == ""
    reverse = switched(carried, directory)
    acked = writes_of(carried)
    sql(new_server, new, "insert into only_new values (1)", "alter table counts add late int")
    sql(new_server, new, "truncate keyless", "insert into keyless values (5, 'ü')")
    acked += writes_of(carried)
    with pytest.raises(Exception, match="fenced"):
        asked(old, "insert into counts values (1, 1)")
    assert reverse.state().lossless
    findings, left = back(carried, directory).bring_back(On(), tmp_path / "left")
    assert broken(findings) == []
    assert left == 0
    assert set(acked) <= {str(row[0]) for row in asked(old, "select tok from `wri``tes`")}
    before, after = rows_of(old), rows_of(new)
    assert {name for name in before if before[name] != after[name]} <= {"D ocs", "counts"}
    columns = "id, uid, body, n, f, at, twice"
    docs = f"select {columns} from `D ocs` order by id"  # noqa: S608
    assert asked(old, docs) == asked(new, docs)
    assert asked(old, _COUNTS) == asked(new, _COUNTS)
    asked(old, "insert into counts values (9999, 1)")
    back(carried, directory).let_go()  # the hand-back is committed
    assert back(carried, directory).standing() == []
    upcoming = asked(new, "select nextval(`Seq 1`)")[0][0]
    assert asked(old, f"select nextval(`Seq 1`) >= {upcoming}") == [(1,)]


def test_the_process_may_die(carried: Pair, directory: Path, tmp_path: Path) -> None:
    """What it did not bring waits in the new server's log, and going back brings it."""
    reverse = switched(carried, directory)
    os.kill(follower(directory), signal.SIGKILL)
    eventually(lambda: "process does not run" in reverse.state().words)
    assert reverse.state().lossless
    acked = writes_of(carried)
    findings, left = back(carried, directory).bring_back(On(), tmp_path / "left")
    assert (broken(findings), left) == ([], 0)
    assert set(acked) <= {str(row[0]) for row in asked(carried[0], "select tok from `wri``tes`")}
    assert rows_of(carried[0]) == rows_of(carried[1])


def test_servers_that_are_killed(
    carried: Pair,
    directory: Path,
    tmp_path: Path,
    old_server: MariadbServer,
    new_server: MariadbServer,
) -> None:
    """The feed goes on by itself; nothing is lost or made twice."""
    reverse = switched(carried, directory)
    for server in (old_server, new_server):
        writes_of(carried)
        server.kill()
        assert not reverse.state().lossless
        server.start()
        assert reverse.state().lossless
    findings, left = reverse.bring_back(On(), tmp_path / "left")
    assert (broken(findings), left) == ([], 0)
    assert rows_of(carried[0]) == rows_of(carried[1])


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("alter table counts add mid int after id", "stands at another place"),
        ("alter table counts modify v bigint", "was int(11) and is bigint(20)"),
        (
            "alter table `D ocs` modify body text charset latin1",
            "was text utf8mb4 and is text latin1",
        ),
        ("alter table pairs change v w int", "is gone or renamed"),
        ("alter table pairs rename to couples", "is gone or renamed"),
        ("alter table children drop foreign key children_ibfk_1", "foreign keys"),
    ],
)
def test_a_schema_that_allows_no_way_back(
    carried: Pair,
    directory: Path,
    tmp_path: Path,
    new_server: MariadbServer,
    statement: str,
    words: str,
) -> None:
    """Said before the commit; then what stays behind is written to files."""
    old, new = carried
    sql(new_server, new, statement)
    reverse = back(carried, directory)
    assert words in reverse.possible()
    assert "no: " in reverse.prepare()[0].observed
    old.fence().keep()
    assert broken(reverse.start()) == []
    assert not reverse.state().lossless
    assert words in reverse.state().words
    sql(new_server, new, "insert into `wri``tes` (tok) values ('bleibt hier ü')")
    findings, left = reverse.bring_back(On(), tmp_path / "left")
    assert broken(findings) == []
    assert left >= 1
    lines = [
        json.loads(line)
        for file in (tmp_path / "left").glob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert len(lines) == left
    assert any(line.get("tok") == "bleibt hier ü" for line in lines)
    asked(old, "insert into counts (id) values (8888)")


def test_a_schema_that_changes_later(
    carried: Pair, directory: Path, tmp_path: Path, new_server: MariadbServer
) -> None:
    """The feed stops before a value could land in the wrong column, and the state says so."""
    old, new = carried
    reverse = switched(carried, directory)
    sql(
        new_server,
        new,
        "alter table counts add mid int after id",
        "insert into counts (id, mid, v) values (7001, 1, 2)",
    )
    eventually(lambda: not reverse.state().lossless)
    assert "stands at another place" in reverse.state().words
    assert asked(old, "select * from counts where id = 7001") == []
    _, left = reverse.bring_back(On(), tmp_path / "left")
    assert left == 1


def test_a_log_of_statements(carried: Pair, directory: Path, new_server: MariadbServer) -> None:
    """A new server that logs statements has no way back for rows."""
    new_server.sql("set global binlog_format = 'MIXED'")
    try:
        assert "MIXED" in back(carried, directory).possible()
    finally:
        new_server.sql("set global binlog_format = 'ROW'")


def test_a_row_that_the_old_side_refuses(
    carried: Pair,
    directory: Path,
    tmp_path: Path,
    old_server: MariadbServer,
    new_server: MariadbServer,
) -> None:
    """The state tells it in the server's words; the row is kept as a file."""
    old, new = carried
    reverse = switched(carried, directory)
    sql(new_server, new, "alter table `D ocs` drop key uid")
    sql(new_server, new, "insert into `D ocs` (uid) values ('twice'), ('twice')")
    eventually(lambda: not reverse.state().lossless)
    assert "twice" in reverse.state().words
    findings, left = reverse.bring_back(On(), tmp_path / "left")
    assert broken(findings) == []
    assert left == 2
    assert asked(old, "select count(*) from `D ocs` where uid = 'twice'") == [(0,)]


def test_a_difference_is_not_swallowed(
    carried: Pair, directory: Path, tmp_path: Path, old_server: MariadbServer
) -> None:
    """When the old side is not as the feed left it nothing is removed; the new side can go on."""
    old, new = carried
    reverse = switched(carried, directory)
    os.kill(follower(directory), signal.SIGKILL)
    asked(new, "update counts set v = 5 where id = 1")
    following = reverse.following()
    following.reach(patience=20)
    following.close()
    old.lift()
    sql(old_server, old, "update counts set v = 4 where id = 1")
    findings, left = reverse.bring_back(On(), tmp_path / "left")
    assert left == 0
    assert [f.observed for f in findings if "differs in counts (id) = 1" in f.observed]
    assert reverse.standing() != []
    assert follower(directory)


def test_letting_go_leaves_nothing(carried: Pair, directory: Path) -> None:
    """From any state, and twice."""
    reverse = switched(carried, directory)
    assert reverse.standing() != []
    assert reverse.let_go() != []
    assert reverse.let_go() == []
    assert reverse.standing() == []
    eventually(lambda: not follower(directory))
    assert not reverse.state().lossless
