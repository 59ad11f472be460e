"""What goes over a link between machines: compressed where that is quicker, and no faster than
allowed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from tests.testbed.machines import Machine

from crossfade.drivers.databases.sqlite_far import FarSqlite
from crossfade.drivers.files._far_squeeze import _WAYS, Squeeze
from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost

MB = 1 << 20


@pytest.mark.parametrize("name", ["zstd", "gzip"])
def test_the_commands_statuses_stay(name: str) -> None:
    """Compressed or not, a command gets the same bytes, and its failure is told."""
    out, into, _ = _WAYS[name]
    way = Squeeze(out, into)
    read = subprocess.run(way.reader(("printf", "some\\0bytes")), capture_output=True, check=True)
    keeps = way.writer(("sh", "-c", "cat >&2"))
    written = subprocess.run(keeps, input=read.stdout, capture_output=True, check=True)
    assert written.stderr == b"some\0bytes"
    failing = ("sh", "-c", "cat >/dev/null; exit 7")
    assert (
        subprocess.run(way.reader(failing), stdin=subprocess.DEVNULL, check=False).returncode == 7
    )
    ended = subprocess.run(way.writer(failing), input=read.stdout, check=False)
    assert ended.returncode == 7
    cut = subprocess.run(keeps, input=read.stdout[:-3], capture_output=True, check=False)
    assert cut.returncode == 1


def test_a_slow_link(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    """What can be compressed takes a small part of the time that its bytes would need."""
    there = machines[0]
    plain = tmp_path / "plain"
    plain.mkdir()
    portion = os.urandom(512)
    for number in range(20):
        (plain / str(number)).write_bytes((portion + b"0" * 7680) * 128)
    host, here = SshHost(there.name, config=there.config), LocalHost()
    host.connect()
    try:
        source = FarTree("plain", plain, here)
        target = FarTree("plain", Path("/var/tmp/plain"), host)
        with there.slow(16):
            began = time.monotonic()
            source.copy_to(target)
            taken = time.monotonic() - began
        assert taken < 0.8 * 20 * MB / 2e6
        assert source.digest().differences(target.digest()) == ()
    finally:
        host.remove(Path("/var/tmp/plain"))
        host.close()


def test_rate_of_a_database(tmp_path: Path) -> None:
    """Fetched and placed no faster than allowed, except inside the pause."""
    path = tmp_path / "there.db"
    with sqlite3.connect(path) as database:
        database.execute("create table t (b blob)")
        database.execute("insert into t values (zeroblob(2000000))")
    database.close()
    far = FarSqlite("d", path, LocalHost(), rate=2_000_000)
    began = time.monotonic()
    far.copy_to(tmp_path / "copy")
    fetched = time.monotonic()
    FarSqlite("d", tmp_path / "placed", LocalHost(), rate=2_000_000).place(tmp_path / "copy")
    placed = time.monotonic()
    assert fetched - began > 0.9
    assert placed - fetched > 0.9
    assert far.hurried().rate == 0
    assert far.hurried().path == far.path
