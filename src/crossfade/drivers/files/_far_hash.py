"""Checksums of files on any machine, with a memory: only what changed is read again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from crossfade.drivers.files._far_scan import FarEntry, Seen, groups, paths
from crossfade.errors import Failed
from crossfade.model import Digest, Part
from crossfade.ports import Host

__all__ = ["NAME_MAX", "Hashes", "Terms", "digest_of"]

_LONGEST: Final = 7 * 86400.0
_AT_ONCE: Final = 700_000
NAME_MAX: Final = 4000
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID

# Vanished files are left out.  The last word tells whether there was anything else.
_SUMS: Final = r"""
LC_ALL=C; export LC_ALL
cd "$1" || exit 1
exec 3>&1
errors=$(xargs -0 -r sha256sum -b -z -- 2>&1 1>&3 | grep -v 'No such file or directory$')
if [ -n "$errors" ]; then printf '%s\n' "$errors" >&2; exit 1; fi
"""


class Terms:
    """What two sides have agreed to compare: owners (both act as root), and which names of
    accounts both know; others are compared by number."""

    def __init__(self, *, owners: bool, users: frozenset[str] | None = None) -> None:
        self.owners = owners
        self.users = users

    def owner(self, entry: FarEntry) -> tuple[str, str]:
        """Owner and group for comparison."""
        if not self.owners:
            return "", ""
        return self._one(f"u{entry.user}", entry.owner), self._one(
            f"g{entry.group_name}", entry.group
        )

    def _one(self, name: str, number: int) -> str:
        if not name[1:].isdigit() and (self.users is None or name in self.users):
            return name
        return f"#{number}"

    def metadata(self, entry: FarEntry) -> tuple[object, ...]:
        """Everything but the content."""
        mode = stat.S_IMODE(entry.mode)
        if not self.owners:
            mode &= ~_SET_ID
        if stat.S_ISLNK(entry.mode):
            mode = 0
        return entry.kind, mode, self.owner(entry), entry.mtime, entry.link


class Hashes:
    """Checksums of one tree's files, by what find says of them."""

    def __init__(self, host: Host, path: Path) -> None:
        self._host, self._path = host, path
        self._known: dict[tuple[int, int, int, int, int], str] = {}

    def of(self, seen: Seen, names: Iterable[str]) -> dict[str, str]:
        """The sha256 of each regular file; one that vanished is left out."""
        found: dict[str, str] = {}
        fresh: dict[tuple[int, int, int, int, int], list[str]] = {}
        for name in names:
            entry = seen.entries[name]
            key = (entry.device, *entry.key)
            if key in self._known:
                found[name] = self._known[key]
            elif entry.size == 0:
                found[name] = _EMPTY
            else:
                fresh.setdefault(key, []).append(name)
        for batch in _batches([names[0] for names in fresh.values()], self._path):
            for name, checksum in self._ask(batch).items():
                entry = seen.entries[name]
                key = (entry.device, *entry.key)
                found.update(dict.fromkeys(fresh[key], checksum))
                if seen.settled(entry):
                    self._known[key] = checksum
        return found

    def _ask(self, names: list[str]) -> dict[str, str]:
        argv = ("sh", "-c", _SUMS, "crossfade", str(self._path))
        try:
            done = self._host.run(argv, stdin=paths(names), timeout=_LONGEST)
        except Failed as failed:
            if failed.code != "command-failed":
                raise
            what = f"Not all files of {self._path} on {self._host.name} can be read."
            raise Failed("file-unreadable", what, where=failed.where) from failed
        found = {}
        for line in done.out.split(b"\0")[:-1]:
            found[os.fsdecode(line[68:])] = line[:64].decode("ascii")
        return found


_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _batches(names: list[str], path: Path) -> Iterator[list[str]]:
    """Names in portions whose answer a host keeps whole."""
    batch: list[str] = []
    size = 0
    for name in names:
        length = len(os.fsencode(name))
        if length > NAME_MAX:
            what = f"A path in {path} has {length} bytes; between machines it may have {NAME_MAX}."
            raise Failed("path-too-long", what, where=f"{name[:100]}…")
        size += length + 70
        if size > _AT_ONCE:
            yield batch
            batch, size = [], length + 70
        batch.append(name)
    if batch:
        yield batch


def digest_of(seen: Seen, hashes: Hashes, terms: Terms) -> Digest:
    """One part an entry.  What vanishes meanwhile is left out."""
    entries = seen.entries
    sums = hashes.of(seen, (name for name, e in entries.items() if stat.S_ISREG(e.mode)))
    linked = groups(entries)
    parts = {}
    for name, entry in entries.items():
        if stat.S_ISREG(entry.mode) and name not in sums:
            continue
        first = linked[name][0] if name in linked else ""
        text = repr((terms.metadata(entry), sums.get(name, ""), first))
        mark = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16)
        parts[name] = Part(1, mark.hexdigest())
    return Digest(parts)
