"""The tree driver: the contract with rsync and without, and what only it promises."""

from __future__ import annotations

import shutil
from pathlib import Path

from crossfade.drivers.files.tree import TreeFiles
from crossfade.ports import Files
from crossfade.testing.files import FilesContract


class TestOwn(FilesContract):
    """The contract with our own copy alone."""

    def files(self, path: Path) -> Files:
        """A tree that never uses rsync."""
        return TreeFiles("uploads", path, rsync="")


class TestRsync(FilesContract):
    """The contract with rsync for the bulk."""

    def files(self, path: Path) -> Files:
        """A tree that uses the rsync of this machine, which has to be there."""
        rsync = shutil.which("rsync")
        assert rsync
        return TreeFiles("uploads", path, rsync=rsync)
