"""Trees on other machines: the contract, on this machine alone and by way of a real sshd."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.ports import Files
from crossfade.testing.files import FilesContract


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
