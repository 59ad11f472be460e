"""Make what a pass wrote survive a power cut.

A few files are synchronised one by one; for many, ``sync -f`` flushes the one file system that
holds the target, which costs one journal commit instead of thousands.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from typing import Final

from crossfade.drivers.files.entries import GONE, Root, base_of, parent_of

__all__ = ["FEW", "make"]

FEW: Final = 32


def make(root: Root, names: Sequence[str]) -> None:
    """Synchronise entries of a tree and the directories that hold them.  Raises OSError."""
    if len(names) > FEW and _whole_file_system(root):
        return
    directories = set()
    for name in names:
        directories.add(parent_of(name))
        entry = root.entry(name)
        if entry is None:
            continue
        if stat.S_ISDIR(entry.mode):
            directories.add(name)
        elif stat.S_ISREG(entry.mode):
            _one(root, name)
    for name in directories:
        try:
            os.fsync(root.directory(name))
        except GONE:
            continue


def _one(root: Root, name: str) -> None:
    try:
        fd = os.open(
            base_of(name), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=root.directory(parent_of(name))
        )
    except PermissionError:  # our own copy of a file that even its owner may not read
        _whole_file_system(root)
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _whole_file_system(root: Root) -> bool:
    program = shutil.which("sync")
    if program is None:
        return False
    done = subprocess.run((program, "-f", root.path), capture_output=True, check=False)
    return done.returncode == 0
