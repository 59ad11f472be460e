"""One pass of our own: look at both trees, and do what differs."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from crossfade.drivers.files import durable
from crossfade.drivers.files.attributes import let_in
from crossfade.drivers.files.bring import Bringer, unwritable
from crossfade.drivers.files.difference import Difference, difference
from crossfade.drivers.files.entries import GONE, HERE, Entry, Root, base_of, parent_of, scan
from crossfade.drivers.files.index import Index, settled
from crossfade.drivers.files.spread import Portions, portions_of, spread
from crossfade.errors import Failed
from crossfade.ports import CopyReport, Progress

__all__ = ["Before", "Mirror", "clear"]


class Before(NamedTuple):
    """A source as it was seen at ``looked_at`` (ns), before rsync copied it into nothing."""

    entries: Mapping[str, Entry]
    looked_at: int


class Mirror:
    """Makes one tree equal to another, in one pass."""

    def __init__(
        self, source: Root, target: Root, index: Index, progress: Progress | None = None
    ) -> None:
        self._roots = (source, target)
        self._index = index
        self._progress = progress
        self._lock = threading.Lock()
        self._bytes = 0
        self._total = 0
        self._looked: list[str] = []
        self._changed: list[str] = []
        self._source: dict[str, Entry] = {}
        self._target: dict[str, Entry] = {}
        self._known: set[str] = set()
        self.skipped: tuple[str, ...] = ()

    def run(self, before: Before | None = None, *, keep: bool = False) -> CopyReport:
        """Do the pass.  Raises Failed (file-unreadable, disk-full, target-unwritable).

        With ``keep``, what only the target has stays."""
        source, target = self._roots
        looked_at = time.time_ns()
        self._source = scan(source)
        skipped = {name: entry.skipped for name, entry in self._source.items() if entry.skipped}
        for name in skipped:
            del self._source[name]
        self.skipped = tuple(f"{name} ({kind})" for name, kind in skipped.items())
        self._target = scan(target)
        self._known = self._copied_by_rsync(before) if before else set()
        work = difference(self._source, self._target, self._index)
        if keep:
            work.remove = [name for name in work.remove if name in self._source]
        self._total = sum(self._source[name].size for name in work.files)
        self._make_room(work)
        self._bring(work)
        self._settle(work)
        try:
            durable.make(target, self._changed)
            if self._looked or work.remove or not self._index.present:
                self._index.replace(self._equal(work, looked_at))
        except OSError as error:
            raise unwritable(target.path, HERE, error) from error
        return CopyReport(len(self._changed), len(work.remove), self._bytes)

    def _copied_by_rsync(self, before: Before) -> set[str]:
        """Names whose bytes need no comparison: untouched since, and as rsync leaves them."""
        known = set()
        for name, entry in before.entries.items():
            now, there = self._source.get(name), self._target.get(name)
            if now is None or there is None or now.key != entry.key:
                continue
            if settled(entry, before.looked_at) and there.mtime == now.mtime:
                known.add(name)
        return known

    def _make_room(self, work: Difference) -> None:
        """Remove what is in the way, and make the directories that are missing."""
        target = self._roots[1]
        name = HERE
        try:
            clear(target, work.remove, self._target)
            for name in work.make:
                directory = target.directory(parent_of(name))
                let_in(directory)
                os.mkdir(base_of(name), 0o700, dir_fd=directory)
        except OSError as error:
            raise unwritable(target.path, name, error) from error

    def _bring(self, work: Difference) -> None:
        """Everything that is no directory: first names, then the further names of hard links."""
        ordered = [(name, self._source[name].size) for name in work.files]

        def bring_files(portions: Portions[list[str]]) -> None:
            with Root(self._roots[0].path) as source, Root(self._roots[1].path) as target:
                bringer = Bringer(source, target, lambda count: self._wrote(count, portions))
                for portion in portions:
                    for name in portion:
                        reuse, known = name in work.reuse, name in self._known
                        self._note(name, bringer.file(name, reuse=reuse, known=known))

        spread(portions_of(ordered), bring_files, self._tell)
        bringer = Bringer(*self._roots, lambda count: None)
        for name in work.others:
            outcome = bringer.other(name, self._source[name], reuse=name in work.reuse)
            self._note(name, outcome)
        for name, first in work.links.items():
            self._note(name, bringer.link(name, first))

    def _settle(self, work: Difference) -> None:
        """Owner, mode, times of directories, deepest first: nothing is put into them any more."""
        bringer = Bringer(*self._roots, lambda count: None)
        for name in sorted(work.settle, key=lambda n: (n != HERE, n.count("/")), reverse=True):
            self._note(name, bringer.directory(name, self._source[name]))

    def _wrote(self, count: int, portions: Portions[list[str]]) -> None:
        if portions.stopped:
            raise Failed("copy-stopped", "Another part of the copy failed.")
        with self._lock:
            self._bytes += count

    def _note(self, name: str, outcome: bool | None) -> None:
        if outcome is not None:
            self._looked.append(name)
        if outcome:
            self._changed.append(name)

    def _tell(self) -> None:
        if self._progress:
            self._progress(min(self._bytes, self._total), self._total)

    def _equal(self, work: Difference, looked_at: int) -> dict[str, tuple[Entry, Entry]]:
        """What the index may say of every entry now."""
        equal = {n: (self._source[n], self._target[n]) for n in work.equal}
        for name in self._looked:
            there = self._roots[1].entry(name)
            if there is not None and settled(self._source[name], looked_at):
                equal[name] = (self._source[name], there)
        return equal


def clear(root: Root, names: list[str], entries: Mapping[str, Entry]) -> None:
    """Remove entries of a target, given deepest first; fine when they are gone.  Raises OSError."""
    for name in names:
        try:
            directory = root.directory(parent_of(name))
            let_in(directory)
            if stat.S_ISDIR(entries[name].mode):
                os.rmdir(base_of(name), dir_fd=directory)
            else:
                os.unlink(base_of(name), dir_fd=directory)
        except GONE:
            continue
