"""Owner, mode, times and extended attributes: read them, and make an entry have them.

An entry is given as an open descriptor, or as a path for kinds that must not be opened (links,
FIFOs).  Extended attributes that are carried: ``user.*`` and POSIX access lists always; as root
also ``trusted.*`` and ``security.capability``.  Other ``security.*`` labels belong to the policy of
a machine, not to the data.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

from crossfade.drivers.files.entries import Entry

__all__ = ["is_root", "let_in", "mode_for", "read_attributes", "settle"]

_ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default")
_NONE = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM})


def is_root() -> bool:
    """Whether we may give files away."""
    return os.geteuid() == 0


def _carried(name: str, root: bool) -> bool:
    if name.startswith("user.") or name in _ACCESS_LISTS:
        return True
    return root and (name.startswith("trusted.") or name == "security.capability")


def read_attributes(entry: int | str) -> dict[str, bytes]:
    """The extended attributes that are carried, by name.  Raises OSError."""
    follow = isinstance(entry, int)
    try:
        names = os.listxattr(entry, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NONE:
            return {}
        raise
    found: dict[str, bytes] = {}
    if names:
        root = is_root()
        for name in names:
            if _carried(name, root):
                try:
                    found[name] = os.getxattr(entry, name, follow_symlinks=follow)
                except OSError as error:
                    if error.errno not in _NONE:
                        raise
    return found


def mode_for(wanted: Entry, owner: int, group: int) -> int:
    """The permission bits of an entry; set-id bits only where the owner and group are kept too."""
    mode = stat.S_IMODE(wanted.mode)
    if stat.S_ISREG(wanted.mode) and (owner, group) != (wanted.owner, wanted.group):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    return mode


def settle(entry: int | str, wanted: Entry, attributes: Mapping[str, bytes]) -> bool:
    """Give an entry the owner, extended attributes, mode and modification time that are wanted.

    Changes only what differs; returns whether anything did.  Raises OSError, but not for an owner
    or a privileged attribute that we may not set: the digest shows those.
    """
    now = _look(entry)
    changed = False
    if (now.owner, now.group) != (wanted.owner, wanted.group):
        changed = _give(entry, now, wanted)
    if _set_attributes(entry, attributes):
        changed = True
    # Changing the owner or an access list changes the mode: look again, and set the mode after it.
    now = _look(entry)
    mode = mode_for(wanted, now.owner, now.group)
    if not stat.S_ISLNK(now.mode) and stat.S_IMODE(now.mode) != mode:
        os.chmod(entry, mode)  # noqa: PTH101 (a descriptor)
        changed = True
    if now.mtime != wanted.mtime:
        times = (wanted.mtime, wanted.mtime)
        if isinstance(entry, int):
            os.utime(entry, ns=times)
        else:
            os.utime(entry, ns=times, follow_symlinks=False)
        changed = True
    return changed


def let_in(directory: int) -> None:
    """Let ourselves, when not root, write in a directory of a target.  Raises OSError."""
    if not is_root():
        mode = stat.S_IMODE(os.fstat(directory).st_mode)
        if mode & 0o700 != 0o700:
            os.fchmod(directory, mode | 0o700)


def _look(entry: int | str) -> Entry:
    return Entry.of(os.fstat(entry) if isinstance(entry, int) else os.lstat(entry))


def _give(entry: int | str, now: Entry, wanted: Entry) -> bool:
    """Set owner and group, or at least the group; whether it worked."""
    for owner in (wanted.owner, -1):
        if owner == -1 and now.group == wanted.group:
            break
        try:
            if isinstance(entry, int):
                os.chown(entry, owner, wanted.group)
            else:
                os.chown(entry, owner, wanted.group, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
        else:
            return True
    return False


def _set_attributes(entry: int | str, wanted: Mapping[str, bytes]) -> bool:
    present = read_attributes(entry)
    if present == wanted:
        return False
    follow = isinstance(entry, int)
    for name in present.keys() - wanted.keys():
        os.removexattr(entry, name, follow_symlinks=follow)
    for name, value in wanted.items():
        if present.get(name) != value:
            try:
                os.setxattr(entry, name, value, follow_symlinks=follow)
            except OSError as error:
                if name.startswith("user.") or error.errno not in _NONE:
                    raise
    return True
