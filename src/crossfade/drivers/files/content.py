"""The bytes of one file: copy them, compare them, hash them.  Holes stay holes and cost nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final

from crossfade.drivers.files.entries import Entry

__all__ = ["checksum", "copy", "same"]

BLOCK: Final = 256 * 1024
_ZEROS: Final = bytes(BLOCK)
_AT_ONCE: Final = 16 * 1024 * 1024
_NOT_HERE: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
)


def copy(source: int, target: int, entry: Entry, tell: Callable[[int], None]) -> int:
    """Copy a file's bytes into the empty file ``target``; returns how many were written.

    ``tell`` is given the bytes of every portion.  Raises OSError.
    """
    if not entry.sparse:
        return _copy_range(source, target, 0, entry.size, tell)
    done = 0
    for start, end in _data(source, entry.size):
        done += _copy_range(source, target, start, end - start, tell)
    os.ftruncate(target, entry.size)
    return done


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a sparse file has data: start and end of each stretch."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        yield start, min(end, size)


def _copy_range(
    source: int, target: int, start: int, length: int, tell: Callable[[int], None]
) -> int:
    """Copy inside the kernel where it can, else through our memory."""
    done = 0
    in_kernel = length > BLOCK
    while done < length:
        at, left = start + done, length - done
        if in_kernel:
            try:
                count = os.copy_file_range(source, target, min(left, _AT_ONCE), at, at)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                count = 0
            if not count:
                in_kernel = False  # not between these file systems, or the file became shorter
                continue
        else:
            block = os.pread(source, min(left, BLOCK), at)
            if not block:
                break
            count = os.pwrite(target, block, at)
        done += count
        tell(count)
    return done


def _block(fd: int, at: int, size: int) -> bytes:
    """One block of a file of ``size`` bytes; short only at its end."""
    wanted = min(BLOCK, size - at)
    block = os.pread(fd, wanted, at)
    while 0 < len(block) < wanted:
        more = os.pread(fd, wanted - len(block), at + len(block))
        if not more:
            break
        block += more
    return block


def same(one: int, other: int, size: int) -> bool:
    """Whether two files of ``size`` bytes hold the same bytes.  Raises OSError."""
    at = 0
    while at < size:
        if _block(one, at, size) != _block(other, at, size):
            return False
        at += BLOCK
    return True


def checksum(fd: int, entry: Entry) -> bytes:
    """A hash of a file's size and logical bytes, the same whether zeros are written or holes.

    Blocks of zeros are left out, every other block stands with its place.  Raises OSError.
    """
    whole = blake2b(entry.size.to_bytes(8), digest_size=16)
    at = 0
    while at < entry.size:
        if entry.sparse:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
        block = _block(fd, at, entry.size)
        if not block:
            break
        if block != _ZEROS[: len(block)]:
            whole.update(at.to_bytes(8))
            whole.update(len(block).to_bytes(4))
            whole.update(block)
        at += BLOCK
    return whole.digest()
