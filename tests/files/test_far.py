"""Trees on other machines: the contract, on this machine alone and by way of a real sshd."""

from __future__ import annotations

import os
import pwd
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.testbed.sshd import Sshd, code_of

from crossfade.drivers.files._far_hash import BIG
from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.ports import Files
from crossfade.testing.files import FilesContract
from crossfade.testing.trees import picture

MB = 1 << 20


class TestHere(FilesContract):
    """Both trees on this machine."""

    attributes_seen = False
    any_depth = False

    def files(self, path: Path) -> Files:
        """A tree of this machine."""
        return FarTree("uploads", path, LocalHost(), local=LocalHost())


class TestThere(TestHere):
    """From this machine to another."""

    @pytest.fixture(autouse=True)
    def reached(self, far: SshHost) -> None:
        """The host that is tried."""
        self._far = far

    def target(self, path: Path) -> Files:
        """A tree there."""
        return FarTree("uploads", path, self._far, local=LocalHost())


class TestBetween(TestThere):
    """From one other machine to another."""

    def files(self, path: Path) -> Files:
        """A tree there."""
        return FarTree("uploads", path, self._far, local=LocalHost())


def made(path: Path) -> tuple[int, int, int]:
    """What is another once a file was made anew or touched; being read does not count."""
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize("account", ["nobody", "4321", "nobody:daemon"])
def test_trees_of_another_account(tmp_path: Path, account: str) -> None:
    """Everything that comes belongs to the target's account, in later passes, too; it is equal all
    the same, and what is there already is left alone."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "one").write_text("one")
    (source / "link").symlink_to("deep/one")
    here = FarTree("uploads", source, LocalHost(), local=LocalHost())
    there = FarTree("uploads", target, LocalHost(), local=LocalHost())
    there.belong_to(account)
    here.copy_to(there)
    (source / "deep" / "two").write_text("two")
    (source / "deep" / "one").write_text("other")
    before = made(target / "link")
    here.copy_to(there)
    assert not here.digest().differences(there.digest())
    name = account.partition(":")[0]
    uid = int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    assert {p.lstat().st_uid for p in [target, *target.rglob("*")]} == {uid}
    assert (target / "deep" / "one").read_text() == "other"
    assert made(target / "link") == before


def test_big_files_go_by_blocks(tmp_path: Path) -> None:
    """Of a big file only the blocks that differ are sent, and it keeps its metadata."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a b").mkdir(parents=True)
    big = source / "a b" / "-big\n"
    with big.open("wb") as file:
        for _ in range(70):
            file.write(os.urandom(MB))
        file.truncate(100 * MB)
    big.chmod(0o640)
    os.utime(big, ns=(1, 1_600_000_000_123_456_789))
    files, copy = FarTree("t", source, LocalHost()), FarTree("t", target, LocalHost())
    files.copy_to(copy)
    assert picture(target) == picture(source)
    assert (target / "a b" / "-big\n").stat().st_blocks * 512 < 80 * MB
    with big.open("r+b") as file:
        file.seek(33 * MB)
        file.write(b"changed")
        file.truncate(90 * MB + 5)
    files.copy_to(copy)
    assert picture(target) == picture(source)
    assert files.digest().differences(copy.digest()) == ()


def test_attributes_of_big_files(tmp_path: Path) -> None:
    """They come along with a file that would else go by blocks."""
    here = LocalHost()
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    for name in ("plain", "noted"):
        with (one / name).open("wb") as file:
            file.write(b"begin")
            file.truncate(BIG + 5)
    os.setxattr(one / "noted", "user.note", b"kept")
    source, target = FarTree("t", one, here), FarTree("t", two, here)
    source.copy_to(target)
    assert source.digest() == target.digest()
    assert os.getxattr(two / "noted", "user.note") == b"kept"
    assert os.listxattr(two / "plain") == []


def test_a_link_that_drops(
    make_sshd: Callable[..., Sshd], make_host: Callable[..., SshHost], tmp_path: Path
) -> None:
    """What is cut off goes on by itself; no half file ever has a real name."""
    source, target = tmp_path / "source", tmp_path / "target"
    for number in range(300):
        (source / str(number % 7)).mkdir(parents=True, exist_ok=True)
        (source / str(number % 7) / str(number)).write_bytes(os.urandom(200_000))
    (source / "big").write_bytes(os.urandom(80 * MB))
    sshd = make_sshd()
    host = make_host(sshd)
    files = FarTree("t", source, LocalHost(), rate=60 * MB)
    done: list[int] = []
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(1.1):
            if target.exists():
                names = {one.name for one in target.iterdir()} - {".crossfade-arriving"}
                assert not names
            sshd.cut_off()
            if len(done) > 3:
                return
            done.append(1)

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        files.copy_to(FarTree("t", target, host))
    finally:
        stop.set()
        cutter.join()
    assert done
    assert picture(target) == picture(source)


def test_a_link_that_stays_down(
    make_sshd: Callable[..., Sshd], make_host: Callable[..., SshHost], tmp_path: Path
) -> None:
    """After the patience the error says so, and the target has nothing under a real name."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(30 * MB))
    sshd = make_sshd()
    host = make_host(sshd, patience=2.0)
    files = FarTree("t", source, LocalHost(), rate=5 * MB, patience=2.0)
    threading.Timer(2.0, sshd.stop).start()
    code = code_of(lambda: files.copy_to(FarTree("t", target, host)))
    assert code in ("host-lost", "host-unreachable")
    assert not (target / "file").exists()


def test_full_disk(tmp_path: Path) -> None:
    """A target's disk that is full is told so."""
    source, disk = tmp_path / "source", tmp_path / "disk"
    source.mkdir()
    disk.mkdir()
    (source / "file").write_bytes(os.urandom(3 * MB))
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "none", disk), check=True)
    try:
        host = LocalHost()
        files = FarTree("t", source, host)
        assert code_of(lambda: files.copy_to(FarTree("t", disk / "t", host))) == "disk-full"
        assert not (disk / "t" / "file").exists()
    finally:
        subprocess.run(("umount", disk), check=True)


def test_rate(tmp_path: Path) -> None:
    """No more bytes a second than were allowed."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(3 * MB))
    host, began = LocalHost(), time.monotonic()
    FarTree("t", source, host, rate=2 * MB).copy_to(FarTree("t", tmp_path / "target", host))
    assert time.monotonic() - began > 1.3
