"""Later passes between machines: what is not read again, and what must be seen all the same."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from crossfade.drivers.files._far_hash import _BLOCKS, BIG
from crossfade.drivers.files._far_scan import Known
from crossfade.drivers.files._far_send import _BOTH, _PACK, _PLACE
from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.ports import Completed
from crossfade.testing.trees import picture

MB = 1 << 20


class Watched(LocalHost):
    """This machine, which notes the orders that it was given.  ``before`` and ``after`` are called
    with each order whose output is read."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[str] = []
        self.before: Callable[[str], None] = lambda order: None
        self.after: Callable[[str], None] = lambda order: None

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """As the host does it."""
        self.orders.append(argv[2])
        return super().run(argv, stdin=stdin, timeout=timeout, ok=ok, env=env, cwd=cwd)

    @contextmanager
    def reading(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        """As the host does it."""
        self.orders.append(argv[2])
        self.before(argv[2])
        with super().reading(argv, env=env, cwd=cwd) as stream:
            yield stream
        self.after(argv[2])

    @contextmanager
    def feeding(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        """As the host does it."""
        self.orders.append(argv[2])
        with super().feeding(argv, env=env, cwd=cwd) as stream:
            yield stream


class Pair:
    """A tree and its copy."""

    def __init__(self, directory: Path) -> None:
        self.source, self.target = directory / "source", directory / "target"
        self.source.mkdir()
        self.here, self.there = Watched(), Watched()
        self.files = FarTree("t", self.source, self.here)
        self.copy = FarTree("t", self.target, self.there)

    def passed(self) -> tuple[int, int]:
        """Entries copied and removed by a pass, after which both are equal."""
        self.here.orders.clear()
        self.there.orders.clear()
        report = self.files.copy_to(self.copy)
        return report.copied, report.removed

    def equal(self) -> None:
        """Both are equal, and their digests say so."""
        assert picture(self.target) == picture(self.source)
        assert self.files.digest().differences(self.copy.digest()) == ()

    def settled(self) -> None:
        """A pass that finds all equal, when all changes are old enough to be told from later
        ones."""
        last = time.time_ns()
        while time.time_ns() < last + 3_100_000_000:  # what is waited for is the clock
            time.sleep(0.05)
        assert self.passed() == (0, 0)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """An empty tree, and a place for its copy."""
    return Pair(tmp_path)


def rewritten(path: Path, content: bytes, at: int = 0) -> None:
    """Change a file, so that its size and its time stay."""
    told = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    assert path.stat().st_size == told.st_size
    os.utime(path, ns=(told.st_mtime_ns, told.st_mtime_ns))


def test_a_later_pass_takes_few_orders(pair: Pair) -> None:
    """Two orders there, whatever is to be done, and nothing is read that was read before."""
    for number in range(50):
        (pair.source / str(number)).write_bytes(os.urandom(100))
    pair.passed()
    pair.settled()
    assert pair.passed() == (0, 0)
    assert len(pair.there.orders) == len(pair.here.orders) == 1
    (pair.source / "7").write_bytes(b"changed")
    (pair.source / "8").unlink()
    (pair.source / "new").mkdir()
    copied, removed = pair.passed()
    assert (copied, removed) == (3, 1)  # the root's time is one of them
    assert len(pair.there.orders) == len(pair.here.orders) == 2
    pair.equal()


def test_blocks_are_read_once(pair: Pair) -> None:
    """Of a big file that stands equal on both sides, and then changes, only the source is read."""
    (pair.source / "big").write_bytes(os.urandom(BIG + 5 * MB + 3))
    pair.passed()
    pair.settled()
    assert pair.there.orders.count(_BLOCKS) == 1
    rewritten(pair.source / "big", b"changed", 9 * MB)
    with (pair.source / "big").open("ab") as file:
        file.write(b"more")
    sent: list[int] = []
    pair.there.orders.clear()
    pair.files.copy_to(pair.copy, lambda done, whole: sent.append(done))
    assert _BLOCKS not in pair.there.orders
    pair.equal()


def test_known_blocks_of_a_target_that_was_changed(pair: Pair) -> None:
    """Whoever writes to the target's big file, even so that its size and time stay, is noticed."""
    big = pair.source / "big"
    big.write_bytes(os.urandom(BIG + MB))
    pair.passed()
    pair.settled()
    rewritten(pair.target / "big", b"tampered", 41 * MB)
    rewritten(big, b"changed", 9 * MB)
    os.utime(big, ns=(1, 1_600_000_000_123_456_789))
    pair.passed()
    assert _BLOCKS in pair.there.orders
    pair.equal()


def test_a_big_file_that_looks_the_same(pair: Pair) -> None:
    """One that changed on one side, with its size and time as they were, is brought again."""
    big = pair.source / "big"
    big.write_bytes(os.urandom(BIG + MB))
    pair.passed()
    pair.settled()
    rewritten(big, b"changed", 9 * MB)
    assert pair.passed() == (1, 0)
    pair.equal()


def test_changes_while_a_pass_runs(pair: Pair) -> None:
    """What is written after a pass has looked, or has read it, is brought by the next one, even
    where size and time stay."""
    for name in ("looked at", "sent"):
        (pair.source / name).write_bytes(b"before")
    pair.passed()
    pair.settled()
    (pair.source / "sent").write_bytes(b"second")

    def write(order: str) -> None:
        if order == _PACK:
            for name in ("looked at", "sent"):
                rewritten(pair.source / name, b"latest")

    pair.here.after = write
    assert pair.passed() == (1, 0)
    assert (pair.target / "sent").read_bytes() == b"second"
    pair.here.after = lambda order: None
    assert pair.passed() == (2, 0)
    pair.equal()


def test_a_file_that_grows_in_between(pair: Pair) -> None:
    """More than fits into memory, where a little was expected, goes as a stream."""
    (pair.source / "log").write_bytes(b"a little")
    pair.passed()
    (pair.source / "log").write_bytes(b"a little more")

    def grow(order: str) -> None:
        if order == _PACK:
            os.truncate(pair.source / "log", 0)
            (pair.source / "log").write_bytes(os.urandom(9 * MB))

    pair.here.before = grow
    pair.passed()
    pair.here.before = lambda order: None
    pair.passed()
    pair.equal()


def test_input_that_is_cut_short(tmp_path: Path) -> None:
    """Wherever what is sent ends early, nothing is placed or removed."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_bytes(b"new")
    tar = subprocess.run(("tar", "-cC", source, "-f-", "./file"), capture_output=True, check=True)
    names = b"./gone\0./gone too\0"
    whole = b"%d %d\n" % (len(tar.stdout), len(names)) + tar.stdout + names + b"whole\n"
    target.mkdir()
    for name, content in (("file", "old"), ("gone", ""), ("gone too", "")):
        (target / name).write_text(content)
    before = picture(target)
    argv = ("sh", "-c", _BOTH, "crossfade", str(target), "", "--same-owner")
    end = len(whole)
    for length in (0, 3, 600, end - len(names) - 6, end - 18, end - 7, end - 6, end - 3, end - 1):
        done = subprocess.run(argv, input=whole[:length], capture_output=True, check=False)
        assert done.returncode != 0
        subprocess.run(("rm", "-rf", target / ".crossfade-arriving"), check=True)
        after = picture(target)
        after["."] = before["."]
        assert after == before
    subprocess.run(argv, input=whole, check=True)
    assert {one.name for one in target.iterdir()} == {"file"}
    assert (target / "file").read_bytes() == b"new"


def test_a_list_of_removals_that_is_cut(tmp_path: Path) -> None:
    """A link that breaks within the list of what goes takes nothing away: the name that it broke in
    may be another one's."""
    target = tmp_path / "tree"
    target.mkdir()
    for name in ("gone", "gone too"):
        (target / name).write_text("")
    names = b"./gone too\0"
    argv = ("sh", "-c", _PLACE, "crossfade", str(target), "", str(len(names)))
    for length in (0, len("./gone"), len(names) - 1):
        assert subprocess.run(argv, input=names[:length], check=False).returncode != 0
        assert {"gone", "gone too"} <= {one.name for one in target.iterdir()}
    subprocess.run(argv, input=names, check=True)
    assert {one.name for one in target.iterdir()} == {"gone"}


def test_a_name_that_is_told_twice() -> None:
    """Find may meet a file twice while it is renamed.  When only one line stays, so does the
    entry."""

    def line(name: str, inode: int) -> bytes:
        return b"f 644 0 0 1 1.5 1.5 %d 1 1\0./%b\0/" % (inode, name.encode())

    known = Known()
    known.users = known.groups = {0: "root"}
    known.parsed([line("a", 1), line("b", 2), line("b", 3)])
    found, _ = known.parsed([line("a", 1), line("b", 3)])
    assert {name: entry.inode for name, entry in found.items()} == {"a": 1, "b": 3}
    found, _ = known.parsed([line("b", 3), line("a", 4), line("aa", 5)])
    assert [(name, entry.inode) for name, entry in found.items()] == [("a", 4), ("aa", 5), ("b", 3)]
    found, _ = known.parsed([line("aa", 5), line("b", 3), line("aa", 6)])
    assert [(name, entry.inode) for name, entry in found.items()] == [("aa", 6), ("b", 3)]
