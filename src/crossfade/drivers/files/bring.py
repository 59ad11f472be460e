"""Bring one entry over: the only code that writes into a target.

Every entry is made under a temporary name beside its final one and renamed, so that an interrupted
pass leaves nothing half made under a real name; the next pass removes what is left.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crossfade.drivers.files import content
from crossfade.drivers.files.attributes import let_in, read_attributes, settle
from crossfade.drivers.files.entries import (
    Entry,
    Root,
    base_of,
    open_quietly,
    parent_of,
    unreadable,
    went,
)
from crossfade.errors import Failed

__all__ = ["Bringer", "unwritable"]

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TARGETS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def unwritable(path: Path, name: str, error: OSError) -> Failed:
    """The explained error for something of a target that cannot be written."""
    where = f"tree {path}, entry {name!r}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed("disk-full", f"The disk of {path} is full.", where=where)
    return Failed(
        "target-unwritable", f"{name!r} in {path} cannot be written: {error.strerror}", where=where
    )


class Bringer:
    """Brings entries from one tree to another.  For one thread.

    Each method returns True when it changed the target, False when the entry was equal already,
    and None when the source's entry vanished or became another kind: the next pass sees to that.
    All raise Failed (file-unreadable, disk-full, target-unwritable).
    """

    def __init__(self, source: Root, target: Root, told: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._told = told

    def file(self, name: str, *, reuse: bool, known: bool) -> bool | None:
        """A regular file.  With ``reuse`` the target's file may stay when its bytes are the same;
        with ``known`` they are."""
        try:
            fd = open_quietly(base_of(name), _READ, self._source.directory(parent_of(name)))
        except OSError as error:
            if went(error):
                return None
            raise unreadable(self._source.path, name, error) from error
        try:
            entry = Entry.of(os.fstat(fd))
            if not stat.S_ISREG(entry.mode):
                return None
            return self._file(fd, name, entry, reuse=reuse, known=known)
        finally:
            os.close(fd)

    def _file(self, fd: int, name: str, entry: Entry, *, reuse: bool, known: bool) -> bool:
        found = self._attributes(fd, name)
        if reuse:
            changed = self._keep(fd, name, entry, found, known=known)
            if changed is not None:
                return changed
        base, directory, temporary = self._place(name)
        try:
            there = os.open(temporary, _CREATE, 0o600, dir_fd=directory)
            try:
                self._copy(fd, there, name, entry)
                settle(there, entry, found)
            finally:
                os.close(there)
            os.rename(temporary, base, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException as error:
            _discard(temporary, directory)
            if isinstance(error, OSError):
                raise unwritable(self._target.path, name, error) from error
            raise
        return True

    def _attributes(self, entry: int | str, name: str) -> dict[str, bytes]:
        try:
            return read_attributes(entry)
        except OSError as error:
            raise unreadable(self._source.path, name, error) from error

    def _copy(self, fd: int, there: int, name: str, entry: Entry) -> None:
        try:
            content.copy(fd, there, entry, self._told)
        except OSError as error:
            if error.errno in _TARGETS:
                raise
            raise unreadable(self._source.path, name, error) from error

    def _keep(
        self, fd: int, name: str, entry: Entry, attributes: dict[str, bytes], *, known: bool
    ) -> bool | None:
        """Keep the target's file if its bytes are the same; None when it has to be written."""
        try:
            directory = self._target.directory(parent_of(name))
            there = os.open(base_of(name), _READ, dir_fd=directory)
        except OSError:
            return None
        try:
            if os.fstat(there).st_size != entry.size:
                return None
            if not known and not self._same(fd, there, name, entry):
                return None
            return settle(there, entry, attributes)
        except OSError as error:
            raise unwritable(self._target.path, name, error) from error
        finally:
            os.close(there)

    def _same(self, fd: int, there: int, name: str, entry: Entry) -> bool:
        try:
            return content.same(fd, there, entry.size)
        except OSError as error:
            raise unreadable(self._source.path, name, error) from error

    def _place(self, name: str) -> tuple[str, int, str]:
        """Last part, directory and a temporary name for a target entry."""
        try:
            directory = self._target.directory(parent_of(name))
            let_in(directory)
        except OSError as error:
            raise unwritable(self._target.path, name, error) from error
        return base_of(name), directory, f".crossfade-{secrets.token_hex(8)}"

    def other(self, name: str, entry: Entry, *, reuse: bool) -> bool | None:
        """A symbolic link or a FIFO.  Neither is opened."""
        link = None
        try:
            if stat.S_ISLNK(entry.mode):
                directory = self._source.directory(parent_of(name))
                link = os.readlink(base_of(name), dir_fd=directory)
            found = read_attributes(self._source.proc_path(name))
        except OSError as error:
            if went(error):
                return None
            raise unreadable(self._source.path, name, error) from error
        base, directory, temporary = self._place(name)
        try:
            if reuse and (link is None or link == os.readlink(base, dir_fd=directory)):
                return settle(self._target.proc_path(name), entry, found)
            if link is None:
                os.mkfifo(temporary, 0o600, dir_fd=directory)
            else:
                os.symlink(link, temporary, dir_fd=directory)
            settle(f"/proc/self/fd/{directory}/{temporary}", entry, found)
            os.rename(temporary, base, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            _discard(temporary, directory)
            raise unwritable(self._target.path, name, error) from error
        return True

    def link(self, name: str, first: str) -> bool | None:
        """A further name of an entry whose first name is there already."""
        wanted, there = self._target.entry(first), self._target.entry(name)
        if wanted is None:
            return None
        if there is not None and (there.device, there.inode) == (wanted.device, wanted.inode):
            return False
        from_directory = os.dup(self._target.directory(parent_of(first)))
        base, directory, temporary = self._place(name)
        try:
            os.link(
                base_of(first),
                temporary,
                src_dir_fd=from_directory,
                dst_dir_fd=directory,
                follow_symlinks=False,
            )
            os.rename(temporary, base, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            _discard(temporary, directory)
            raise unwritable(self._target.path, name, error) from error
        finally:
            os.close(from_directory)
        return True

    def directory(self, name: str, entry: Entry) -> bool | None:
        """The metadata of a directory that exists on both sides."""
        try:
            found = self._attributes(self._source.directory(name), name)
        except OSError as error:
            if went(error):
                return None
            raise unreadable(self._source.path, name, error) from error
        try:
            return settle(self._target.directory(name), entry, found)
        except OSError as error:
            raise unwritable(self._target.path, name, error) from error


def _discard(temporary: str, directory: int) -> None:
    try:
        os.unlink(temporary, dir_fd=directory)
    except OSError:
        return
