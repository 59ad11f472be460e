"""SQLite under load and in races: consistent copies, exact fences, polite readers."""

# ruff: noqa: S608 - statements are made from constants of this file

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.databases.sqlite_site import Client, SqliteSite, WriterProcess, rows, run, sqlite_site

from crossfade.drivers.databases.sqlite_reading import read_still
from crossfade.errors import Failed
from crossfade.ports import Held
from crossfade.testing.databases import eventually

TRANSFERS = """
import random, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute(f"PRAGMA wal_autocheckpoint={sys.argv[2]}")
connection.execute("PRAGMA synchronous=OFF")
print("begun", flush=True)
n = 0
while True:
    n += 1
    a, b, amount = random.randrange(500), random.randrange(500), random.randrange(9)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE accounts SET money = money - ? WHERE id = ?", (amount, a))
    connection.execute("UPDATE accounts SET money = money + ? WHERE id = ?", (amount, b))
    connection.execute("COMMIT")
    if n % 50 == 0 and sys.argv[2] != "0":
        connection.execute("PRAGMA busy_timeout=0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA busy_timeout=30000")
    time.sleep(0.0005)
"""


@pytest.fixture(params=["wal", "delete"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteSite]:
    """A site in each journal mode."""
    with sqlite_site(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def wal_site(tmp_path: Path) -> Iterator[SqliteSite]:
    """A site in WAL mode."""
    with sqlite_site(tmp_path, "wal") as made:
        yield made


def test_copies_are_snapshots_while_the_wal_is_moved_and_begun_anew(site: SqliteSite) -> None:
    """Two writers move money and checkpoint all the time: in every copy the sum is right."""
    run(
        site.path,
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER, filler)",
        "WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM n WHERE i<499)"
        " INSERT INTO accounts SELECT i, 100, zeroblob(3000) FROM n",
    )
    writers = [
        subprocess.Popen(
            (sys.executable, "-c", TRANSFERS, str(site.path), checkpoint), stdout=subprocess.PIPE
        )
        for checkpoint in ("3", "40")
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"begun\n"
        states = set()
        for i in range(30):
            copy = site.scratch / f"copy{i}"
            site.old.copy_to(copy)  # ends with a structural check of its own
            assert rows(copy, "SELECT count(*), sum(money) FROM accounts") == [(500, 50000)]
            states.add(tuple(rows(copy, "SELECT money FROM accounts")))
            for file in site.scratch.iterdir():
                file.unlink()
        assert len(states) > 20
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    assert site.old.sound().holds


def test_every_commit_of_a_lasting_connection_changes_the_position(site: SqliteSite) -> None:
    """Also when the WAL begins anew, and its length and header stay the same."""
    with Client(site.path) as writer:
        assert writer.do("PRAGMA wal_autocheckpoint=4") == "ok"
        seen = [site.old.position()]
        for i in range(60):
            assert writer.do(f"INSERT INTO kinds VALUES ({i})") == "ok"
            seen.append(site.old.position())
            assert seen[-1] == site.old.position()
        assert len(set(seen)) == len(seen)


def test_connection_from_before_the_fence_ends_is_not_harmed(site: SqliteSite) -> None:
    """Who came, and was refused, while the fence held, can write beside others once it is gone."""
    fence = site.old.fence()
    with Client(site.path) as patient:
        assert "locked" in patient.do("BEGIN IMMEDIATE")
        fence.close()
        assert patient.do("INSERT INTO tokens VALUES ('patient', 1)") == "ok"
        assert site.write_once() == ""
        assert patient.do("INSERT INTO tokens VALUES ('again', 1)") == "ok"
        patient.stop()
    assert {"patient", "again"} < site.tokens(site.old)
    assert len(site.tokens(site.old)) == 3
    assert site.old.sound().holds


def _fence_in_a_gap(site: SqliteSite) -> Held:
    """The fence, put up in a moment in which nobody has the database open."""
    taken: list[Held] = []

    def attempt() -> bool:
        with suppress(Failed):
            taken.append(site.old.fence())
        return bool(taken)

    eventually(attempt, "nobody has the database open")
    return taken[0]


def test_fences_that_come_and_go_lose_no_write(site: SqliteSite) -> None:
    """Short-lived writers race against fences: nothing acknowledged is lost, nothing corrupt."""
    code = """
import random, sqlite3, sys, time
while True:
    time.sleep(random.random() / 20)
    connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
    try:
        connection.execute("INSERT INTO tokens VALUES (hex(randomblob(8)), 1)")
        print("written", flush=True)
    except sqlite3.OperationalError:
        pass
    connection.close()
"""
    argv = (sys.executable, "-c", code, str(site.path))
    logs = [site.scratch / "one", site.scratch / "two"]
    writers = []
    for log in logs:
        with log.open("wb") as out:
            writers.append(subprocess.Popen(argv, stdout=out))
    try:
        for _ in range(15):
            fence = _fence_in_a_gap(site)
            assert site.old.prove_fence().holds
            fence.close()
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    written = sum(log.read_bytes().count(b"\n") for log in logs)
    found = rows(site.path, "SELECT count(*) FROM tokens")[0][0]
    assert isinstance(found, int)
    assert written <= found <= written + 2
    assert site.old.sound().holds


def test_long_reading_makes_way_for_a_writer(site: SqliteSite) -> None:
    """Who comes while the file itself is read is let in, and a copy is read instead."""
    files: list[Path] = []
    writers: list[WriterProcess] = []

    def work(file: Path, asked: Callable[[], bool]) -> int:
        files.append(file)
        if file == site.path:
            writers.append(site.start_writer())
            eventually(asked, "we are asked to make way")
            raise sqlite3.OperationalError("interrupted")
        eventually(lambda: len(writers[0].acknowledged()) > 5, "the writer goes on")
        return len(rows(file, "SELECT * FROM tokens"))

    read_still(site.path, work, timeout=10, scratch=site.scratch, fenced=False)
    assert files[0] == site.path
    assert files[1] != site.path
    assert list(site.scratch.iterdir()) == []


AUDIT = """
import os, sys
from pathlib import Path
from crossfade.drivers.databases.sqlite import SqliteDatabase
path, scratch = Path(sys.argv[1]), Path(sys.argv[2])
opened, wrong = [], []
def audit(event, args):
    if event == "open" and str(args[0]).startswith(str(path)):
        opened.append(args[0])
        if args[2] & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
            wrong.append(args)
    if event == "sqlite3.connect" and str(path) in str(args[0]):
        if "immutable=1" not in str(args[0]):
            wrong.append(args)
    if event.startswith(("os.remove", "os.rename", "os.chmod", "os.chown", "os.truncate")):
        if any(str(path) in str(arg) for arg in args):
            wrong.append((event, args))
sys.addaudithook(audit)
database = SqliteDatabase("app", path, scratch=scratch)
database.copy_to(scratch / "copy")
database.digest(), database.sound(), database.position(), database.describe(), database.size()
database.prove_fence()
database.export_beyond(scratch / "copy", scratch / "rows")
print(len(opened) > 5, wrong)
"""


@pytest.mark.parametrize("alive", [True, False])
def test_old_side_is_only_ever_opened_for_reading(site: SqliteSite, alive: bool) -> None:
    """Every opening of a file of the old side, with the application and without, is read-only."""
    with Client(site.path) as client:
        assert client.do("INSERT INTO kinds VALUES (1)") == "ok"
        if not alive:
            client.stop()
        done = subprocess.run(
            (sys.executable, "-c", AUDIT, str(site.path), str(site.scratch)),
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.strip() == "True []"
