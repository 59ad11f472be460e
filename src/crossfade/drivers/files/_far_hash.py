"""Checksums of files on any machine, with a memory: only what changed is read again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

from crossfade.drivers.files._far_scan import FarEntry, Seen, groups, paths
from crossfade.errors import Failed
from crossfade.model import Digest, Part
from crossfade.ports import Host

__all__ = ["BIG", "BLOCK", "NAME_MAX", "Hashes", "Terms", "digest_of"]

BIG: Final = 64 << 20
"""Files of more bytes are read, compared and sent block by block."""

BLOCK: Final = 4 << 20
"""Bytes of a block."""

_LONGEST: Final = 7 * 86400.0
_AT_ONCE: Final = 700_000
NAME_MAX: Final = 4000
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID

# Vanished files are left out.  The last word tells whether there was anything else.
_SUMS: Final = r"""
LC_ALL=C; export LC_ALL
cd "$1" || exit 1
exec 3>&1
errors=$(xargs -0 -r b2sum -l 256 -b -z -- 2>&1 1>&3 | grep -v 'No such file or directory$')
if [ -n "$errors" ]; then printf '%s\n' "$errors" >&2; exit 1; fi
"""

# $1 the file, $2 how many bytes of it, or nothing for all; $3 the block's size.  Split asks SHELL
# to begin the filter, and an account's own may be none that runs commands.
_BLOCKS: Final = r"""
LC_ALL=C; SHELL=/bin/sh; export LC_ALL SHELL
if [ ! -e "$1" ]; then exit 0; fi
exec <"$1" || exit 1
sums() { split -b "$1" --filter='exec b2sum -l 256' -; }
if [ -n "$2" ]; then head -c "$2" | sums "$3"; else sums "$3"; fi
"""
_HEX: Final = 64

_Key = tuple[int, int, int, int, int]


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
    """Checksums of the files of the tree at ``path`` on ``host``, by what find says of them.

    They are BLAKE2b with 256 bits: of coreutils' strong ones the quickest by far."""

    def __init__(self, host: Host, path: Path) -> None:
        self.host, self.path = host, path
        self._known: dict[_Key, str] = {}
        self._blocks: dict[str, tuple[_Key, list[bytes]]] = {}

    def of(self, seen: Seen, names: Iterable[str]) -> dict[str, str]:
        """The checksum of each regular file; one that vanished is left out."""
        found: dict[str, str] = {}
        fresh: dict[_Key, list[str]] = {}
        for name in names:
            entry = seen.entries[name]
            key = (entry.device, *entry.key)
            if key in self._known:
                found[name] = self._known[key]
            elif entry.size == 0:
                found[name] = _EMPTY
            else:
                fresh.setdefault(key, []).append(name)
        firsts = [names[0] for names in fresh.values()]
        for name, checksum in self._asked(seen, firsts):
            entry = seen.entries[name]
            key = (entry.device, *entry.key)
            found.update(dict.fromkeys(fresh[key], checksum))
            if seen.settled(entry):
                self._known[key] = checksum
        return found

    def blocks(self, seen: Seen, name: str) -> list[bytes]:
        """The checksums of a big file's blocks; none when it vanished."""
        entry = seen.entries[name]
        key = (entry.device, *entry.key)
        known = self.known_blocks(name, key)
        if known:
            return known
        found = self.blocks_at(self.path / name)
        if found and seen.settled(entry):
            self._blocks[name] = key, found
        return found

    def known_blocks(self, name: str, key: _Key) -> list[bytes]:
        """The checksums of a file's blocks, if they were computed when this was its key."""
        kept, sums = self._blocks.get(name, (None, []))
        return sums if kept == key else []

    def blocks_at(self, path: Path, count: int | None = None) -> list[bytes]:
        """The checksums of the blocks of a file of the host, or of its first ``count`` bytes."""
        words = (str(path), "" if count is None else str(count), str(BLOCK))
        with (
            self._explained(),
            self.host.reading(("sh", "-c", _BLOCKS, "crossfade", *words)) as stream,
        ):
            return [bytes.fromhex(line[:_HEX].decode()) for line in stream.read().splitlines()]

    def _asked(self, seen: Seen, names: list[str]) -> Iterator[tuple[str, str]]:
        """Names and checksums of those that are still there."""
        big = {name for name in names if seen.entries[name].size > BIG}
        for batch in _batches([name for name in names if name not in big], self.path):
            yield from self._ask(batch)
        for name in sorted(big):
            if sums := self.blocks(seen, name):
                yield name, blake2b(b"".join(sums), digest_size=32).hexdigest()

    def _ask(self, names: list[str]) -> Iterator[tuple[str, str]]:
        argv = ("sh", "-c", _SUMS, "crossfade", str(self.path))
        with self._explained():
            done = self.host.run(argv, stdin=paths(names), timeout=_LONGEST)
        for line in done.out.split(b"\0")[:-1]:
            yield os.fsdecode(line[_HEX + 4 :]), line[:_HEX].decode("ascii")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Failed as failed:
            if failed.code != "command-failed":
                raise
            what = f"Not all files of {self.path} on {self.host.name} can be read."
            raise Failed("file-unreadable", what, where=failed.where) from failed


_EMPTY: Final = blake2b(digest_size=32).hexdigest()


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
