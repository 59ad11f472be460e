"""Every kind of object that MariaDB has, carried to another server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.mysql.conftest import place_for
from tests.mysql.doing import On, broken, sql

from crossfade.drivers.databases.mysql import programs
from crossfade.drivers.databases.mysql.connect import connect, fetch, ident
from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.testing.servers import MariadbServer

CATALOGUE = Path(__file__).with_name("catalogue.sql")


@pytest.fixture
def filled(
    pair: tuple[MysqlDatabase, MysqlDatabase], old_server: MariadbServer
) -> tuple[MysqlDatabase, MysqlDatabase]:
    """The pair, the old one with everything in it."""
    old, _ = pair
    with programs.access(old.where) as by, CATALOGUE.open("rb") as script:
        subprocess.run(
            (old_server.program("mariadb"), by, "--default-character-set=utf8mb4",
             old.where.database),
            stdin=script,
            check=True,
        )  # fmt: skip
    return pair


def test_everything_is_carried(
    filled: tuple[MysqlDatabase, MysqlDatabase], directory: Path
) -> None:
    """Definitions are equal by mariadb-dump, rows by CHECKSUM TABLE; events come to life last."""
    old, new = filled
    carrier = old.carrier(new, directory, "crossfade_test")
    assert carrier.preview().problems == ()
    on = On()
    assert broken(list(carrier.keep(on, directory).findings)) == []
    assert carrier.leavings() == ()
    assert broken(carrier.back_up(on) + carrier.restore(on)) == []
    old.fence()
    mark = carrier.mark()
    assert broken(carrier.bring_last(on, still=True)) == []
    assert old.prove_fence().holds
    assert carrier.mark() == mark
    assert {status for _, status in _events(new)} == {"DISABLED"}
    held = old.held
    assert held is not None
    held.close()
    carrier.after_commit(on)
    assert _events(new) == _events(old)
    assert old.digest() == new.digest()
    assert _dumped(old.where) == _dumped(new.where)
    assert broken(carrier.let_go()) == []
    reader = connect(new.where, as_app=True)
    assert fetch(reader, "select loud from `of columns` where loud like 'Null%'") == [("Null!",)]
    assert fetch(reader, "select ansi(), twice(4)") == [("ab", 8)]
    taken = fetch(reader, "select nextval(`Nummern é`)")[0][0]
    assert taken >= 100 + 5 * 4
    reader.close()


def test_another_name(
    filled: tuple[MysqlDatabase, MysqlDatabase], directory: Path, new_server: MariadbServer
) -> None:
    """The new database may have another name; tables and rows are equal all the same."""
    old, _ = filled
    new = MysqlDatabase("main", place_for(old, new_server, "ganz anders"))
    carrier = old.carrier(new, directory, "crossfade_name")
    on = On()
    try:
        assert broken(carrier.back_up(on) + carrier.restore(on)) == []
        assert broken(carrier.bring_last(on, still=False)) == []
        reader = connect(new.where, as_app=True)
        assert fetch(reader, "select count(*) from plain") == [(4,)]
        reader.close()
    finally:
        new.remove()


def test_retired(filled: tuple[MysqlDatabase, MysqlDatabase], directory: Path) -> None:
    """The archive is loaded and compared before the old database is dropped."""
    old, new = filled
    carrier = old.carrier(new, directory, "crossfade_end")
    on = On()
    assert broken(carrier.back_up(on) + carrier.restore(on)) == []
    assert broken(carrier.bring_last(on, still=False)) == []
    findings = carrier.retire(on, directory / "archive")
    assert broken(findings) == []
    assert (directory / "archive" / "main.sql.gz").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Failed) as caught:
        old.digest()
    assert caught.value.code == "database-missing"
    assert broken(carrier.retire(on, directory / "archive")) == []
    with pytest.raises(Failed) as kept:  # it is the application's now
        new.remove()
    assert kept.value.code == "new-place-in-use"
    session = connect(new.where, database="")
    with session.cursor() as cursor:
        cursor.execute(f"drop database {ident(new.where.database)}")
    session.close()


def test_a_huge_value(
    pair: tuple[MysqlDatabase, MysqlDatabase], directory: Path, old_server: MariadbServer
) -> None:
    """A value that is longer than a packet of the protocol is carried whole."""
    old, new = pair
    sql(
        old_server,
        old,
        "create table big (id int primary key, v longblob)",
        "insert into big values (1, repeat('y', 16777230)), (2, 'small')",
    )
    carrier = old.carrier(new, directory, "crossfade_big")
    on = On()
    assert broken(carrier.back_up(on) + carrier.restore(on)) == []


def _events(database: MysqlDatabase) -> list[tuple[str, str]]:
    session = connect(database.where)
    rows = fetch(
        session,
        "select event_name, status from information_schema.events where event_schema = %s"
        " order by 1",
        (database.where.database,),
    )
    session.close()
    return [(str(name), str(status)) for name, status in rows]


def _dumped(endpoint: Endpoint) -> str:
    """Everything but rows and counters, as the client writes it."""
    with programs.access(endpoint) as by:
        options = ("--no-data", "--routines", "--triggers", "--skip-comments", "--skip-dump-date")
        done = subprocess.run(
            (programs.find_program("dump"), by, *options, endpoint.database),
            stdout=subprocess.PIPE,
            check=True,
        )
    lines = done.stdout.decode().splitlines()
    return "\n".join(line for line in lines if not line.startswith("DO SETVAL"))


def test_a_directory_that_is_not_empty(
    filled: tuple[MysqlDatabase, MysqlDatabase], directory: Path, old_server: MariadbServer
) -> None:
    """The server leaves alone what is not its own.  The archive is proven by then; once the file
    is away the database is dropped."""
    old, new = filled
    carrier = old.carrier(new, directory, "crossfade_stray")
    on = On()
    assert broken(carrier.back_up(on) + carrier.restore(on)) == []
    assert broken(carrier.bring_last(on, still=False)) == []
    places = [path.parent for path in old_server.data.rglob("plain.ibd")]
    place = max(places, key=lambda path: path.stat().st_mtime_ns)
    stray = place / "notes.txt"
    stray.write_text("somebody's")
    with pytest.raises(Failed) as caught:
        carrier.retire(on, directory / "archive-1")
    assert caught.value.code == "database-directory-not-empty"
    assert str(old_server.data) in caught.value.where
    assert stray.read_text() == "somebody's"
    stray.unlink()
    assert broken(carrier.retire(on, directory / "archive-2")) == []
    assert not place.exists()
    session = connect(new.where, database="")
    with session.cursor() as cursor:
        cursor.execute(f"drop database {ident(new.where.database)}")
    session.close()
