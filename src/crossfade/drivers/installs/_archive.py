"""Look through a tar archive from anywhere, and write it anew with only what was seen.

An entry that would stand or point outside of the place where it is unpacked refuses the archive:
absolute names, ``..``, what stands behind a link, links that lead out, devices and pipes.
"""

from __future__ import annotations

import copy
import gzip
import tarfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Final, cast

from crossfade.errors import Failed

__all__ = ["Plan", "look_through", "rewrite"]

MOST_ENTRIES: Final = 1_000_000
_BLOCK: Final = 1024
"""What an entry costs besides its content, roughly."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The entries as they will be written, each with the one that it comes from; and the bytes."""

    entries: tuple[tuple[tarfile.TarInfo, tarfile.TarInfo], ...]
    size: int


class _Refused(Exception):
    """Why an archive is not taken."""


def look_through(archive: IO[bytes], source: str, *, strip: bool) -> Plan:
    """Read every entry's head.  Raises Failed(archive-refused)."""
    try:
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            found = []
            for entry in tar:
                found.append(entry)
                if len(found) > MOST_ENTRIES:
                    raise _Refused(f"it has more than {MOST_ENTRIES:,} entries")
        return _planned(found, strip=strip)
    except _Refused as why:
        raise Failed("archive-refused", f"The archive is refused: {why}.", where=source) from None
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        what = f"The archive cannot be read: {error}."
        raise Failed("archive-refused", what, where=source) from error


def _planned(found: list[tarfile.TarInfo], *, strip: bool) -> Plan:
    named = [(_inside(entry.name, entry.name), entry) for entry in found]
    first = {names[0] for names, _ in named if names}
    if strip:
        if len(first) != 1:
            raise _Refused("it has not one directory that holds everything, so none can be taken")
        alone = [entry for names, entry in named if len(names) == 1 and not entry.isdir()]
        if alone:
            raise _Refused(f"{alone[0].name!r} is no directory that could be taken away")
    cut = 1 if strip else 0
    wanted = [(names[cut:], entry) for names, entry in named if len(names) > cut]
    if not wanted:
        raise _Refused("it is empty")
    links = {names for names, entry in wanted if entry.issym()}
    files = {names for names, entry in wanted if entry.isfile() or entry.islnk()} - links
    entries = []
    for names, entry in wanted:
        if any(names[:length] in links for length in range(1, len(names))):
            raise _Refused(f"{entry.name!r} stands behind a link")
        entries.append((_rewritten(names, entry, files, cut), entry))
    size = sum(entry.size + _BLOCK for _, entry in wanted)
    return Plan(tuple(entries), size)


def _rewritten(
    names: tuple[str, ...], entry: tarfile.TarInfo, files: set[tuple[str, ...]], cut: int
) -> tarfile.TarInfo:
    """The entry as it will be written: root's, with ordinary rights, below no other name."""
    made = tarfile.TarInfo("/".join(names))
    made.mtime = max(0, int(entry.mtime))
    made.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    if entry.isfile():
        made.size = entry.size
    elif entry.isdir():
        made.type = tarfile.DIRTYPE
    elif entry.issym():
        made.type, made.linkname = tarfile.SYMTYPE, _target(names, entry)
    elif entry.islnk():
        to = _inside(entry.linkname, entry.name)[cut:]
        if to not in files or to == names:
            raise _Refused(f"{entry.name!r} is a link to something that is no file of it")
        made.type, made.linkname = tarfile.LNKTYPE, "/".join(to)
    else:
        raise _Refused(f"{entry.name!r} is neither file, directory nor link")
    return made


def _target(names: tuple[str, ...], entry: tarfile.TarInfo) -> str:
    """What a symbolic link may hold: steps up to root at the highest, and then only down."""
    steps = PurePosixPath(entry.linkname).parts
    up = next((n for n, step in enumerate(steps) if step != ".."), len(steps))
    inside = up < len(names) and ".." not in steps[up:]
    if not steps or entry.linkname.startswith("/") or "\0" in entry.linkname or not inside:
        raise _Refused(f"{entry.name!r} is a link that leads out of it")
    return entry.linkname


def _inside(name: str, shown: str) -> tuple[str, ...]:
    """The parts of a name that stays inside."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise _Refused(f"{shown!r} would stand outside of it")
    return parts


class _Parts:
    """A file that is only written: what was written goes away in parts of about one size."""

    def __init__(self, send: Callable[[bytes], None], part: int) -> None:
        self._send = send
        self._part = part
        self._kept = bytearray()

    def write(self, data: bytes) -> int:
        """Take some, and send a part when there is one."""
        self._kept += data
        if len(self._kept) >= self._part:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Send what is left."""
        if self._kept:
            self._send(bytes(self._kept))
            self._kept.clear()


def rewrite(
    archive: IO[bytes], plan: Plan, send: Callable[[bytes], None], *, part: int, packed: bool
) -> None:
    """Write the planned entries as a tar archive of its own, in parts; packed: gzip, quickly."""
    parts = _Parts(send, part)
    archive.seek(0)
    with ExitStack() as stack:
        target = cast(IO[bytes], parts)
        if packed:
            target = cast(
                IO[bytes],
                stack.enter_context(gzip.GzipFile("", "wb", compresslevel=1, fileobj=target)),
            )
        old = stack.enter_context(tarfile.open(fileobj=archive, mode="r:*"))
        new = stack.enter_context(
            tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT)
        )
        for made, entry in plan.entries:
            content = old.extractfile(copy.copy(entry)) if entry.isfile() else None
            new.addfile(made, content)
    parts.flush()
