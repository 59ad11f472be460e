"""A tree of files: START HERE for how files follow an upgrade.

A copy is made while the application writes, again and again; each pass copies only what differs,
so the one inside the pause is small.  rsync, where installed, does the bulk of a first copy; every
pass ends with one of our own (``mirror``), which alone decides what is equal.
"""

from __future__ import annotations

import shutil
import stat
import time
from hashlib import blake2b
from pathlib import Path

from crossfade.drivers.files import bulk
from crossfade.drivers.files.bring import unwritable
from crossfade.drivers.files.digests import Digests
from crossfade.drivers.files.entries import HERE, Entry, Root, scan
from crossfade.drivers.files.index import Index, index_path
from crossfade.drivers.files.mirror import Before, Mirror, clear
from crossfade.errors import Failed
from crossfade.model import Digest
from crossfade.ports import CopyReport, Files, Progress

__all__ = ["TreeFiles"]


class TreeFiles:
    """One tree of files of one side, at ``path`` on this machine.

    rsync is the program for the bulk of a first copy: None looks for it on PATH, an empty string
    never uses it.
    """

    def __init__(self, name: str, path: Path, *, rsync: str | None = None) -> None:
        self.name = name
        self.path = path
        self.skipped: tuple[str, ...] = ()
        """Sockets and devices that the last copy left out, each with its kind."""
        self._rsync = (shutil.which("rsync") or "") if rsync is None else rsync
        self._digests = Digests()

    def size(self) -> tuple[int, int]:
        """Entries, and bytes as programs see them (holes count, further hard links do not)."""
        with self._root() as root:
            entries = [entry for entry in scan(root).values() if not entry.skipped]
        files = {(e.device, e.inode): e.size for e in entries if stat.S_ISREG(e.mode)}
        return len(entries), sum(files.values())

    def copy_to(self, target: Files, progress: Progress | None = None) -> CopyReport:
        """Make ``target``, another of these, equal to this tree; only what differs is copied.

        ``progress`` is told bytes.  What changes during the copy is copied by the next one.
        Raises Failed: tree-missing, trees-overlap, file-unreadable, disk-full, target-unwritable,
        rsync-missing, rsync-failed.
        """
        with self._root() as source:
            path, to = self.path.resolve(), target.path.resolve()
            if path.is_relative_to(to) or to.is_relative_to(path):
                raise Failed(
                    "trees-overlap",
                    f"{to} cannot be a copy of {path}: one is inside the other.",
                    where=f"tree {self.name}",
                )
            try:
                to.mkdir(parents=True, exist_ok=True)
                there = Root(to)
            except OSError as error:
                raise unwritable(to, HERE, error) from error
            with there:
                index = Index(path, to)
                first, before = CopyReport(0, 0, 0), None
                if self._rsync and not index.present:
                    first, before = self._bulk(source, there, progress)
                mirror = Mirror(source, there, index, progress)
                second = mirror.run(before)
                self.skipped = mirror.skipped
        return CopyReport(
            first.copied + second.copied,
            first.removed + second.removed,
            first.bytes + second.bytes,
        )

    def add_to(self, target: Files) -> CopyReport:
        """Copy what ``target`` lacks or has otherwise; what only it has stays."""
        with self._root() as source, Root(target.path) as there:
            return Mirror(source, there, Index(self.path, target.path)).run(keep=True)

    def belong_to(self, account: str) -> None:
        """Both programs run as we do where this is used; for another account there is FarTree."""
        raise TypeError(f"tree {self.name} is not for {account}")

    def here(self, path: Path) -> Files:
        """A tree of the same kind at another path of this machine."""
        return TreeFiles(self.name, path, rsync=self._rsync)

    def _bulk(
        self, source: Root, target: Root, progress: Progress | None
    ) -> tuple[CopyReport, Before | None]:
        """Let rsync copy; what was seen before counts only when it copied into nothing."""
        looked_at = time.time_ns()
        entries = scan(source)
        empty = len(scan(target)) == 1
        total = sum(entry.size for entry in entries.values() if stat.S_ISREG(entry.mode))
        report = bulk.copy(self._rsync, self.path.resolve(), target.path, total, progress)
        return report, Before(entries, looked_at) if empty else None

    def touches(self, size: int) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def digest(self) -> Digest:
        """Every entry with its kind, content, owner, mode, times, links and extended attributes.

        Called again on the same object, it hashes only what changed.  Raises Failed.
        """
        with self._root() as root:
            return self._digests.digest(root)

    def position(self) -> str:
        """A mark over names, kinds, sizes and times of all entries: one ``lstat`` each."""
        mark = blake2b(digest_size=16)
        with self._root() as root:
            for name, entry in scan(root).items():
                if not entry.skipped:
                    mark.update(_mark(name, entry))
        return mark.hexdigest()

    def remove(self) -> None:
        """Remove the tree and what copies know of it; fine when it is gone."""
        index_path(self.path.resolve()).unlink(missing_ok=True)
        if self.path.is_symlink():
            self.path.unlink()
            return
        if not self.path.exists():
            return
        with self._root() as root:
            try:
                entries = scan(root)
                clear(root, [name for name in reversed(entries) if name != HERE], entries)
                self.path.rmdir()
            except OSError as error:
                raise unwritable(self.path, HERE, error) from error

    def _root(self) -> Root:
        try:
            return Root(self.path)
        except OSError as error:
            missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            raise Failed(
                "tree-missing" if missing else "file-unreadable",
                f"The tree {self.path} cannot be opened: {error.strerror}",
                where=f"tree {self.name}",
            ) from error


def _mark(name: str, entry: Entry) -> bytes:
    text = f"{name}\0{entry.kind} {entry.size} {entry.mtime} {entry.ctime}\0"
    return text.encode("utf-8", "surrogateescape")
