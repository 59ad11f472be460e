"""A web server's configuration files on this machine: read and written whole, owner and mode kept;
and which of its connections the kernel still knows."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import sys
from collections.abc import Collection
from pathlib import Path

from crossfade.drivers.fronts._places import names
from crossfade.drivers.listeners import ip_of
from crossfade.errors import Failed
from crossfade.model import Address

__all__ = ["connections", "keep", "matching", "read", "unwritable", "write"]

_ESTABLISHED = "01"


def matching(pattern: Path) -> list[Path]:
    """The files that an include's pattern, which is absolute, stands for, in their order."""
    found = glob.glob(str(pattern))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [path for path in map(Path, sorted(found)) if path.is_file()]


def read(path: Path) -> str:
    """A configuration file, each byte as one character.  Raises Failed(front-unreadable)."""
    try:
        return path.read_bytes().decode("latin-1")
    except OSError as error:
        raise Failed(
            "front-unreadable",
            f"The configuration file {path} cannot be read: {error.strerror}.",
            where=str(path),
        ) from error


def unwritable(path: Path) -> str:
    """Why a file cannot be replaced; empty when it can.  Tries it with a file beside it."""
    try:
        _beside(path, b"").unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def write(path: Path, text: str) -> None:
    """Replace a file, atomically and durably.  Owner, mode and extended attributes stay.

    Raises Failed(front-unwritable); then it is as it was."""
    try:
        new = _beside(path, text.encode("latin-1"))
        try:
            new.replace(path)
        except OSError:
            new.unlink()
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise Failed(
            "front-unwritable",
            f"The configuration file {path} cannot be written: {error.strerror}.",
            where=str(path),
        ) from error


def keep(directory: Path, name: str, text: str) -> None:
    """Keep a private copy of a file's text.  Raises Failed(front-unwritable)."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / name).exists():
            part = directory / f".{name}"
            with open(part, "wb", opener=lambda at, flags: os.open(at, flags, 0o600)) as file:
                file.write(text.encode("latin-1"))
                file.flush()
                os.fsync(file.fileno())
            part.replace(directory / name)
    except OSError as error:
        raise Failed(
            "front-unwritable",
            f"The copy of a configuration file cannot be kept: {error.strerror}.",
            where=str(directory),
        ) from error


def _beside(path: Path, data: bytes) -> Path:
    """A file beside another one, with this content and all else as there.  Its name begins with a
    dot, so no include by a pattern takes it."""
    new = path.with_name(f".crossfade-{secrets.token_hex(8)}")
    before = path.stat()
    try:
        with open(new, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            for name in os.listxattr(path):
                os.setxattr(file.fileno(), name, os.getxattr(path, name))
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    return new


def connections(to: Address, programs: Collection[str]) -> int:
    """How many connections to an address the programs of these names have, as far as we may see."""
    inodes = {f"socket:[{inode}]" for inode in _established(to)}
    if not inodes:
        return 0
    return sum(
        name in inodes
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _comm(process) in programs
        for name in _open(process)
    )


def _established(to: Address) -> set[str]:
    """The inodes of the sockets connected to an address (proc_net_tcp of the kernel's docs)."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                host, _, port = fields[2].partition(":")
                if fields[3] == _ESTABLISHED and int(port, 16) == to.port:
                    there = Address(str(ip_of(host, sys.byteorder)), to.port)
                    if names(there, to):
                        found.add(fields[9])
    return found


def _comm(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def _open(process: Path) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found
