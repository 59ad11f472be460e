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

__all__ = [
    "ARRIVING",
    "FarEntry",
    "Known",
    "Seen",
    "above",
    "groups",
    "look",
    "nanoseconds",
    "paths",
]

ARRIVING: Final = ".crossfade-arriving"
"""The directory inside a target in which things arrive; no part of any tree."""

_FORMAT: Final = r"%y %m %U %G %s %T@ %C@ %i %D %n\0%p\0/%l\0\0"
_END: Final = b"\0\0"
"""Ends what find says of an entry; nothing within is empty, so it stands nowhere else."""

_MAGIC: Final = b"crossfade-tree"
_MISSING: Final = b"missing"
_LEAST: Final = {_MAGIC: 7, _MISSING: 4}
"""What find's answer has at least: parts that end with that mark, and what comes after the last."""

_KINDS: Final = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "p": stat.S_IFIFO,
}

# $1 the tree, $2 the directory that is no part of it, $3 the format, $4 says that accounts are
# wanted.  After the tree comes what arrived in it, if anything did.  Find's errors come last.
_LOOK: Final = r"""
LC_ALL=C; export LC_ALL
if cd "$1" 2>/dev/null; then is=crossfade-tree
elif [ -e "$1" ] && [ -d "$1" ]; then is=shut
else is=missing; fi
echo "$is"; date +%s
if [ -n "$4" ]; then id -u; fi
printf '\0\0'
if [ "$is" = shut ]; then exit 0; fi
if [ -n "$4" ]; then getent passwd | cut -d: -f1,3; fi; printf '\0\0'
if [ -n "$4" ]; then getent group | cut -d: -f1,3; fi; printf '\0\0'
if [ "$is" = missing ]; then exit 0; fi
exec 3>&1
errors=$(
    find . -path "./$2" -prune -o -printf "$3" 2>&1 1>&3
    printf 'arrived\0\0' >&3
    if cd "$2/tree" 2>/dev/null; then find . -printf "$3" 2>&1 1>&3; fi
)
printf 'errors\0\0%s\0\0' "$errors"
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


class Known:
    """What was understood the last time: lines of find with what they mean, and accounts' names
    and our own rights, which need not be asked for again as long as no other number comes up."""

    def __init__(self) -> None:
        self.root = False
        self.users: dict[int, str] = {}
        self.groups: dict[int, str] = {}
        self._lines: dict[bytes, tuple[str, FarEntry]] = {}
        self._all: dict[str, FarEntry] = {}
        self._odd: set[str] = set()

    def accounts(self) -> set[str]:
        """The names of accounts, each after a ``u``, and of groups, each after a ``g``."""
        return {f"u{one}" for one in self.users.values()} | {
            f"g{one}" for one in self.groups.values()
        }

    def parsed(self, lines: list[bytes]) -> tuple[dict[str, FarEntry], list[str]]:
        """Entries by name, sorted, and what is no data.  Only lines that are new are looked at, by
        sets, because there may be many.  Raises KeyError for an account's number that is not
        known."""
        now = set(lines)
        fresh = {line: _entry(line, self.users, self.groups) for line in now - self._lines.keys()}
        gone = [self._lines.pop(line)[0] for line in self._lines.keys() - now]
        found = self._all.copy()
        for name in gone:
            del found[name]
        for name, entry in fresh.values():
            found[name] = entry
        self._lines.update(fresh)
        if len(found) != len(self._lines):  # renamed while find went by: it has a name twice
            found = dict(map(self._lines.__getitem__, lines))
            self._lines = {}
        if list(self._all) != list(found):
            found = dict(sorted(found.items()))
        self._all = found if self._lines else {}
        self._odd.update(name for name, entry in fresh.values() if not entry.mode)
        self._odd = {name for name in self._odd if name in found and not found[name].mode}
        if not self._odd:
            return found, []
        odd = [f"{name} ({found[name].link})" for name in sorted(self._odd)]
        return {name: entry for name, entry in found.items() if entry.mode}, odd


class Seen(NamedTuple):
    """A tree at one moment, by the clock of its machine; ``root`` says that we act as root.

    ``arrived`` is what came in an earlier pass and has no real name yet.  ``missing`` says that
    there is no tree."""

    entries: dict[str, FarEntry]
    skipped: tuple[str, ...]
    root: bool
    when: int
    arrived: dict[str, FarEntry]
    missing: bool

    def settled(self, entry: FarEntry) -> bool:
        """Whether a later write must change the entry's key."""
        return entry.ctime < self.when - 2_000_000_000


def paths(names: Iterable[str]) -> bytes:
    """Names as a list for xargs and tar: each ends with a NUL and begins with ``./``."""
    return b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)


def look(host: Host, path: Path, name: str, known: Known) -> Seen:
    """Everything below ``path``.  Raises Failed(file-unreadable).

    ``known`` is what was understood the last time, and afterwards what was this time."""
    where = f"tree {name}, {path} on {host.name}"
    while True:
        known.users, known.groups = dict(known.users), dict(known.groups)
        wanted = "" if known.users else "accounts"
        argv = ("sh", "-c", _LOOK, "crossfade", str(path), ARRIVING, _FORMAT, wanted)
        with host.reading(argv) as stream:
            told = stream.read().split(_END)
        first = told[0].split()
        if first[:1] not in ([_MAGIC], [_MISSING]) or len(told) < _LEAST[first[0]]:
            raise Failed("file-unreadable", f"{path} cannot be listed on {host.name}.", where=where)
        if wanted:
            known.root = first[2] == b"0"
            known.users, known.groups = _Names(_accounts(told[1])), _Names(_accounts(told[2]))
        when = int(first[1]) * 1_000_000_000
        if first[0] == _MISSING:
            return Seen({}, (), known.root, when, {}, missing=True)
        _heard(told[-2], f"{path} can be read on {host.name}", where)
        try:
            entries, skipped, arrived = _parsed(told[3:-3], known)
        except KeyError:
            known.users = {}
            continue
        return Seen(entries, tuple(skipped), known.root, when, arrived, missing=False)


def _heard(errors: bytes, what: str, where: str) -> None:
    """Find's complaints; that something vanished is none."""
    for line in errors.decode(errors="replace").splitlines():
        if not line.endswith("No such file or directory"):
            raise Failed("file-unreadable", f"Not all of {what}: {line}", where=where)


def _parsed(
    told: list[bytes], known: Known
) -> tuple[dict[str, FarEntry], list[str], dict[str, FarEntry]]:
    """The tree's entries, what is no data, and the entries that arrived."""
    middle = told.index(b"arrived")
    there = Known()
    there.users, there.groups = known.users, known.groups
    arrived, _ = there.parsed(told[middle + 1 :])
    entries, skipped = known.parsed(told[:middle])
    return entries, skipped, arrived


class _Names(dict[int, str]):
    """Accounts that were just asked for: one that has no name is called by its number."""

    def __missing__(self, number: int) -> str:
        return str(number)


def _accounts(text: bytes) -> dict[int, str]:
    """Names by number; the first of several."""
    found: dict[int, str] = {}
    for line in text.decode(errors="surrogateescape").splitlines():
        name, _, number = line.rpartition(":")
        if number.isdigit():
            found.setdefault(int(number), name)
    return found


def _entry(line: bytes, users: dict[int, str], teams: dict[int, str]) -> tuple[str, FarEntry]:
    numbers, path, link = line.split(b"\0")
    kind, mode, uid, gid, size, mtime, ctime, inode, device, links = numbers.split(b" ")
    bits = _KINDS.get(kind.decode(), 0)
    what = os.fsdecode(link[1:]) if bits else "socket" if kind == b"s" else "device"
    return os.fsdecode(path[2:]) or HERE, FarEntry(
        bits | int(mode, 8) if bits else 0,
        int(uid),
        int(gid),
        int(size),
        nanoseconds(mtime),
        nanoseconds(ctime),
        int(inode),
        int(device),
        int(links),
        users[int(uid)],
        teams[int(gid)],
        what,
    )


def nanoseconds(text: bytes) -> int:
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
