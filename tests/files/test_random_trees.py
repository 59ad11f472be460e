"""Random trees and random edits between two passes: the second pass always makes both equal."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfade.drivers.files.far import FarTree
from crossfade.drivers.files.tree import TreeFiles
from crossfade.drivers.hosts.local import LocalHost
from crossfade.testing.trees import picture

Edit = tuple[str, str, str, int]

names = st.sampled_from(
    ["a", "b", "a/a", "a/b", "b/a", "b/c", "a/a/a", "a/a/\udcff", "b/c/\n", "-T x", "b/'\"$a `"]
)
contents = ("write", "append", "again", "hole")
names_only = ("directory", "link", "hardlink", "fifo", "remove", "rename")
verbs = st.sampled_from((*contents, *names_only, "mode", "time", "attribute"))
edits = st.lists(st.tuples(verbs, names, names, st.integers(0, 999)), max_size=14)


def apply(root: Path, edit: Edit) -> None:
    """Do one edit; one that is impossible in this tree changes nothing."""
    verb, name, other, number = edit
    path = root / name
    if verb in contents and path.is_fifo():
        return  # opening it would wait for somebody
    with contextlib.suppress(OSError):
        match verb:
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes([number % 256]) * number)
            case "append":
                with path.open("ab") as file:
                    file.write(b"%d" % number)
            case "again":
                told = path.stat()
                path.write_bytes(os.urandom(told.st_size))
                os.utime(path, ns=(told.st_mtime_ns, told.st_mtime_ns))
            case "directory":
                path.mkdir(parents=True)
            case "link":
                path.symlink_to(other)
            case "hardlink":
                path.hardlink_to(root / other)
            case "fifo":
                os.mkfifo(path)
            case "hole":
                with path.open("wb") as file:
                    file.truncate(number * 1000)
                    file.seek(number * 500)
                    file.write(b"x")
            case "remove" if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            case "remove":
                path.unlink()
            case "rename":
                path.rename(root / other)
            case "mode" if not path.is_symlink():
                path.chmod(number % 0o1000)
            case "time":
                os.utime(path, ns=(1, number), follow_symlinks=False)
            case "attribute":
                os.setxattr(path, f"user.{number % 3}", other.encode("utf-8", "replace"))


@pytest.mark.parametrize("rsync", ["", shutil.which("rsync") or "missing"], ids=["own", "rsync"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=edits, second=edits, spoiled=edits)
def test_two_passes(rsync: str, first: list[Edit], second: list[Edit], spoiled: list[Edit]) -> None:
    """After each pass both trees are equal, whatever was done to either, and the source is as
    it was."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        source, target = Path(name) / "source", Path(name) / "target"
        source.mkdir()
        files, copy = TreeFiles("uploads", source, rsync=rsync), TreeFiles("uploads", target)
        for source_edits, target_edits in ((first, []), (second, spoiled)):
            for edit in source_edits:
                apply(source, edit)
            for edit in target_edits:
                apply(target, edit)
            before = picture(source, inodes=True)
            files.copy_to(copy)
            assert picture(source, inodes=True) == before
            assert picture(target) == picture(source)
            assert files.digest().differences(copy.digest()) == ()
            assert files.digest().count == len(before)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=edits, second=edits, spoiled=edits)
def test_two_far_passes(first: list[Edit], second: list[Edit], spoiled: list[Edit]) -> None:
    """The same between hosts; attributes are only tried where everything is new."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        source, target = Path(name) / "source", Path(name) / "-target \n'"
        source.mkdir()
        host = LocalHost()
        files, copy = FarTree("uploads", source, host), FarTree("uploads", target, host)
        for round_, (ours, theirs) in enumerate(((first, []), (second, spoiled))):
            for root, edits_ in ((source, ours), (target, theirs)):
                for edit in edits_:
                    if edit[0] != "attribute" or not round_:
                        apply(root, edit)
            before = picture(source, inodes=True)
            files.copy_to(copy)
            assert picture(source, inodes=True) == before
            assert picture(target) == picture(source)
            assert files.digest().differences(copy.digest()) == ()
            assert files.digest().count == len(before)
