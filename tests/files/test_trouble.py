"""The tree driver in trouble: other users, full disks, kills, writers; and what it remembers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossfade.drivers.files.tree import TreeFiles
from crossfade.errors import Failed
from crossfade.testing.trees import fill, picture

CHILD = Path(__file__).with_name("child.py")
RSYNC = shutil.which("rsync") or "rsync is missing"
both = pytest.mark.parametrize("rsync", ["", RSYNC], ids=["own", "rsync"])


def child(*words: str | Path, before: tuple[str, ...] = ()) -> list[dict[str, object]]:
    """Run a scenario to its end; what it printed, line by line."""
    argv = (*before, sys.executable, str(CHILD), *map(str, words))
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so, at most a minute."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def settle(path: Path) -> None:
    """Wait until the clock has left the change times of a tree well behind."""
    youngest = max(one.lstat().st_ctime_ns for one in (path, *path.rglob("*")))
    until(lambda: time.time_ns() > youngest + 2_100_000_000)


def bytes_read(do: Callable[[], object]) -> int:
    """How many bytes this process reads by system calls while it does something."""

    def so_far() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = so_far()
    do()
    return so_far() - before


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that an ordinary user may enter and write in."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@both
def test_ordinary_user(open_place: Path, rsync: str) -> None:
    """Who may not give files away owns the copy, and the digests still agree."""
    source = open_place / "source"
    source.mkdir()
    fill(source)
    (source / "private").chmod(0o444)
    (source / "sub" / "empty").chmod(0o555)
    (source / "big").chmod(0o444)
    shut = source / "shut"
    shut.mkdir()
    (shut / "file").write_text("x")
    shut.chmod(0o555)
    (told,) = child("ordinary", source, open_place / "copy", rsync)
    assert told == {"copied": 0, "differences": [], "own": True, "gone": True}


@both
@pytest.mark.parametrize("name", ["file", "directory"])
def test_unreadable(open_place: Path, rsync: str, name: str) -> None:
    """What an ordinary user may not read is named, by its path inside the tree."""
    source = open_place / "source"
    (source / "sub" / "directory").mkdir(parents=True)
    (source / "sub" / "file").write_text("x")
    (source / "sub" / name).chmod(0)
    (told,) = child("ordinary", source, open_place / "copy", rsync)
    assert told["code"] == "file-unreadable"
    assert f"'sub/{name}'" in str(told["what"])


@both
def test_full_disk(tmp_path: Path, rsync: str) -> None:
    """A full disk is an explained error, and the next copy, once there is room, succeeds."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "small").write_text("x")
    (source / "too big").write_bytes(os.urandom(3 << 20))
    first, second = child(
        "small-disk", source, tmp_path / "disk", rsync, before=("unshare", "--mount")
    )
    assert first["code"] == "disk-full"
    assert "copied" in second


@both
def test_killed_in_the_middle(tmp_path: Path, rsync: str) -> None:
    """After kill -9 in the middle of a copy, the next one completes it and clears the rest."""
    source, target = tmp_path / "source", tmp_path / "target"
    for number in range(2000):
        path = source / str(number % 10) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    argv = (sys.executable, str(CHILD), "copy", str(source), str(target), rsync)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        until(lambda: sum(1 for _ in target.glob("*/*")) > 50)
        os.killpg(process.pid, signal.SIGKILL)
    (target / "5").mkdir(exist_ok=True)
    (target / "5" / ".crossfade-0123456789abcdef").write_bytes(b"left behind")
    assert picture(target) != picture(source)
    TreeFiles("uploads", source, rsync=rsync).copy_to(TreeFiles("uploads", target))
    assert picture(target) == picture(source)


@both
def test_while_somebody_writes(tmp_path: Path, rsync: str) -> None:
    """Passes succeed while files come, change and go; one pass after the end makes all equal."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    files = TreeFiles("uploads", source, rsync=rsync)
    argv = (sys.executable, str(CHILD), "write", str(source))
    with subprocess.Popen(argv) as writer:
        try:
            # os.walk leaves out a directory that goes while it is read; rglob raises.
            until(lambda: sum(len(found) for *_, found in os.walk(source)) > 50)
            busy = sum(files.copy_to(TreeFiles("uploads", target)).copied > 0 for _ in range(12))
            files.digest()
        finally:
            writer.kill()
    assert busy >= 6
    before = picture(source, inodes=True)
    files.copy_to(TreeFiles("uploads", target))
    assert picture(source, inodes=True) == before
    assert picture(target) == picture(source)
    assert files.digest().differences(TreeFiles("uploads", target).digest()) == ()


@both
def test_reads_only_what_changed(tmp_path: Path, rsync: str) -> None:
    """Once a tree has been still for two seconds, passes and digests read only what changes."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in range(8):
        (source / str(number)).write_bytes(os.urandom(1 << 20))
    files, copy = TreeFiles("uploads", source, rsync=rsync), TreeFiles("uploads", target)
    settle(source)
    files.copy_to(TreeFiles("uploads", target))
    settle(target)
    assert bytes_read(copy.digest) > 8 << 20
    assert bytes_read(files.digest) > 8 << 20
    assert bytes_read(lambda: files.copy_to(TreeFiles("uploads", target))) < 1 << 18
    (source / "3").write_bytes(os.urandom(1 << 20))
    assert bytes_read(lambda: files.copy_to(TreeFiles("uploads", target))) < 2 << 20
    one, two = files.digest(), copy.digest()
    assert one.differences(two) == ()
    assert bytes_read(files.digest) < 2 << 20
    fresh = TreeFiles("uploads", target).digest()
    assert fresh.differences(one) == ()


@both
def test_young_entries_are_not_trusted(tmp_path: Path, rsync: str) -> None:
    """An entry touched just before a pass or a digest is read again by the next one."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(1 << 20))
    files = TreeFiles("uploads", source, rsync=rsync)
    settle(source)
    (source / "file").chmod(0o640)
    files.copy_to(TreeFiles("uploads", target))
    (source / "file").chmod(0o600)
    files.digest()
    assert bytes_read(files.digest) > 1 << 20
    (source / "file").chmod(0o640)
    files.copy_to(TreeFiles("uploads", target))
    assert bytes_read(lambda: files.copy_to(TreeFiles("uploads", target))) > 1 << 20


def test_a_link_to_the_source_is_no_copy(tmp_path: Path) -> None:
    """A target whose files are hard links to the source's gets files of its own."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("x")
    (target / "file").hardlink_to(source / "file")
    TreeFiles("uploads", source, rsync="").copy_to(TreeFiles("uploads", target))
    assert not (target / "file").samefile(source / "file")
    assert picture(target) == picture(source)


def test_skipped_is_told(tmp_path: Path) -> None:
    """What is left out of a copy is told by name and kind."""
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "fifo")
    files = TreeFiles("uploads", source, rsync="")
    files.copy_to(TreeFiles("uploads", tmp_path / "target"))
    assert not files.skipped
    if os.geteuid() == 0:
        os.mknod(source / "null", 0o600 | 0o020000, os.makedev(1, 3))
        files.copy_to(TreeFiles("uploads", tmp_path / "target"))
        assert files.skipped == ("null (device)",)
        assert not (tmp_path / "target" / "null").exists()


def test_rsync_that_is_missing_or_breaks(tmp_path: Path) -> None:
    """A program that is not there, and one that fails, are explained errors."""
    source = tmp_path / "source"
    source.mkdir()
    for program, code in (("no-such-program", "rsync-missing"), ("false", "rsync-failed")):
        with pytest.raises(Failed) as failed:
            TreeFiles("uploads", source, rsync=program).copy_to(
                TreeFiles("uploads", tmp_path / "target")
            )
        assert failed.value.code == code
