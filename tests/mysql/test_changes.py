"""Which rows changed, as the binary log tells it; statements in it; hashes of rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from tests.testbed.site import eventually

from crossfade.drivers.databases.mysql import compare
from crossfade.drivers.databases.mysql.binlog import Log, Position, Query, Rows, current_position
from crossfade.drivers.databases.mysql.catalog import Catalog, read_catalog
from crossfade.drivers.databases.mysql.changes import Changes
from crossfade.drivers.databases.mysql.connect import Conn, connect, fetch, ident, run
from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.drivers.databases.mysql.feed import Truncated
from crossfade.drivers.databases.mysql.statements import judge, truncated
from crossfade.errors import Failed
from crossfade.testing.servers import MariadbServer

Pair = tuple[MysqlDatabase, MysqlDatabase]


@pytest.fixture
def conn(pair: Pair) -> Iterator[Conn]:
    """A session in the old database."""
    with closing(connect(pair[0].where)) as session:
        yield session


def here(conn: Conn) -> Position:
    """Where the log ends now."""
    found = current_position(conn)
    assert found is not None
    return found


def catalog_of(conn: Conn, pair: Pair) -> Catalog:
    """What stands in the old database."""
    found = read_catalog(conn, pair[0].where.database)
    assert found is not None
    return found


def logged(conn: Conn, pair: Pair, *statements: str) -> Changes:
    """Run statements and read what the log tells of them."""
    changes = Changes(catalog_of(conn, pair))
    since = here(conn)
    for statement in statements:
        run(conn, statement)
    with closing(Log(pair[0].where, since)) as log:
        for event in log.read(here(conn), patience=20):
            if isinstance(event, Rows) and event.database == pair[0].where.database:
                changes.take(event)
    return changes


KEYS = {
    "bigint unsigned": ["18446744073709551615", "0"],
    "bigint": ["-9223372036854775808", "5"],
    "mediumint": ["-8388608", "7"],
    "smallint unsigned": ["65535", "1"],
    "tinyint": ["-128", "127"],
    "int(7) zerofill": ["42", "0"],
    "varchar(300) character set utf8mb4": ["'Ä''\\\\ 😀'", "''", "repeat('ü', 200)"],
    "varchar(20) character set latin1": ["'Äö'", "'x'"],
    "varchar(20) character set utf8mb3": ["'Äö'", "'x'"],
    "char(10) character set utf8mb4": ["'aé'", "'b'"],
    "char(90) character set utf8mb4": ["'aé'", "repeat('ü', 90)"],
    "binary(4)": ["x'0001'", "x'ff00ff00'"],
    "varbinary(300)": ["x'00ff5c27'", "repeat(x'ff', 290)"],
    "date": ["'2024-02-29'", "'0000-00-00'"],
    "datetime": ["'9999-12-31 23:59:59'", "'2000-01-01 00:00:00'"],
    "datetime(5)": ["'2024-02-29 12:34:56.12345'", "'0000-00-00 00:00:00'"],
    "timestamp(3)": ["'2024-02-29 12:34:56.123'", "'2000-01-01 00:00:00'"],
    "timestamp": ["'2024-02-29 12:34:56'", "0"],
}
_BEFORE = (
    "a decimal(20, 5), b enum('x', 'ü'), c set('a', 'b'), d bit(11), e time(3), f year, g text,"
    " h longblob, i float, j double, k point, l json, m uuid, n inet6, o varchar(3) as ('v'),"
    " p int as (1) stored, q varchar(500), r timestamp(6) null"
)
_VALUES = (
    "-1234.5, 'ü', 'a,b', 1023, '-12:00:01.5', 2024, repeat('g', 70000), x'00', 1.1, 2.2,"
    " point(1, 2), '{}', 'f9e7c3a0-0000-11ee-8000-00000000000a', '::1', 'q', now(6)"
)


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_is_read(kind: str, pair: Pair, conn: Conn) -> None:
    """The key in a row's image is the literal that finds the row, and that the row gives."""
    run(conn, f'create table t ({_BEFORE}, `K "ey` {kind} not null primary key)')
    names = "a, b, c, d, e, f, g, h, i, j, k, l, m, n, q, r"
    start = f'insert into t ({names}, `K "ey`) values ({_VALUES}'  # noqa: S608
    inserts = [f"{start}, {value})" for value in KEYS[kind]]
    keys = logged(conn, pair, *inserts).tables["t"].keys
    table = catalog_of(conn, pair).tables["t"]
    fields = ", ".join(compare.key_fields(table))
    assert {(str(row[0]),) for row in fetch(conn, f"select {fields} from t")} == set(keys)  # noqa: S608
    assert len(keys) == len(KEYS[kind])
    gone = logged(conn, pair, "update t set a = 1", "delete from t")
    assert set(gone.tables["t"].keys) == set(keys)


def test_both_keys_of_a_moved_row(pair: Pair, conn: Conn) -> None:
    """A key that changes counts with what it was and with what it is; order is the key's."""
    run(conn, "create table t (x int, b varchar(9), a int, primary key (a, b)) charset utf8mb4")
    run(conn, "insert into t values (0, 'é', 1)")
    changes = logged(conn, pair, "update t set a = 2", "update t set x = 3")
    literal = "_utf8mb4 x'c3a9'"
    assert set(changes.tables["t"].keys) == {("1", literal), ("2", literal)}


def test_a_compressed_log_is_read(pair: Pair, conn: Conn) -> None:
    """Rows that the server compressed are the same rows."""
    run(conn, "create table t (id int primary key, v text)")
    run(conn, "set global log_bin_compress = 1, log_bin_compress_min_len = 10")
    try:
        with closing(connect(pair[0].where)) as fresh:
            changes = logged(fresh, pair, "insert into t values (7, repeat('long', 500))")
    finally:
        run(conn, "set global log_bin_compress = 0, log_bin_compress_min_len = 256")
    assert set(changes.tables["t"].keys) == {("7",)}


def test_rows_that_a_foreign_key_changes(pair: Pair, conn: Conn) -> None:
    """The log is silent about them; what they referred to is remembered, with the columns."""
    run(conn, "create table `P a` (id int primary key)")
    run(
        conn,
        "create table c (id int primary key, p int, foreign key (p) references `P a` (id)"
        " on delete cascade on update cascade)",
    )
    run(conn, "insert into `P a` values (1), (2), (3)")
    run(conn, "insert into c values (10, 1), (20, 2), (30, 3)")
    changes = logged(
        conn, pair, "delete from `P a` where id = 1", "update `P a` set id = 9 where id = 2"
    )
    assert set(changes.tables["c"].gone) == {("p",)}
    assert set(changes.tables["c"].gone["p",]) == {("1",), ("2",)}


def test_what_a_file_keeps_comes_back(pair: Pair, conn: Conn) -> None:
    """The rest survives a process."""
    run(conn, "create table t (id int primary key)")
    run(conn, "create table u (a int)")
    changes = logged(conn, pair, "insert into t values (1)", "insert into u values (1)")
    other = Changes(catalog_of(conn, pair))
    other.restore(changes.as_json())
    assert other.tables == changes.tables
    assert other.tables["u"].whole
    assert not other.tables["t"].whole


def test_a_log_that_was_removed(pair: Pair, conn: Conn) -> None:
    """It is told apart from other trouble."""
    since = here(conn)
    run(conn, "flush binary logs")

    # a log is kept while a reader of an earlier test seems to be there, or a crash would need it
    def removed() -> bool:
        run(conn, "purge binary logs to %s", (here(conn).file,))
        return since.file not in {row[0] for row in fetch(conn, "show binary logs")}

    eventually(removed)
    with closing(Log(pair[0].where, since)) as log, pytest.raises(Failed) as failed:
        list(log.read(here(conn), patience=20))
    assert failed.value.code == "changes-not-kept"


def test_a_prepared_transaction_is_refused(pair: Pair, conn: Conn) -> None:
    """Its rows would be seen long before they count."""
    run(conn, "create table t (id int primary key)")
    since = here(conn)
    for words in ("start 'x'", None, "end 'x'", "prepare 'x'", "commit 'x'"):
        run(conn, f"xa {words}" if words else "insert into t values (1)")
    with closing(Log(pair[0].where, since)) as log, pytest.raises(Failed, match="XA"):
        list(log.read(here(conn), patience=20))


def test_a_log_without_the_right_to_read_it(pair: Pair, old_server: MariadbServer) -> None:
    """The server's own words are told."""
    where = pair[0].where
    with closing(connect(where)) as session:
        log = Log(old_server.endpoint(where.database, user="app"), here(session))
    powerless = replace(log.endpoint, admin="app", admin_password=log.endpoint.password)
    with pytest.raises(Failed) as failed:
        Log(powerless, log.at).probe()
    assert failed.value.code == "changes-not-readable"
    assert "REPLICATION SLAVE" in failed.value.what


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("ALTER TABLE t ADD x int", "schema"),
        ("/* of a framework */ create index i on t (a)", "schema"),
        ("-- so\nDROP TABLE t", "schema"),
        ("truncate t", "truncate"),
        ("/*!50003 drop table t */", "schema"),
        ("insert into t values (1)", "rows"),
        ("SET STATEMENT max_statement_time=1 FOR INSERT INTO t VALUES (1)", "schema"),
        ("# Dummy event replacing event type 160 that slave cannot handle.", "harmless"),
        ("OPTIMIZE TABLE t", "harmless"),
        ("CREATE TEMPORARY TABLE t (i int)", "harmless"),
        ("DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`", "harmless"),
        ("create or replace user u", "harmless"),
        ("SAVEPOINT `a`", "savepoint"),
        ("ROLLBACK TO `a`", "savepoint"),
        ("rename table a to b", "schema"),
    ],
)
def test_what_a_statement_means(statement: str, kind: str) -> None:
    """When in doubt it changes the schema."""
    assert judge(statement) == kind


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("truncate t", "t"),
        ("TRUNCATE TABLE `Ä ``b`", "Ä `b"),
        ('/* x */ truncate table "q" WAIT 5', "q"),
        ("truncate here . t", "t"),
        ("truncate table `elsewhere`.`t`", ""),
        ("truncate t, u", None),
    ],
)
def test_the_table_that_was_emptied(statement: str, table: str | None) -> None:
    """With every way to write its name; nothing where that cannot be told."""
    at = Position.of("log.000001", 4)
    assert truncated(Query(at, "here", statement), "here") == table


def test_an_emptied_table_is_compared_whole(pair: Pair, conn: Conn) -> None:
    """And so are those whose rows refer to it by a foreign key with an action."""
    run(conn, "create table p (id int primary key)")
    run(
        conn,
        "create table c (p int primary key, foreign key (p) references p (id) on delete cascade)",
    )
    changes = Changes(catalog_of(conn, pair))
    changes.take(Truncated("p"))
    assert changes.tables["p"].whole
    assert changes.tables["c"].whole


def test_rows_that_differ_are_named(pair: Pair, conn: Conn, new_server: MariadbServer) -> None:
    """One bit of one column is enough; null and nothing are not the same."""
    new = pair[1]
    name = ident(new.where.database)
    create = f"create table t ({_BEFORE}, id varchar(20) primary key, s text) charset utf8mb4"
    new_server.sql(f"create database {name} comment 'crossfade test'")
    values = "select concat('K', seq), 'same' from seq_1_to_1200"
    with closing(connect(new.where)) as other:
        for session in (conn, other):
            run(session, create)
            run(session, f"insert into t (id, s) {values}")
        table = catalog_of(conn, pair).tables["t"]
        keys = [(f"_utf8mb4 x'{f'K{n}'.encode().hex()}'",) for n in range(1, 1210)]
        with ThreadPoolExecutor(1) as beside:
            assert compare.unequal(beside, conn, other, table, keys) == {}
            assert not compare.whole(beside, conn, other, table)
            run(conn, "update t set s = null where id = 'K7'")
            run(other, "update t set s = '' where id = 'K7'")
            run(other, "update t set i = 1e-30 where id = 'K700'")
            run(other, "delete from t where id = 'K1200'")
            run(other, "update t set id = 'k9' where id = 'K9'")
            found = compare.unequal(beside, conn, other, table, keys)
            assert compare.whole(beside, conn, other, table)
    differing = {bytes.fromhex(key[0].split("'")[1]).decode() for key in found}
    assert differing == {"K7", "K700", "K1200", "K9", "k9"}


def test_the_order_of_rows_is_no_difference(
    pair: Pair, conn: Conn, new_server: MariadbServer
) -> None:
    """Without a key it is the order of writing on one side, and of committing on the other."""
    new = pair[1]
    new_server.sql(f"create database {ident(new.where.database)} comment 'crossfade test'")
    with closing(connect(new.where)) as other, ThreadPoolExecutor(1) as beside:
        for session, order in ((conn, "asc"), (other, "desc")):
            run(session, "create table t (a int, b varchar(30))")
            run(session, f"insert into t select seq, 'x' from seq_1_to_99 order by seq {order}")  # noqa: S608
        table = catalog_of(conn, pair).tables["t"]
        assert not compare.whole(beside, conn, other, table)
        run(other, "update t set a = a + 1 where a = 99")
        assert compare.whole(beside, conn, other, table)
