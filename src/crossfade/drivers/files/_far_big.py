"""Big files between machines: block by block, so that only blocks that differ are sent.

A big file arrives beside the others under a name of its own.  What is there already, of an earlier
try or as the target's present file, is used as far as the checksums of its blocks prove it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

from crossfade.drivers.files._far_hash import Terms
from crossfade.drivers.files._far_pump import Pump
from crossfade.drivers.files._far_scan import ARRIVING, FarEntry
from crossfade.drivers.files.entries import parent_of
from crossfade.ports import Host

__all__ = ["BIG", "Big"]

BIG: Final = 64 << 20
"""Files of more bytes are sent block by block."""

_BLOCK: Final = 4 << 20
_RUNS: Final = 500
_LONGEST: Final = 7 * 86400.0

# $1 the tree, $2 the partial one, $3 the file's present name, $4 the kind of a tree that arrives.
_BEGIN: Final = r"""
LC_ALL=C; export LC_ALL; umask 077
cd "$1" || exit 1
if [ ! -f "$2" ]; then
    mkdir -p "${2%/*}" || exit 1
    if [ -f "./$3" ] && [ ! -L "./$3" ]; then cp --reflink=auto --sparse=auto -- "./$3" "$2"; fi
fi
if [ -f "$2" ]; then stat -c %s "$2"; else echo 0; fi
"""

# $1 the file, $2 how many bytes of it, $3 the block's size, $4 the program; nothing without it.
_SUMS: Final = r"""
LC_ALL=C; export LC_ALL
command -v "$4" >/dev/null 2>&1 || exit 0
head -c "$2" <"$1" | split -b "$3" --filter="$4"
"""
_PROGRAMS: Final = ("b2sum", "sha256sum")  # the first is quicker, and missing before coreutils 8.26

# $1 the file, $2 the block's size, then pairs: first block and number of blocks.
_READ: Final = r"""
f=$1; b=$2; shift 2
while [ $# -gt 1 ]; do
    dd if="$f" bs=256k skip=$(($1 * b)) count=$(($2 * b)) \
        iflag=fullblock,skip_bytes,count_bytes status=none || exit 1
    shift 2
done
"""
_WRITE: Final = r"""
umask 077
f=$1; b=$2; c=$3; shift 3
while [ $# -gt 1 ]; do
    dd of="$f" bs=256k seek=$(($1 * b)) count=$(($2 * b)) oflag=seek_bytes \
        iflag=fullblock,count_bytes conv="$c" status=none || exit 1
    shift 2
done
cat >/dev/null
"""

# $1 the tree, $2 partial, $3 name, $4 parent, $5 size, $6 time, $7 mode, $8 owner or nothing
_END: Final = rf"""
umask 077
cd "$1" || exit 1
truncate -s "$5" "$2" || exit 1
if [ -n "$8" ]; then chown -- "$8" "$2" 2>/dev/null || chown -- "$9" "$2" || exit 1; fi
chmod "$7" "$2" && mkdir -p "./{ARRIVING}/tree/$4" || exit 1
touch -m -d "$6" "$2" && mv -f -T -- "$2" "./{ARRIVING}/tree/$3"
"""


class Big:
    """Sends one big file after the other."""

    def __init__(
        self, source: tuple[Host, Path], target: tuple[Host, Path], terms: Terms, pump: Pump
    ) -> None:
        self._old, self._from = source
        self._new, self._to = target
        self._terms, self._pump = terms, pump

    def send(self, name: str, entry: FarEntry) -> int:
        """Bring it to where things arrive; how many bytes had to be sent."""
        mark = repr((name, entry.inode, entry.size, entry.mtime))
        word = sha256(mark.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        partial = f"{ARRIVING}/big/{word}"
        there = str(self._to / partial)
        begin = ("sh", "-c", _BEGIN, "crossfade", str(self._to), f"./{partial}", name)
        had = int(self._new.run(begin, timeout=_LONGEST).out)
        runs, sent = self._missing(str(self._from / name), there, entry.size, had)
        self._pump.prepare(self._old, self._new, sent)
        kind = "notrunc" if had else "notrunc,sparse"
        for at in range(0, len(runs), _RUNS):
            words = [str(number) for run in runs[at : at + _RUNS] for number in run]
            out = ("sh", "-c", _READ, "crossfade", str(self._from / name), str(_BLOCK), *words)
            into = ("sh", "-c", _WRITE, "crossfade", there, str(_BLOCK), kind, *words)
            self._pump.join(self._old, out, self._new, into)
        self._end(name, entry, partial)
        return sent

    def _end(self, name: str, entry: FarEntry, partial: str) -> None:
        """Give it its metadata, its time last: what has its time is whole."""
        owner = f"{entry.user}:{entry.group_name}" if self._terms.owners else ""
        words = (
            f"./{partial}",
            name,
            parent_of(name),
            str(entry.size),
            f"@{entry.mtime // 1_000_000_000}.{entry.mtime % 1_000_000_000:09}",
            f"{stat.S_IMODE(entry.mode):o}",
            owner,
            f"{entry.owner}:{entry.group}",
        )
        self._new.run(("sh", "-c", _END, "crossfade", str(self._to), *words), timeout=_LONGEST)

    def _missing(self, here: str, there: str, size: int, had: int) -> tuple[list[list[int]], int]:
        """Which runs of blocks have to be sent, and their bytes."""
        common = min(size, had)
        ours: list[bytes] = []
        theirs: list[bytes] = []
        for program in _PROGRAMS if common else ():
            with ThreadPoolExecutor(2) as pool:
                asked = [
                    pool.submit(_sums, host, path, common, program)
                    for host, path in ((self._old, here), (self._new, there))
                ]
                ours, theirs = (one.result() for one in asked)
            if ours and theirs:
                break
        blocks = -(-size // _BLOCK)
        wanted = [n for n in range(blocks) if not _proven(n, ours, theirs, common, size)]
        return list(_runs(wanted)), sum(min(_BLOCK, size - n * _BLOCK) for n in wanted)


def _sums(host: Host, path: str, count: int, program: str) -> list[bytes]:
    argv = ("sh", "-c", _SUMS, "crossfade", path, str(count), str(_BLOCK), program)
    with host.reading(argv) as stream:
        return stream.read().split(b"\n")[:-1]


def _proven(block: int, ours: list[bytes], theirs: list[bytes], common: int, size: int) -> bool:
    """Whether a block is there already, whole."""
    end = min((block + 1) * _BLOCK, size)
    return end <= common and block < min(len(ours), len(theirs)) and ours[block] == theirs[block]


def _runs(blocks: list[int]) -> Iterator[list[int]]:
    """Neighbouring blocks together: the first, and how many."""
    run: list[int] = []
    for block in blocks:
        if run and block == run[0] + run[1]:
            run[1] += 1
            continue
        if run:
            yield run
        run = [block, 1]
    if run:
        yield run
