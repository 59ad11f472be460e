"""The digest of a tree, with a memory: only what changed is hashed again."""

from __future__ import annotations

import os
import stat
import time
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from crossfade.drivers.files import content
from crossfade.drivers.files.attributes import is_root, read_attributes
from crossfade.drivers.files.entries import (
    Entry,
    Root,
    base_of,
    groups_of,
    open_quietly,
    parent_of,
    scan,
    unreadable,
    went,
)
from crossfade.drivers.files.index import settled
from crossfade.drivers.files.spread import Portions, portions_of, spread
from crossfade.model import Digest, Part

__all__ = ["Digests"]

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID


class _Known(NamedTuple):
    key: tuple[int, int, int, int]
    first: str
    part: Part


class Digests:
    """Makes digests of one tree and remembers parts that cannot have changed.

    A part is taken from memory only when inode, size, modification and change time are as they
    were, and the change time was at least two seconds old when the entry was hashed.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def digest(self, root: Root) -> Digest:
        """One part an entry; entries that vanish meanwhile are left out.

        Raises Failed(file-unreadable).
        """
        entries = {name: entry for name, entry in scan(root).items() if not entry.skipped}
        groups = groups_of(entries.items())
        firsts = {name: group[0] for name, group in groups.items()}
        parts: dict[str, Part] = {}
        fresh: list[tuple[str, int]] = []
        for name, entry in entries.items():
            known = self._known.get(name)
            first = firsts.get(name, "")
            if known and known.key == entry.key and known.first == first:
                parts[name] = known.part
            elif first in ("", name):
                fresh.append((name, entry.size))
        remembered = {name: self._known[name] for name in parts}
        self._hash(root.path, entries, firsts, fresh, parts, remembered)
        for name, first in firsts.items():
            if name not in parts and first in parts:
                parts[name] = parts[first]
        self._known = remembered
        return Digest({name: parts[name] for name in entries if name in parts})

    def _hash(
        self,
        path: Path,
        entries: dict[str, Entry],
        firsts: dict[str, str],
        fresh: list[tuple[str, int]],
        parts: dict[str, Part],
        remembered: dict[str, _Known],
    ) -> None:
        """Hash all that is fresh, in threads; fills ``parts`` and what may be remembered."""

        def work(portions: Portions[list[str]]) -> None:
            with Root(path) as root:
                for portion in portions:
                    looked_at = time.time_ns()
                    for name in portion:
                        first = firsts.get(name, "")
                        part = _part(root, name, entries[name], first)
                        if part is not None:
                            parts[name] = part
                            if settled(entries[name], looked_at):
                                remembered[name] = _Known(entries[name].key, first, part)

        spread(portions_of(fresh), work, lambda: None)


def _part(root: Root, name: str, entry: Entry, first: str) -> Part | None:
    """Checksum of one entry; None when it vanished."""
    link, data = "", b""
    try:
        if stat.S_ISREG(entry.mode):
            fd = open_quietly(base_of(name), _READ, root.directory(parent_of(name)))
            try:
                now = Entry.of(os.fstat(fd))
                if not stat.S_ISREG(now.mode):
                    return None
                data = content.checksum(fd, now)
                found = read_attributes(fd)
            finally:
                os.close(fd)
        elif stat.S_ISDIR(entry.mode):
            found = read_attributes(root.directory(name))
        else:
            if stat.S_ISLNK(entry.mode):
                link = os.readlink(base_of(name), dir_fd=root.directory(parent_of(name)))
            found = read_attributes(root.proc_path(name))
    except OSError as error:
        if went(error):
            return None
        raise unreadable(root.path, name, error) from error
    whole = blake2b(digest_size=16)
    for piece in (_metadata(entry), first, link):
        raw = os.fsencode(piece)
        whole.update(len(raw).to_bytes(4) + raw)
    whole.update(data)
    for key in sorted(found):
        raw = key.encode()
        whole.update(len(raw).to_bytes(4) + raw + len(found[key]).to_bytes(4) + found[key])
    return Part(1, whole.hexdigest())


def _metadata(entry: Entry) -> str:
    """Kind, mode, owner and time.  Who may not give files away cannot be held to owners, nor to
    the set-id bits that go with them."""
    mode, owner, group = stat.S_IMODE(entry.mode), entry.owner, entry.group
    if not is_root():
        mode, owner, group = mode & ~_SET_ID, 0, 0
    link = stat.S_ISLNK(entry.mode)
    return f"{entry.kind:o} {0 if link else mode:o} {owner} {group} {entry.mtime}"
