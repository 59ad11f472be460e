"""The contract of ``ports.Files``: subclass it, say how to make your driver, and run it.

    class TestMine(FilesContract):
        def files(self, path: Path) -> Files:
            return MyFiles("uploads", path)

Trees are compared with ``picture``, which knows nothing of the driver.  The tests need a file
system with extended attributes and sparse files; owners are tried when they run as root.
"""

# ruff: noqa: S101 (these are tests)
from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from crossfade.errors import Failed
from crossfade.ports import Files
from crossfade.testing.trees import BIG, SPARSE, fill, picture

__all__ = ["FilesContract"]


class FilesContract:
    """What every Files driver has to do.  ``files`` makes one for a path."""

    attributes_seen = True
    """Whether digests have extended attributes, and a copy removes those that are too many."""

    any_depth = True
    """Whether paths may be longer than the kernel takes; else that is an explained error."""

    def files(self, path: Path) -> Files:
        """The driver under test, for the tree at ``path``."""
        raise NotImplementedError

    def target(self, path: Path) -> Files:
        """The driver for the tree that is copied to; another one where that is elsewhere."""
        return self.files(path)

    @pytest.fixture(name="target")
    def _target(self, tmp_path: Path) -> Path:
        """A place for the copy, whose parent is missing too."""
        return tmp_path / "new side" / "uploads"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        """A tree with one of everything."""
        path = tmp_path / "old side"
        path.mkdir()
        fill(path)
        return path

    def _equal(self, source: Path, target: Path) -> None:
        assert picture(target) == picture(source)
        one, two = self.files(source).digest(), self.target(target).digest()
        assert one.differences(two) == ()
        assert one.count == len(picture(source))

    def test_copies_everything_and_touches_nothing(self, source: Path, target: Path) -> None:
        """The copy has contents, owners, modes, times, links; the source is untouched."""
        before = picture(source, inodes=True)
        report = self.files(source).copy_to(self.target(target))
        assert picture(source, inodes=True) == before
        self._equal(source, target)
        assert report.copied >= len(before) - 3
        assert report.removed == 0
        assert report.bytes >= BIG

    def test_holes_stay_holes(self, source: Path, target: Path) -> None:
        """A sparse file takes no more room at the target than a few blocks."""
        self.files(source).copy_to(self.target(target))
        told = (target / "sparse").stat()
        assert told.st_size == SPARSE
        assert told.st_blocks * 512 < SPARSE // 8

    def test_second_pass_copies_nothing(self, source: Path, target: Path) -> None:
        """Without a change the second pass writes nothing."""
        files = self.files(source)
        files.copy_to(self.target(target))
        before = picture(target, inodes=True)
        report = files.copy_to(self.target(target))
        assert (report.copied, report.removed, report.bytes) == (0, 0, 0)
        assert picture(target, inodes=True) == before

    def test_second_pass_copies_the_difference(self, source: Path, target: Path) -> None:
        """Changed, new and removed entries, and changes of metadata alone, are carried over."""
        files = self.files(source)
        files.copy_to(self.target(target))
        with (source / "big").open("ab") as file:
            file.write(b"more")
        (source / "sub" / "new").write_bytes(b"new")
        (source / "schön").unlink()
        (source / "private").chmod(0o440)
        os.setxattr(source / "nothing", "user.late", b"1")
        if self.attributes_seen:
            os.removexattr(source / "sub", "user.colour")
        (source / "sub" / "dangling").unlink()
        (source / "sub" / "dangling").symlink_to("else/where")
        report = files.copy_to(self.target(target))
        self._equal(source, target)
        assert 5 <= report.copied <= 10
        assert report.removed == 1
        assert report.bytes <= BIG + 7

    def test_kinds_change(self, source: Path, target: Path) -> None:
        """A directory becomes a file, a file a directory, a link a file, and a FIFO a link."""
        files = self.files(source)
        files.copy_to(self.target(target))
        for name in ("link", "dangling", "program", "and again"):
            (source / "sub" / name).unlink()
        (source / "sub" / "empty").rmdir()
        (source / "sub").rmdir()
        (source / "sub").write_bytes(b"now a file")
        for name in ("text", "to-directory", "fifo"):
            (source / name).unlink()
        (source / "text").mkdir()
        (source / "text" / "inside").write_bytes(b"x")
        (source / "to-directory").write_bytes(b"now a file")
        (source / "fifo").symlink_to("text")
        files.copy_to(self.target(target))
        self._equal(source, target)

    def test_hard_links_come_and_go(self, source: Path, target: Path) -> None:
        """Files linked or unlinked from each other between passes end the same at the target."""
        files = self.files(source)
        files.copy_to(self.target(target))
        (source / "again").unlink()
        (source / "again").write_bytes((source / "text").read_bytes())
        (source / "nothing").unlink()
        (source / "nothing").hardlink_to(source / "big")
        files.copy_to(self.target(target))
        self._equal(source, target)
        (source / "nothing").unlink()
        (source / "nothing").write_bytes((source / "big").read_bytes())
        files.copy_to(self.target(target))
        self._equal(source, target)

    def test_a_rewrite_that_looks_the_same_is_seen(self, source: Path, target: Path) -> None:
        """A file rewritten right after a pass, with the same size and time, is copied again."""
        files = self.files(source)
        path = source / "text"
        told = path.stat()
        for number in range(20):
            files.copy_to(self.target(target))
            path.write_text(f"take{number:02}")
            os.utime(path, ns=(told.st_mtime_ns, told.st_mtime_ns))
            files.copy_to(self.target(target))
            assert (target / "text").read_text() == f"take{number:02}"
            assert files.digest().differences(self.target(target).digest()) == ()

    def test_a_target_that_was_tampered_with_is_mended(self, source: Path, target: Path) -> None:
        """What somebody changed, removed or added at the target is put right."""
        files = self.files(source)
        files.copy_to(self.target(target))
        told = (target / "big").stat()
        (target / "big").write_bytes(bytes(told.st_size))
        os.utime(target / "big", ns=(told.st_mtime_ns, told.st_mtime_ns))
        (target / "schön").unlink()
        (target / "extra").mkdir()
        (target / "extra" / "file").write_bytes(b"x")
        (target / "private").chmod(0o777)
        files.copy_to(self.target(target))
        self._equal(source, target)

    def test_a_target_of_unknown_origin_is_compared(self, source: Path, target: Path) -> None:
        """A file that is there already with the right size and time is not believed."""
        target.mkdir(parents=True)
        told = (source / "big").stat()
        (target / "big").write_bytes(bytes(told.st_size))
        os.utime(target / "big", ns=(told.st_mtime_ns, told.st_mtime_ns))
        self.files(source).copy_to(self.target(target))
        self._equal(source, target)

    def test_sockets_are_left_out(self, source: Path, target: Path) -> None:
        """A socket of the running application is no data: neither copied nor in the digest."""
        with socket.socket(socket.AF_UNIX) as listening:
            with chdir(source):  # a socket's path is short
                listening.bind("socket")
            files = self.files(source)
            files.copy_to(self.target(target))
            assert not (target / "socket").exists()
            assert "socket" not in files.digest().parts
            self._equal(source, target)

    def test_deeper_than_a_path_may_be_long(self, tmp_path: Path) -> None:
        """A tree whose innermost path the kernel would refuse is copied, proven and removed."""
        source, target = tmp_path / "deep", tmp_path / "copy"
        source.mkdir()
        fd = os.open(source, os.O_RDONLY)
        for level in range(300):
            os.mkdir(f"level-{level:03}-of-a-deep-tree", dir_fd=fd)
            inner = os.open(f"level-{level:03}-of-a-deep-tree", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = inner
        os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        files, copy = self.files(source), self.target(target)
        if not self.any_depth:
            with pytest.raises(Failed) as failed:
                files.copy_to(copy)
            assert failed.value.code == "path-too-long"
            files.remove()
            return
        files.copy_to(copy)
        digest = copy.digest()
        assert digest.differences(files.digest()) == ()
        assert max(map(len, digest.parts)) > 4096
        copy.remove()
        files.remove()
        assert list(tmp_path.iterdir()) == []

    def test_many_files(self, tmp_path: Path) -> None:
        """Thousands of small files in several directories arrive, and are removed."""
        source, target = tmp_path / "many", tmp_path / "copy"
        for directory in range(10):
            (source / str(directory)).mkdir(parents=True)
            for number in range(120):
                (source / str(directory) / str(number)).write_text(str(number))
        self.files(source).copy_to(self.target(target))
        assert self.files(source).digest().differences(self.target(target).digest()) == ()
        self.target(target).remove()
        assert not target.exists()

    def test_digest_sees_every_change(self, source: Path) -> None:
        """Each single change of content or metadata changes the digest, of that entry at least."""
        files = self.files(source)
        changes: dict[str, Callable[[], object]] = {
            "text": lambda: os.setxattr(source / "text", "user.note", b"other"),
            "big": lambda: os.truncate(source / "big", BIG - 1),
            "private": lambda: (source / "private").chmod(0o600),
            "sub": lambda: os.utime(source / "sub", ns=(1, 2)),
            "sub/link": lambda: os.utime(source / "sub/link", ns=(1, 2), follow_symlinks=False),
            "nothing": lambda: (source / "nothing").unlink(),
            "sub/later": lambda: (source / "sub/later").touch(),
        }
        if not self.attributes_seen:
            del changes["text"]
        for name, change in changes.items():
            before = files.digest()
            change()
            assert name in files.digest().differences(before)

    def test_digest_sees_through_holes(self, source: Path) -> None:
        """Zeros that are written count as the same content as a hole."""
        files = self.files(source)
        told = (source / "sparse").stat()
        before = files.digest()
        with (source / "sparse").open("r+b") as file:
            file.write(bytes(1 << 20))
        os.utime(source / "sparse", ns=(1, told.st_mtime_ns))
        assert files.digest().differences(before) == ()

    def test_position(self, source: Path) -> None:
        """The mark stays while nothing happens, and moves with each kind of write."""
        files = self.files(source)
        mark = files.position()
        assert files.position() == mark
        for change in (
            lambda: (source / "text").write_text("hullo\n"),
            lambda: (source / "text").rename(source / "moved"),
            lambda: (source / "sub" / "new").touch(),
            lambda: (source / "sub" / "new").unlink(),
        ):
            change()
            assert files.position() != mark
            mark = files.position()

    def test_size(self, source: Path) -> None:
        """Entries and bytes; a file with several names counts its bytes once."""
        entries, size = self.files(source).size()
        assert entries == len(picture(source))
        names = ("text", "big", "private", "sub/program", "sparse", "two\nlines", "-rf *", "schön")
        assert size == sum((source / name).stat().st_size for name in names) + len(b"latin")

    def test_progress(self, source: Path, target: Path) -> None:
        """Progress never goes beyond the whole."""
        told: list[tuple[int, int | None]] = []
        self.files(source).copy_to(
            self.target(target), lambda done, whole: told.append((done, whole))
        )
        assert told
        assert all(whole is None or 0 <= done <= whole for done, whole in told)

    def test_missing_tree(self, tmp_path: Path) -> None:
        """A tree that is not there is an explained error for every question."""
        files = self.files(tmp_path / "nowhere")
        for ask in (files.size, files.digest, files.position):
            with pytest.raises(Failed) as failed:
                ask()
            assert failed.value.code == "tree-missing"
        with pytest.raises(Failed) as failed:
            files.copy_to(self.target(tmp_path / "copy"))
        assert failed.value.code == "tree-missing"
        assert not (tmp_path / "copy").exists()

    @pytest.mark.parametrize("where", ["sub/copy", "..", "."])
    def test_overlap(self, source: Path, where: str) -> None:
        """A copy into itself, over itself or over its parent is refused."""
        before = picture(source, inodes=True)
        with pytest.raises(Failed) as failed:
            self.files(source).copy_to(self.target(source / where))
        assert failed.value.code == "trees-overlap"
        assert picture(source, inodes=True) == before

    def test_add(self, source: Path, target: Path) -> None:
        """What is added comes over what is there; what only the target has stays."""
        files, there = self.files(source), self.target(target)
        files.copy_to(there)
        (target / "sub" / "of its own").write_bytes(b"stays")
        (source / "text").write_text("changed\n")
        (source / "schön").unlink()
        (source / "sub" / "new").write_bytes(b"new")
        files.add_to(there)
        assert (target / "sub" / "of its own").read_bytes() == b"stays"
        assert (target / "text").read_text() == "changed\n"
        assert (target / "again").read_text() == "changed\n"
        assert (target / "sub" / "new").read_bytes() == b"new"
        assert (target / "schön").exists()

    def test_here(self, source: Path, tmp_path: Path) -> None:
        """A copy to a place of this machine, which only needs its path."""
        files = self.target(source)
        kept = files.here(tmp_path / "kept" / "uploads")
        files.copy_to(kept)
        assert picture(tmp_path / "kept" / "uploads") == picture(source)

    def test_remove(self, source: Path, target: Path) -> None:
        """Removing takes the tree and all that was kept beside it; twice is fine."""
        self.files(source).copy_to(self.target(target))
        self.target(target).remove()
        assert list(target.parent.iterdir()) == []
        self.target(target).remove()
        assert (source / "text").exists()
