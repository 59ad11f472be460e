"""What stands in a tree on any machine, as GNU find tells it: one command, one line an entry."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from crossfade.drivers.files.entries import HERE, parent_of
from crossfade.errors import Failed
from crossfade.ports import Host

__all__ = ["ARRIVING", "FarEntry", "Known", "Seen", "above", "groups", "look", "paths"]

ARRIVING: Final = ".crossfade-arriving"
"""The directory inside a target in which things arrive; no part of any tree."""

_FORMAT: Final = r"%y %m %U %G %s %T@ %C@ %i %D %n\0%P\0%l\0"
_FIELDS: Final = 3
_MAGIC: Final = b"crossfade-tree"
_KINDS: Final = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "p": stat.S_IFIFO,
}

# $1 the tree, $2 the directory that is no part of it, $3 the format.  Find's errors come last.
_LOOK: Final = r"""
LC_ALL=C; export LC_ALL
if ! cd "$1" 2>/dev/null; then
    if [ -e "$1" ] && [ -d "$1" ]; then set -- shut; else set -- missing; fi
    printf '%s\0' "$1"; exit 0
fi
printf '%s\0%s\0%s\0' crossfade-tree "$(id -u)" "$(date +%s)"
printf '%s\0%s\0' "$(getent passwd | cut -d: -f1,3)" "$(getent group | cut -d: -f1,3)"
exec 3>&1
errors=$(find . -path "./$2" -prune -o -printf "$3" 2>&1 1>&3)
printf 'errors\0%s\0' "$errors"
"""


class FarEntry(NamedTuple):
    """What find says of one entry; times in nanoseconds, ``mode`` with the kind's bits (which are
    0 for what is no data)."""

    mode: int
    owner: int
    group: int
    size: int
    mtime: int
    ctime: int
    inode: int
    device: int
    links: int
    user: str
    group_name: str
    link: str

    @property
    def kind(self) -> int:
        """The file type bits of the mode."""
        return stat.S_IFMT(self.mode)

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Equal keys mean that nothing was done to the entry."""
        return self.inode, self.size, self.mtime, self.ctime


Known = dict[tuple[bytes, ...], tuple[str, FarEntry]]
"""Lines of find, and what they mean."""


class Seen(NamedTuple):
    """A tree at one moment, by the clock of its machine; ``root`` says that we act as root."""

    entries: dict[str, FarEntry]
    skipped: tuple[str, ...]
    root: bool
    when: int

    def settled(self, entry: FarEntry) -> bool:
        """Whether a later write must change the entry's key."""
        return entry.ctime < self.when - 2_000_000_000


def paths(names: Iterable[str]) -> bytes:
    """Names as a list for xargs and tar: each ends with a NUL and begins with ``./``."""
    return b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)


def look(host: Host, path: Path, name: str, known: Known | None = None) -> Seen | None:
    """Everything below ``path``; None when there is no tree.  Raises Failed(file-unreadable).

    ``known`` is what was understood the last time, and afterwards what was this time."""
    argv = ("sh", "-c", _LOOK, "crossfade", str(path), ARRIVING, _FORMAT)
    with host.reading(argv) as stream:
        fields = stream.read().split(b"\0")
    if fields[0] == b"missing":
        return None
    where = f"tree {name}, {path} on {host.name}"
    if fields[0] != _MAGIC or fields[-3] != b"errors":
        raise Failed("file-unreadable", f"{path} cannot be listed on {host.name}.", where=where)
    bad = [
        line
        for line in fields[-2].decode(errors="replace").splitlines()
        if not line.endswith("No such file or directory")
    ]
    if bad:
        what = f"Not all of {path} can be read on {host.name}: {bad[0]}"
        raise Failed("file-unreadable", what, where=where)
    entries, skipped = _parsed(
        fields[5:-3], {} if known is None else known, (_accounts(fields[3]), _accounts(fields[4]))
    )
    return Seen(entries, skipped, fields[1] == b"0", int(fields[2]) * 1_000_000_000)


def _parsed(
    fields: list[bytes], known: Known, accounts: tuple[dict[int, str], dict[int, str]]
) -> tuple[dict[str, FarEntry], tuple[str, ...]]:
    found: dict[str, FarEntry] = {}
    skipped = []
    fresh: Known = {}
    for line in zip(*(iter(fields),) * _FIELDS, strict=False):
        told = known.get(line)
        if told is None:
            told = os.fsdecode(line[1]) or HERE, _entry(line, *accounts)
        fresh[line] = told
        name, entry = told
        if entry.mode:
            found[name] = entry
        else:
            skipped.append(f"{name} ({'socket' if line[0][:1] == b's' else 'device'})")
    known.clear()
    known.update(fresh)
    return dict(sorted(found.items())), tuple(sorted(skipped))


def _accounts(text: bytes) -> dict[int, str]:
    """Names by number; the first of several."""
    found: dict[int, str] = {}
    for line in text.decode(errors="surrogateescape").splitlines():
        name, _, number = line.rpartition(":")
        if number.isdigit():
            found.setdefault(int(number), name)
    return found


def _entry(line: tuple[bytes, ...], users: dict[int, str], teams: dict[int, str]) -> FarEntry:
    numbers, _, link = line
    kind, mode, uid, gid, size, mtime, ctime, inode, device, links = numbers.split(b" ")
    bits = _KINDS.get(kind.decode(), 0)
    return FarEntry(
        bits | int(mode, 8) if bits else 0,
        int(uid),
        int(gid),
        int(size),
        _ns(mtime),
        _ns(ctime),
        int(inode),
        int(device),
        int(links),
        users.get(int(uid), uid.decode()),
        teams.get(int(gid), gid.decode()),
        os.fsdecode(link),
    )


def _ns(text: bytes) -> int:
    """Seconds with a fraction, as find prints them, in nanoseconds."""
    seconds, _, fraction = text.partition(b".")
    whole = int(seconds) * 1_000_000_000
    part = int(fraction[:9].ljust(9, b"0"))
    return whole - part if seconds.startswith(b"-") else whole + part


def groups(entries: dict[str, FarEntry]) -> dict[str, tuple[str, ...]]:
    """Hard links: for every name that shares its inode with others, all names, sorted."""
    by_inode: dict[tuple[int, int], list[str]] = {}
    for name, entry in entries.items():
        if entry.links > 1 and not stat.S_ISDIR(entry.mode):
            by_inode.setdefault((entry.device, entry.inode), []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    for names in by_inode.values():
        if len(names) > 1:
            found.update(dict.fromkeys(names, tuple(sorted(names))))
    return found


def above(name: str) -> list[str]:
    """The directories above a name, nearest first, the root last."""
    found = []
    while name != HERE:
        name = parent_of(name)
        found.append(name)
    return found
