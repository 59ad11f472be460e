"""Kept backups on another machine, which is reached as the machines of the sides are.

Databases and configuration are made and proven in a directory of this machine, the stage, and sent;
trees go to the other machine at once.  There a backup is what it is here: a directory of mode 0700
below the place, under a temporary name until all of it was read back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from crossfade.drivers.backups import ABOUT, PARTIAL, LocalBackups, described, read_backup
from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Files, Host, KeptBackup

__all__ = ["FarBackups"]

_LONGEST: Final = 86400.0
_OURS: Final = ("file-unwritable", "target-unwritable", "command-failed", "disk-full")

# $1 the place, $2 whose, $3 half for those that were never proven.  Each name ends with a zero
# byte, and so does the text of what describes it.
_LIST: Final = r"""
LC_ALL=C; export LC_ALL
cd -- "$1" 2>/dev/null || exit 0
for d in ./*."$2".*; do
    case $d in
    *.partial) [ "$3" != half ] || ! [ -d "$d" ] || printf '%s\0' "${d#./}" ;;
    *) [ "$3" != half ] && [ -f "$d/backup.json" ] || continue
        printf '%s\0' "${d#./}"; cat "$d/backup.json"; printf '\0' ;;
    esac
done; :
"""
# $1 the place, then names.
_REMOVE: Final = r"""
cd -- "$1" || exit 0
shift
for one; do rm -rf -- "./$one" || exit 1; done
"""
# $1 the place, $2 a name, $3 another one: what had that goes, and it counts at once.
_RENAME: Final = r"""
cd -- "$1" && chmod 700 -- "./$2" && { sync -f -- "./$2" 2>/dev/null || sync; } &&
    rm -rf -- "./$3" && mv -T -- "./$2" "./$3" && { sync -f . 2>/dev/null || sync; }
"""
_SUMS: Final = 'cd -- "$1" && exec sha256sum --quiet --strict --check -'


@dataclass(frozen=True, slots=True)
class FarBackups(LocalBackups):
    """Implements ``ports.Backups`` by directories below ``place`` on the machine ``far``.

    staged is the directory on this machine, here, that databases and configuration are made in;
    tree makes a tree of files of a name, a path and a host, so that any two can be copied."""

    far: Host = field(kw_only=True)
    here: Host = field(kw_only=True)
    staged: Path = field(kw_only=True)
    tree: Callable[[str, Path, Host], Files] = field(kw_only=True)

    @property
    def host(self) -> Host:
        """The machine that has them."""
        return self.far

    @property
    def machine(self) -> str:
        """What it is called."""
        return self.far.name

    @property
    def stage(self) -> Path:
        """Where databases' backups are made, on this machine."""
        return self.staged

    @contextmanager
    def begin(self, label: str) -> Iterator[Path]:
        """The stage of the attempt's backup, empty (mode 0700).  Raises Failed."""
        self.discard()
        with self._explained(), self._stage.begin(label) as to:
            self.far.make_directory(self.place)
            self.far.make_directory(self._partial(label))
            yield to

    def pair(self, label: str, tree: Files, host: Host, to: Path) -> tuple[Files, Files]:
        """The tree, as it is on ``host``, and its copy on the backups' machine."""
        del to
        there = self._partial(label) / "files" / tree.name
        return self.tree(tree.name, tree.path, host), self.tree(tree.name, there, self.far)

    def bring(self, label: str, to: Path, files: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
        """Send what is in the stage, and read all of it back there.  Raises Failed."""
        partial = self._partial(label)
        with self._explained():
            self.tree("backup", to, self.here).add_to(self.tree("backup", partial, self.far))
            sums = "".join(_line(unquote(name), said["sha256"]) for name, said in files.items())
            argv = ("sh", "-c", _SUMS, "sh", str(partial))
            given = sums.encode("utf-8", "surrogateescape")
            done = self.far.run(argv, stdin=given, timeout=_LONGEST, ok=(0, 1))
        wrong = done.out.decode("utf-8", "replace").strip().splitlines()
        same = len(files) - (len(wrong) or bool(done.status))
        seen = f"{same} files"
        if done.status:
            seen += f"; {'; '.join(wrong[:3])}"
        claim = f"on {self.machine} the backup's files are those that were restored here"
        return [Finding(claim, f"{len(files)} files", seen, "sha256sum there", not done.status)]

    def finish(self, label: str, about: Mapping[str, object]) -> Path:
        """The backup was proven: describe it, and from now on it counts.  Raises Failed."""
        text = described(self, label, {**about, "machine": self.machine})
        with self._explained():
            self.far.write(self._partial(label) / ABOUT, text.encode())
            names = (f"{self._path(label).name}{PARTIAL}", self._path(label).name)
            self._order(_RENAME, *names)
        shutil.rmtree(self.staged, ignore_errors=True)
        return self._path(label)

    def discard(self) -> list[str]:
        """Remove what was begun and never proven; its names."""
        names = self._listed("half")
        if names:
            self._order(_REMOVE, *names)
        return [*self._stage.discard(), *names]

    def leavings(self) -> list[str]:
        """Paths of what was begun and never proven, on both machines.  Changes nothing."""
        there = [f"{self.place / name} on {self.machine}" for name in self._listed("half")]
        return [*self._stage.leavings(), *there]

    def listed(self) -> list[KeptBackup]:
        """This site's backups, newest first.  What is not ours, or cannot be read, is left out.

        Raises Failed when the machine cannot be asked."""
        words = self._listed("whole")
        found = [
            one
            for name, text in zip(words[::2], words[1::2], strict=False)
            if (one := read_backup(self.site, self.place / name, text))
        ]
        return sorted(found, key=lambda backup: -backup.made)

    def drop(self, backup: KeptBackup) -> None:
        """Remove one.  Raises Failed."""
        doomed = f"{backup.path.name}{PARTIAL}"  # never half a backup under a name that counts
        with self._explained():
            self._order(_RENAME, backup.path.name, doomed)
            self._order(_REMOVE, doomed)

    @property
    def _stage(self) -> LocalBackups:
        return LocalBackups(self.staged, self.upgrade, self.site, self.settled)

    def _partial(self, label: str) -> Path:
        path = self._path(label)
        return path.with_name(path.name + PARTIAL)

    def _order(self, order: str, *words: str) -> None:
        argv = ("sh", "-c", order, "crossfade", str(self.place), *words)
        self.far.run(argv, timeout=_LONGEST)

    def _listed(self, which: str) -> list[str]:
        argv = ("sh", "-c", _LIST, "crossfade", str(self.place), self.site, which)
        with self.far.reading(argv) as stream:
            said: bytes = stream.read()
        return said.decode("utf-8", "replace").split("\0")[:-1]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Failed as error:
            if error.code not in _OURS:
                raise
            what = f"The backup cannot be kept on {self.machine}: {error.what}"
            raise Failed("backup-not-kept", what, where=error.where) from error


def _line(name: str, checksum: str) -> str:
    """A file as ``sha256sum --check`` reads it."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{checksum}  {escaped}\n"
