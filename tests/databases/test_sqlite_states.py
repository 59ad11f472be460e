"""Copies of SQLite databases in every state in which an application may have left them."""

# ruff: noqa: S608 - statements are made from constants of this file

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases.sqlite_site import Client, SqliteSite, picture, rows, run, sqlite_site

from crossfade.drivers.databases.sqlite import SqliteDatabase, digests, same_bytes
from crossfade.errors import Failed


@pytest.fixture(params=["wal", "delete", "truncate", "persist"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteSite]:
    """A site in each journal mode that leaves files."""
    with sqlite_site(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def wal_site(tmp_path: Path) -> Iterator[SqliteSite]:
    """A site in WAL mode."""
    with sqlite_site(tmp_path, "wal") as made:
        yield made


@pytest.fixture
def hot(tmp_path: Path) -> Iterator[SqliteSite]:
    """A site whose writer was killed in the middle of a large commit, with a hot journal left."""
    with sqlite_site(tmp_path, "delete") as made:
        run(
            made.path,
            "CREATE TABLE big (a)",
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<2000)"
            " INSERT INTO big SELECT hex(zeroblob(400)) FROM n",
        )
        clean = made.path.read_bytes()
        with Client(made.path) as writer:
            assert writer.do("PRAGMA cache_size=5") == "ok"
            assert writer.do("BEGIN") == "ok"
            assert writer.do("UPDATE big SET a = hex(zeroblob(401))") == "ok"
        assert made.path.read_bytes() != clean
        assert made.path.with_name("app.db-journal").stat().st_size > 512
        yield made


def test_copy_is_one_private_file(site: SqliteSite) -> None:
    """A copy needs no WAL, has mode 0600, keeps the journal mode, and nothing is left beside it."""
    with Client(site.path) as writer:
        assert writer.do("INSERT INTO tokens VALUES ('t', 1)") == "ok"
        seen: list[tuple[int, int | None]] = []
        size = site.old.copy_to(site.scratch / "copy", lambda done, all_: seen.append((done, all_)))
    copy = site.scratch / "copy"
    assert [path.name for path in site.scratch.iterdir()] == ["copy"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.stat().st_size == size
    assert seen[-1][0] == seen[-1][1]
    assert copy.read_bytes()[18:20] == site.path.read_bytes()[18:20]
    assert rows(copy, "SELECT token FROM tokens") == [("t",)]


def test_stopped_application_leaves_a_file_that_is_read_as_it_is(site: SqliteSite) -> None:
    """With nobody connected, nothing is made beside the file, and the bytes are copied."""
    before = picture(site.path.parent)
    site.old.copy_to(site.scratch / "copy")
    site.new.place(site.scratch / "copy")
    one, two = digests(site.old, site.new)  # type: ignore[arg-type]
    assert one == two == site.new.digest()
    assert same_bytes(site.old, site.new).holds  # type: ignore[arg-type]
    assert before == picture(site.path.parent)


@pytest.mark.parametrize("index", ["left", "lost"])
def test_left_wal_is_recovered_in_the_copy_only(wal_site: SqliteSite, index: str) -> None:
    """An application that was killed leaves commits in its WAL: they are in the copy."""
    with Client(wal_site.path) as writer:
        for i in range(50):
            assert writer.do(f"INSERT INTO tokens VALUES ('t{i}', 1)") == "ok"
    if index == "lost":
        wal_site.path.with_name("app.db-shm").unlink()
    before, position = picture(wal_site.path.parent), wal_site.old.position()
    wal_site.old.copy_to(wal_site.scratch / "copy")
    wal_site.new.place(wal_site.scratch / "copy")
    assert wal_site.tokens(wal_site.new) == {f"t{i}" for i in range(50)}
    one, two = digests(wal_site.old, wal_site.new)  # type: ignore[arg-type]
    assert one == two
    assert wal_site.old.sound().holds
    assert position == wal_site.old.position()
    assert before == picture(wal_site.path.parent)
    assert wal_site.tokens(wal_site.old) == {f"t{i}" for i in range(50)}


def test_left_wal_is_fenced_and_copied_behind_the_fence(wal_site: SqliteSite) -> None:
    """The fence uses the index that was left; afterwards the application recovers as usual."""
    with Client(wal_site.path) as writer:
        assert writer.do("INSERT INTO tokens VALUES ('t', 1)") == "ok"
    before = picture(wal_site.path.parent)
    fence = wal_site.old.fence()
    assert wal_site.old.prove_fence().holds
    wal_site.old.copy_to(wal_site.scratch / "copy")
    wal_site.new.place(wal_site.scratch / "copy")
    assert wal_site.old.digest() == wal_site.new.digest()
    assert before == picture(wal_site.path.parent)
    assert "lock" in wal_site.write_once()  # after SQLite's own ten seconds of trying
    fence.close()
    assert wal_site.write_once() == ""
    assert "t" in wal_site.tokens(wal_site.old)


def test_hot_journal_is_played_back_in_the_copy_only(hot: SqliteSite) -> None:
    """What a killed writer had not committed is not in the copy, and the old side is untouched."""
    before = picture(hot.path.parent)
    hot.old.copy_to(hot.scratch / "copy")
    hot.new.place(hot.scratch / "copy")
    assert hot.old.digest() == hot.new.digest()
    assert hot.old.sound().holds
    assert before == picture(hot.path.parent)
    assert rows(hot.placed, "SELECT DISTINCT length(a) FROM big") == [(800,)]


def test_fence_over_a_hot_journal_misleads_no_reader(hot: SqliteSite) -> None:
    """Nobody writes, and nobody takes the half-written file for the truth either."""
    fence = hot.old.fence()
    assert hot.old.prove_fence().holds
    assert "locked" in hot.write_once()
    with Client(hot.path) as reader:
        assert "locked" in reader.do("SELECT count(*) FROM big")
    hot.old.copy_to(hot.scratch / "copy")
    assert rows(hot.scratch / "copy", "SELECT DISTINCT length(a) FROM big") == [(800,)]
    fence.close()
    assert hot.write_once() == ""


@pytest.mark.parametrize("harm", ["truncated", "garbage", "short", "bad page"])
def test_corrupt_file_is_refused(tmp_path: Path, harm: str) -> None:
    """A broken file is told as such by copy, digest and check, and no copy is left."""
    path = tmp_path / "app.db"
    insert = "INSERT INTO t SELECT hex(randomblob(300)) FROM t, t AS u LIMIT 4000"
    run(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)", *[insert] * 9)
    data = bytearray(path.read_bytes())
    if harm == "truncated":
        del data[len(data) // 2 :]
    elif harm == "bad page":
        data[4096 * 8 : 4096 * 40] = b"\xff" * (4096 * 32)
    else:
        data = bytearray(b"\x07" * 50 if harm == "short" else b"no database at all! " * 5000)
    path.write_bytes(data)
    database = SqliteDatabase("app", path)
    for attempt in (lambda: database.copy_to(tmp_path / "copy"), database.digest):
        with pytest.raises(Failed) as caught:
            attempt()
        assert caught.value.code == "database-corrupt"
    assert not database.sound().holds
    assert [path.name for path in tmp_path.iterdir()] == ["app.db"]


def test_locked_database_names_the_holder(site: SqliteSite) -> None:
    """A lock that outlasts our patience is an error with the holder's process id."""
    database = SqliteDatabase("app", site.path, busy_timeout=0.2)
    with Client(site.path) as holder:
        assert holder.do("PRAGMA locking_mode=EXCLUSIVE") == "ok"
        assert holder.do("BEGIN EXCLUSIVE") == "ok"
        assert holder.do("INSERT INTO kinds VALUES (7)") == "ok"
        if site.path.read_bytes()[19] == 2:
            assert holder.do("COMMIT") == "ok"
            assert holder.do("PRAGMA journal_mode=delete") == "ok"
            assert holder.do("BEGIN EXCLUSIVE") == "ok"
        for attempt in (lambda: database.copy_to(site.scratch / "copy"), database.digest):
            with pytest.raises(Failed) as caught:
                attempt()
            assert caught.value.code == "database-locked"
            assert f"pid {holder.process.pid} " in caught.value.what
    assert list(site.scratch.iterdir()) == []


def test_missing_or_strange_file_is_told(tmp_path: Path) -> None:
    """A missing file, a directory in its place, and an impossible target: own codes."""
    for path, code in (
        (tmp_path / "none.db", "database-missing"),
        (tmp_path, "database-unreadable"),
    ):
        database = SqliteDatabase("app", path)
        attempts = (database.digest, database.describe, database.position, database.fence)
        for attempt in (*attempts, lambda d=database: d.copy_to(tmp_path / "copy")):
            with pytest.raises(Failed) as caught:
                attempt()
            assert caught.value.code == code
    run(tmp_path / "app.db", "CREATE TABLE t (a)")
    (tmp_path / "file").touch()
    with pytest.raises(Failed) as caught:
        SqliteDatabase("app", tmp_path / "app.db").copy_to(tmp_path / "file" / "copy")
    assert caught.value.code == "database-io"


COPY_TO = """
import os, resource, sys
from pathlib import Path
from crossfade.drivers.databases.sqlite import SqliteDatabase
from crossfade.errors import Failed
path, target, limit, user = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user and os.geteuid() == 0:
    os.setuid(user)
try:
    SqliteDatabase("app", path).copy_to(target)
except Failed as failure:
    print(failure.code, sorted(p.name for p in target.parent.iterdir()))
"""


def _copy_elsewhere(path: Path, target: Path, *, limit: int = 0, user: int = 0) -> str:
    argv = (sys.executable, "-c", COPY_TO, str(path), str(target), str(limit), str(user))
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_unreadable_file_is_told(tmp_path: Path) -> None:
    """A file that our user may not read is told as such."""
    run(tmp_path / "app.db", "CREATE TABLE t (a)")
    (tmp_path / "app.db").chmod(0)
    (tmp_path / "out").mkdir(mode=0o777)
    for directory in (tmp_path, *tmp_path.parents[:3]):
        if directory.owner() == tmp_path.owner() and directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    told = _copy_elsewhere(tmp_path / "app.db", tmp_path / "out" / "copy", user=65534)
    assert told == "database-unreadable []"


def test_full_disk_leaves_no_partial_copy(wal_site: SqliteSite) -> None:
    """When space runs out, be it in the copy or in its recovery, nothing is left of it."""
    with Client(wal_site.path) as writer:
        assert writer.do("INSERT INTO kinds VALUES (zeroblob(3000000))") == "ok"
        assert wal_site.path.with_name("app.db-wal").stat().st_size > 3_000_000
        for limit in (1_000_000, 3_100_000):
            run_out = wal_site.scratch / f"{limit}"
            run_out.mkdir()
            told = _copy_elsewhere(wal_site.path, run_out / "copy", limit=limit)
            assert told in ("disk-full []", "")
            assert (told == "") == (run_out / "copy").exists()
        assert not (wal_site.scratch / "1000000" / "copy").exists()


def test_full_file_system_leaves_no_partial_copy(tmp_path: Path) -> None:
    """On a tiny file system the copy fails with disk-full and gives its space back.

    As root on a real tmpfs in a mount namespace of its own; else with a limit of file sizes.
    """
    path, tiny = tmp_path / "app.db", tmp_path / "tiny"
    tiny.mkdir()
    run(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(5000000))")
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"'
    enter = ("unshare", "-m", "sh", "-c", script, "sh", str(tiny))
    program = (sys.executable, "-c", COPY_TO, str(path), str(tiny / "copy"))
    may = shutil.which("unshare") and subprocess.run(
        (*enter, "true"), capture_output=True, check=False
    )
    if may and may.returncode == 0:
        done = subprocess.run(
            (*enter, *program, "0", "0"), capture_output=True, text=True, check=True
        )
    else:
        done = subprocess.run(
            (*program, "1000000", "0"), capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "disk-full []"


def test_placing_keeps_mode_and_clears_what_belonged_to_the_file_before(site: SqliteSite) -> None:
    """A new file is private; a file that was there hands on its mode; stale files are removed."""
    site.old.copy_to(site.scratch / "copy")
    site.new.place(site.scratch / "copy")
    assert site.placed.stat().st_mode & 0o777 == 0o600
    site.placed.chmod(0o640)
    for ending in ("-wal", "-shm", "-journal"):
        site.placed.with_name(site.placed.name + ending).write_bytes(b"stale")
    site.new.place(site.scratch / "copy")
    assert site.placed.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in site.placed.parent.iterdir()] == ["app.db"]


def test_placing_under_a_running_application_is_refused(site: SqliteSite) -> None:
    """An application that still runs would go on writing to a file without a name."""
    site.old.copy_to(site.scratch / "copy")
    site.new.place(site.scratch / "copy")
    with Client(site.placed) as client:
        assert client.do("INSERT INTO kinds VALUES (1)") == "ok"
        with pytest.raises(Failed) as caught:
            site.new.place(site.scratch / "copy")
        assert caught.value.code == "database-in-use"
        assert f"pid {client.process.pid} " in caught.value.what
