"""What stands in a tree: one walk, one ``lstat`` an entry, no link ever followed.

Directories are opened name by name from the root with ``O_NOFOLLOW``, so that neither a link that
somebody puts in the way nor a path longer than the kernel takes leads us astray.  Names are str
with surrogate escapes for bytes that are not UTF-8; the root itself is called ``.``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from crossfade.errors import Failed

__all__ = [
    "GONE",
    "HERE",
    "Entry",
    "Root",
    "base_of",
    "groups_of",
    "open_quietly",
    "parent_of",
    "scan",
    "unreadable",
    "went",
]

HERE: Final = "."
"""The name of a tree's root."""

GONE: Final = (FileNotFoundError, NotADirectoryError)
"""What a system call says about an entry that vanished in the meantime."""

_ANOTHER: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}  # gone, or a directory above it is
    | {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EINVAL}  # a link, a socket, ... took its place
)

_SKIPPED: Final = {stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
_OPEN_AT_ONCE: Final = 32
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(NamedTuple):
    """What ``lstat`` says of one entry; times in nanoseconds, ``blocks`` of 512 bytes."""

    mode: int
    owner: int
    group: int
    size: int
    mtime: int
    ctime: int
    inode: int
    device: int
    links: int
    blocks: int

    @classmethod
    def of(cls, found: os.stat_result) -> Entry:
        """The part of a stat result that matters here."""
        return cls(
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
            found.st_dev,
            found.st_nlink,
            found.st_blocks,
        )

    @property
    def kind(self) -> int:
        """The file type bits of the mode."""
        return stat.S_IFMT(self.mode)

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Inode, size and both times: equal keys mean that nothing was done to the entry."""
        return self.inode, self.size, self.mtime, self.ctime

    @property
    def skipped(self) -> str:
        """Why the entry is no data (``socket`` or ``device``), else an empty string."""
        return _SKIPPED.get(stat.S_IFMT(self.mode), "")

    @property
    def sparse(self) -> bool:
        """Whether the file has holes."""
        return self.blocks * 512 < self.size


def parent_of(name: str) -> str:
    """The directory in which an entry stands."""
    return name.rpartition("/")[0] or HERE


def base_of(name: str) -> str:
    """The last part of an entry's name."""
    return name.rpartition("/")[2]


def went(error: OSError) -> bool:
    """Whether an error only says that an entry vanished or became another kind meanwhile."""
    return error.errno in _ANOTHER


def unreadable(path: Path, name: str, error: OSError) -> Failed:
    """The explained error for something of a tree that we may not or cannot read."""
    return Failed(
        "file-unreadable",
        f"{name!r} in {path} cannot be read: {error.strerror}",
        where=f"tree {path}, entry {name!r}",
    )


def open_quietly(base: str, flags: int, directory: int) -> int:
    """Open for reading without touching the access time where that is allowed."""
    try:
        return os.open(base, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(base, flags, dir_fd=directory)


class Root:
    """A tree's root, and descriptors of its directories.  For one thread; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Root:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget()
        os.close(self._root)

    def forget(self) -> None:
        """Close the descriptors of all directories but the root's."""
        while self._open:
            os.close(self._open.popitem()[1])

    def directory(self, name: str) -> int:
        """A descriptor of a directory, good until 32 others were asked for.  Raises OSError."""
        missing = []
        while name != HERE and name not in self._open:
            missing.append(name)
            name = parent_of(name)
        if name == HERE:
            found = self._root
        else:
            found = self._open[name]
            self._open.move_to_end(name)
        for name in reversed(missing):
            found = open_quietly(base_of(name), _DIRECTORY, found)
            self._open[name] = found
            if len(self._open) > _OPEN_AT_ONCE:
                os.close(self._open.popitem(last=False)[1])
        return found

    def entry(self, name: str) -> Entry | None:
        """What stands at a name now; None when nothing does."""
        try:
            if name == HERE:
                return Entry.of(os.fstat(self._root))
            directory = self.directory(parent_of(name))
            return Entry.of(os.stat(base_of(name), dir_fd=directory, follow_symlinks=False))
        except GONE:
            return None

    def proc_path(self, name: str) -> str:
        """A short path to an entry for the calls that take no directory descriptor."""
        return f"/proc/self/fd/{self.directory(parent_of(name))}/{base_of(name)}"


def scan(root: Root) -> dict[str, Entry]:
    """Every entry of a tree, directories before what is in them, in a stable order.

    Entries that vanish meanwhile are left out.  Raises Failed(file-unreadable).
    """
    found = {HERE: Entry.of(os.fstat(root.directory(HERE)))}
    waiting = [HERE]
    while waiting:
        name = waiting.pop()
        try:
            listed = _list(root.directory(name))
        except OSError as error:
            if went(error):
                del found[name]
                continue
            raise unreadable(root.path, name, error) from error
        prefix = "" if name == HERE else f"{name}/"
        for base, entry in listed:
            found[prefix + base] = entry
            if stat.S_ISDIR(entry.mode):
                waiting.append(prefix + base)
    return found


def _list(directory: int) -> list[tuple[str, Entry]]:
    listed = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                listed.append((entry.name, Entry.of(entry.stat(follow_symlinks=False))))
            except GONE:
                continue
    listed.sort()
    return listed


def groups_of(entries: Iterable[tuple[str, Entry]]) -> dict[str, tuple[str, ...]]:
    """Hard links: for every name that shares its inode with others, all names, sorted."""
    by_inode: dict[tuple[int, int], list[str]] = {}
    for name, entry in entries:
        if entry.links > 1 and not stat.S_ISDIR(entry.mode):
            by_inode.setdefault((entry.device, entry.inode), []).append(name)
    groups = {}
    for names in by_inode.values():
        if len(names) > 1:
            group = tuple(sorted(names))
            groups.update(dict.fromkeys(group, group))
    return groups
