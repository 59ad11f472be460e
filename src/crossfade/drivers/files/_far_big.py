"""Big files between machines: block by block, so that only blocks that differ are sent.

A big file arrives beside the others under a name of its own.  What is there already, of an earlier
try or as the target's present file, is used as far as the checksums of its blocks prove it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final

from crossfade.drivers.files._far_hash import BLOCK, Hashes, Terms
from crossfade.drivers.files._far_pump import Pump
from crossfade.drivers.files._far_scan import ARRIVING, FarEntry, Seen, nanoseconds
from crossfade.drivers.files.entries import parent_of

__all__ = ["Big"]

_RUNS: Final = 500
_LONGEST: Final = 7 * 86400.0

# $1 the tree, $2 the partial one, $3 the file's present name.  Says the size of what is there; and
# if that was just copied, what the present file is, which is its key if nobody wrote meanwhile.
_BEGIN: Final = r"""
LC_ALL=C; export LC_ALL; umask 077; key=
mkdir -p -- "$1" && cd "$1" || exit 1
if [ ! -f "$2" ]; then
    mkdir -p "${2%/*}" || exit 1
    if [ -f "./$3" ] && [ ! -L "./$3" ]; then
        cp --reflink=auto --sparse=auto -- "./$3" "$2" && key=$(stat -c '%d %i %s %.9Y %.9Z' "./$3")
    fi
fi
if [ -f "$2" ]; then stat -c %s "$2"; else echo 0; fi
echo "$key"
"""

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
    """Sends one big file after the other, from one tree to another, as both were seen."""

    def __init__(
        self,
        trees: tuple[Hashes, Hashes],
        seen: tuple[Seen, Seen],
        terms: Terms,
        pump: Pump,
    ) -> None:
        self._from, self._to = trees
        self._seen, self._there = seen
        self._terms, self._pump = terms, pump

    def send(self, name: str, entry: FarEntry) -> int:
        """Bring it to where things arrive; how many bytes had to be sent."""
        mark = repr((name, entry.inode, entry.size, entry.mtime))
        word = sha256(mark.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        partial = f"{ARRIVING}/big/{word}"
        there = str(self._to.path / partial)
        had, proven = self._proven(name, entry, partial)
        blocks = range(-(-entry.size // BLOCK))
        wanted = [number for number in blocks if number not in proven]
        runs = list(_runs(wanted))
        sent = sum(min(BLOCK, entry.size - number * BLOCK) for number in wanted)
        self._pump.prepare(self._from.host, self._to.host, sent)
        kind = "notrunc" if had else "notrunc,sparse"
        for at in range(0, len(runs), _RUNS):
            words = [str(number) for run in runs[at : at + _RUNS] for number in run]
            here = str(self._from.path / name)
            out = ("sh", "-c", _READ, "crossfade", here, str(BLOCK), *words)
            into = ("sh", "-c", _WRITE, "crossfade", there, str(BLOCK), kind, *words)
            self._pump.join(self._from.host, out, self._to.host, into)
        self._end(name, entry, partial)
        return sent

    def _proven(self, name: str, entry: FarEntry, partial: str) -> tuple[int, set[int]]:
        """How many bytes are there already, and the numbers of the blocks that are, whole."""
        present = self._there.entries.get(name)
        with ThreadPoolExecutor(2) as pool:
            present_ = present is not None and stat.S_ISREG(present.mode) and present.size > 0
            asked = pool.submit(self._from.blocks, self._seen, name) if present_ else None
            had, theirs = self._begin(name, partial)
            common = min(entry.size, had)
            if not common:
                return had, set()
            if asked is None:  # an earlier try left a part of it
                asked = pool.submit(self._from.blocks_at, self._from.path / name, common)
            theirs = theirs or self._to.blocks_at(self._to.path / partial, common)
            ours = asked.result()
        both = enumerate(zip(ours, theirs, strict=False))
        alike = {number for number, (one, two) in both if one == two}
        return had, {n for n in alike if min((n + 1) * BLOCK, entry.size) <= common}

    def _begin(self, name: str, partial: str) -> tuple[int, list[bytes]]:
        """How many bytes are there; and if they are a copy of the present file, and nobody has
        written to that since its blocks were read, their checksums."""
        begin = ("sh", "-c", _BEGIN, "crossfade", str(self._to.path), f"./{partial}", name)
        size, key = self._to.host.run(begin, timeout=_LONGEST).out.split(b"\n")[:2]
        had, words = int(size), key.split()
        if not words or int(words[2]) != had:
            return had, []
        device, inode, length = (int(word) for word in words[:3])
        now = device, inode, length, nanoseconds(words[3]), nanoseconds(words[4])
        return had, self._to.known_blocks(name, now)

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
        argv = ("sh", "-c", _END, "crossfade", str(self._to.path), *words)
        self._to.host.run(argv, timeout=_LONGEST)


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
