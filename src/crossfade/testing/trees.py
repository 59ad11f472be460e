"""Trees for tests: one with everything that a copy has to keep, and a picture to compare by."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

__all__ = ["BIG", "SPARSE", "fill", "picture"]

BIG = 512 * 1024
"""Bytes of the file ``big`` that ``fill`` makes."""

SPARSE = 8 * 1024 * 1024
"""Bytes of the file ``sparse``, nearly all of them a hole."""


def picture(path: Path, *, inodes: bool = False) -> dict[str, tuple[Any, ...]]:
    """All that can be told of every entry below a path, sockets and devices left out.

    With ``inodes`` also inode and change time: two equal pictures mean that nothing was touched.
    """
    found: dict[str, tuple[Any, ...]] = {}
    groups: dict[int, list[str]] = {}
    for directory, directories, files in os.walk(os.fsencode(path)):
        inside = [b"."] if directory == os.fsencode(path) else []
        for base in (*inside, *directories, *files):
            full = os.path.normpath(os.path.join(directory, base))  # noqa: PTH118 (bytes)
            name = os.fsdecode(os.path.relpath(full, os.fsencode(path)))
            told = os.lstat(full)
            kind = stat.S_IFMT(told.st_mode)
            if kind in (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
                continue
            content: object = None
            if kind == stat.S_IFREG:
                content = sha256(Path(os.fsdecode(full)).read_bytes()).hexdigest()
            elif kind == stat.S_IFLNK:
                content = os.readlink(full)  # noqa: PTH115 (bytes)
            attributes = {
                key: os.getxattr(full, key, follow_symlinks=False)
                for key in os.listxattr(full, follow_symlinks=False)
            }
            if kind != stat.S_IFDIR and told.st_nlink > 1:
                groups.setdefault(told.st_ino, []).append(name)
            found[name] = (
                oct(told.st_mode),
                (told.st_uid, told.st_gid),
                told.st_mtime_ns,
                told.st_size if kind == stat.S_IFREG else 0,
                content,
                tuple(sorted(attributes.items())),
                (told.st_ino, told.st_ctime_ns) if inodes else (),
            )
    for names in groups.values():
        for name in names:
            found[name] += (tuple(sorted(names)),) if len(names) > 1 else ((),)
    return {name: told if len(told) == 8 else (*told, ()) for name, told in found.items()}


def fill(path: Path) -> None:
    """Make a tree with one of everything that a copy has to keep."""
    (path / "sub" / "empty").mkdir(parents=True)
    (path / "text").write_text("hello\n")
    (path / "nothing").touch()
    (path / "big").write_bytes(bytes(range(256)) * (BIG // 256))
    (path / "private").write_bytes(b"key")
    (path / "private").chmod(0o400)
    (path / "sub" / "program").write_bytes(b"#!/bin/true\n")
    (path / "sub" / "program").chmod(0o4755)
    (path / "sub" / "link").symlink_to("../text")
    (path / "sub" / "dangling").symlink_to("no/where")
    (path / "to-directory").symlink_to("sub")
    (path / "again").hardlink_to(path / "text")
    (path / "sub" / "and again").hardlink_to(path / "text")
    os.mkfifo(path / "fifo", 0o620)
    Path(os.fsdecode(os.fsencode(path) + b"/caf\xe9 \xff")).write_bytes(b"latin")
    (path / "two\nlines").write_bytes(b"\n")
    (path / "-rf *").write_bytes(b"a name")
    (path / "schön").write_bytes(b"utf-8")
    with (path / "sparse").open("wb") as file:
        file.truncate(SPARSE)
        file.seek(SPARSE // 2 + 77)
        file.write(b"island")
    os.setxattr(path / "text", "user.note", b"\0binary\xff")
    os.setxattr(path / "sub", "user.colour", b"blue")
    (path / "sub" / "empty").chmod(0o2770)
    for name, ns in (("text", 1_234_567_890_123_456_789), ("sub/link", 987_654_321_987_654_321)):
        os.utime(path / name, ns=(ns, ns), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(path / "big", 12345, 23456)
        os.chown(path / "sub" / "link", 12345, 23456, follow_symlinks=False)
        os.setxattr(path / "big", "trusted.origin", b"old")
    os.utime(path / "sub", ns=(1, 1_000_000_000_000_000_007))
