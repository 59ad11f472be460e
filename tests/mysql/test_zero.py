"""A row with the number 0 in a column that counts up, as MLflow's first experiment has it."""

from __future__ import annotations

from pathlib import Path

from tests.mysql.doing import On, broken, sql
from tests.mysql.following import asked, cut_over, way

from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.testing.servers import MariadbServer

ZEROS = "set session sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
SCHEMA = (
    "create table t (id int not null auto_increment primary key, v varchar(10))",
    f"{ZEROS}; insert into t values (0, 'first'), (1, 'next')",  # noqa: S608
    "create trigger seen after update on t for each row set @seen = new.id",
)


def test_it_keeps_its_number(
    pair: tuple[MysqlDatabase, MysqlDatabase], directory: Path, old_server: MariadbServer
) -> None:
    """It is copied and followed as it is; a later row gets the number that the old side gave."""
    old, new = pair
    sql(old_server, old, *SCHEMA)
    stream, on = way(pair, directory), On()
    try:
        assert broken(stream.back_up(on) + stream.restore(on)) == []
        sql(old_server, old, "delete from t where id = 0", "insert into t (v) values ('third')")
        sql(old_server, old, f"{ZEROS}; insert into t values (0, 'again')")  # noqa: S608
        assert cut_over(pair, stream) == []
        rows = asked(new, "select id, v from t order by id")
        assert rows == [(0, "again"), (1, "next"), (2, "third")]
        assert rows == asked(old, "select id, v from t order by id")
    finally:
        held = old.held
        if held:
            held.close()
        stream.let_go()
