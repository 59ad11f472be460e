"""The contract of ``ports.Install``: subclass it, say how to make your driver, and run it.

    class TestMine(InstallContract):
        def make(self, host: Host, root: Path) -> Install:
            return MyInstall(host, root, ["hello=1"])

``make_other`` asks for something else at the same root, and ``break_it`` makes of a whole
installation one that was cut off in the middle.  The test provides a fixture ``host``, of a machine
that has the file systems of this one.
"""

# ruff: noqa: S101 (these are tests)
from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossfade.drivers.installs import NOTE
from crossfade.ports import Host, Install

__all__ = ["InstallContract", "seen"]


def seen(place: Path) -> dict[str, tuple[int, int, str]]:
    """Every entry below a place: its mode, the time of its last change, and its content."""
    found = {}
    for directory, names, files in os.walk(place):
        for name in (*names, *files):
            path = Path(directory, name)
            told = path.lstat()
            link = path.is_symlink() or not path.is_file()
            content = "" if link else path.read_bytes().hex()[:200]
            changed = 0 if path.is_dir() else told.st_mtime_ns
            found[str(path)] = (told.st_mode, changed, content)
    return found


class InstallContract:
    """What every Install driver has to do."""

    exclusive = True
    """Whether root is the installation's own directory (else it holds only its note)."""

    def make(self, host: Host, root: Path) -> Install:
        """The driver under test, for something small."""
        raise NotImplementedError

    def make_other(self, host: Host, root: Path) -> Install:
        """The same root, and something else that is asked for; it is never installed."""
        raise NotImplementedError

    def break_it(self, root: Path) -> None:
        """Make of the whole installation at root one that was cut off in the middle."""
        (root / NOTE).unlink()

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A directory with a name that a shell would take apart, and neighbours."""
        place = tmp_path / 'a place; $(it\'s) "ours"'
        place.mkdir()
        (place / "neighbour").mkdir(mode=0o750)
        (place / "neighbour" / "precious").write_text("mine")
        (place / ".hidden").write_text("mine too")
        return place

    def test_whole_life(self, host: Host, place: Path) -> None:
        """Install, again, broken and mended, another asked for, removed; nothing else touched."""
        root, before = place / "new root", seen(place)
        install = self.make(host, root)
        assert (install.done(), install.fingerprint()) == (False, "")
        planned = install.describe()
        assert planned
        assert all(planned)
        assert seen(place) == before, "looking changes nothing"
        install.remove()
        assert seen(place) == before

        install.install()
        first = install.fingerprint()
        assert install.done()
        assert 8 <= len(first) <= 64
        assert install.describe() != planned
        whole = seen(root)
        self.make(host, root).install()
        assert seen(root) == whole, "the second time there is nothing to do"
        other = self.make_other(host, root)
        assert (other.done(), other.fingerprint()) == (False, "")

        self.break_it(root)
        assert (install.done(), install.fingerprint()) == (False, "")
        install.install()
        assert (install.done(), install.fingerprint()) == (True, first)

        install.remove()
        assert (install.done(), install.fingerprint()) == (False, "")
        assert seen(place) == before, "it leaves nothing, and touches nothing else"
        install.remove()

    def test_in_the_way(self, host: Host, place: Path) -> None:
        """What is not ours at the root is neither replaced nor removed."""
        from crossfade.errors import Failed

        if not self.exclusive:
            return
        root = place / "neighbour"
        before = seen(place)
        install = self.make(host, root)
        with pytest.raises(Failed) as caught:
            install.install()
        assert caught.value.code == "install-in-the-way"
        assert not install.done()
        install.remove()
        assert seen(place) == before
