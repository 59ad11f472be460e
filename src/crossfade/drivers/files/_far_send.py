"""Sending entries between machines: tar on one, tar on the other, then all of it into place.

Everything arrives in a directory inside the target, which is no part of the tree.  Only when all
has arrived is it linked to the real names, and each of them changes at once from old to new.  What
arrived before a link was cut stays there and is not sent again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from crossfade.drivers.files._far_big import Big
from crossfade.drivers.files._far_hash import BIG, NAME_MAX, Hashes, Terms
from crossfade.drivers.files._far_pump import Pump
from crossfade.drivers.files._far_scan import ARRIVING, FarEntry, Seen, groups, paths
from crossfade.drivers.files._far_straight import Straights
from crossfade.drivers.files._far_work import FarWork
from crossfade.drivers.files.entries import HERE
from crossfade.errors import Failed
from crossfade.ports import Host

__all__ = ["Sender"]

_AT_ONCE: Final = 60_000
_LITTLE: Final = 4 << 20
_LONGEST: Final = 86400.0

_TAR: Final = (
    "--format=posix --xattrs --xattrs-include='*' --xattrs-exclude='security.selinux' --acls"
)

# $1 the tree; the others are names, or there is none and everything is sent.
_PACK: Final = rf"""
LC_ALL=C; export LC_ALL
cd "$1" || exit 1
shift
exec 3>&1
names() {{
    if [ $# -gt 0 ]; then printf './%s\0' "$@"; return; fi
    find . -depth \( -type f -o -type d -o -type l -o -type p \) -print0
}}
errors=$({{ names "$@" | tar -c {_TAR} --sparse --no-recursion --ignore-failed-read \
    --null --no-unquote -T - -f - 1>&3 || echo "tar: status $?"; }} 2>&1 |
    grep -v -e 'No such file or directory$' -e 'file changed as we read it$' \
        -e 'File removed before we read it$' -e 'File shrank by [0-9]* bytes' \
        -e 'tar: status 1$' -e 'due to previous errors$')
if [ -n "$errors" ]; then printf '%s\n' "$errors" >&2; exit 1; fi
"""

# $1 the file.  What tar writes before its content tells its attributes; head ends tar.
_HEADER: Final = rf"""
LC_ALL=C; export LC_ALL
tar -c {_TAR} --no-recursion -f - -- "$1" 2>/dev/null | head -c 65536
"""
_ATTRIBUTES: Final = (b" SCHILY.xattr.", b" SCHILY.acl.")

# $1 the tree, $2 more options.
_UNPACK: Final = rf"""
LC_ALL=C; export LC_ALL; umask 077
mkdir -p -- "$1/{ARRIVING}/tree" && cd "$1/{ARRIVING}/tree" || exit 1
exec tar -x -p -f - {_TAR} --delay-directory-restore --warning=no-timestamp $2
"""

# $2 the root's time.
_ARRIVED: Final = rf"""
if [ -d {ARRIVING}/tree ]; then cp -a -l -f {ARRIVING}/tree/. . || exit 1; fi
sync -f . 2>/dev/null || sync
rm -rf {ARRIVING} || exit 1
if [ -n "$2" ]; then touch -m -d "$2" . || exit 1; fi
"""

# $1 the tree, $2 the root's time, $3 how many bytes of names to be removed come as input: with less
# than these the link was cut, maybe within a name, and nothing is touched.
_PLACE: Final = rf"""
LC_ALL=C; export LC_ALL; umask 077
mkdir -p -- "$1/{ARRIVING}" && cd "$1" && cat >{ARRIVING}/remove || exit 1
[ "$(wc -c <{ARRIVING}/remove)" -eq "$3" ] || exit 1
xargs -0 -r rm -rf -- <{ARRIVING}/remove || exit 1
{_ARRIVED}"""

# All of it by one command.  $1 the tree, $2 the root's time, $3 more options.  Input: a line with
# the numbers of bytes that follow, of tar and of names to be removed; those; and a last line,
# without which the link was cut and nothing is touched.
_BOTH: Final = rf"""
LC_ALL=C; export LC_ALL; umask 077
read -r size names || exit 1
mkdir -p -- "$1/{ARRIVING}/tree" && cd "$1/{ARRIVING}/tree" || exit 1
head -c "$size" | tar -x -p -f - {_TAR} --delay-directory-restore --warning=no-timestamp $3 ||
    exit 1
cd ../.. || exit 1
if [ "$names" -gt 0 ]; then head -c "$names" >{ARRIVING}/remove || exit 1; fi
read -r last && [ "$last" = whole ] || exit 1
if [ "$names" -gt 0 ]; then xargs -0 -r rm -rf -- <{ARRIVING}/remove || exit 1; fi
{_ARRIVED}"""

# $1 the tree; names of what arrived and is not wanted come as input.
_CLEAN: Final = rf'cd "$1/{ARRIVING}/tree" || exit 1; exec xargs -0 -r rm -rf --'


class _More(Exception):
    """More has to be sent than was thought."""


class Sender:
    """Sends from one tree to another, as both were seen."""

    def __init__(
        self,
        trees: tuple[Hashes, Hashes],
        seen: tuple[Seen, Seen],
        *,
        terms: Terms,
        rate: int,
        told: Callable[[int], None],
        straights: Straights | None = None,
    ) -> None:
        self._trees, self._both = trees, seen
        self._old, self._from = trees[0].host, trees[0].path
        self._new, self._to = trees[1].host, trees[1].path
        self._seen, self._there = seen
        self._terms = terms
        self._told = told
        self._rate = rate
        self._pump = Pump(rate, told, straights)

    def arrived(self) -> set[str]:
        """What arrived whole in an earlier pass; what did not, or is not wanted, is removed."""
        entries = self._there.arrived
        linked, whole, stale = groups(entries), set(), []
        for one, entry in entries.items():
            wanted = self._seen.entries.get(one)
            if stat.S_ISDIR(entry.mode):
                if wanted is None or not stat.S_ISDIR(wanted.mode):
                    stale.append(one)
            elif wanted is not None and _same(entry, wanted) and one not in linked:
                whole.add(one)
            else:
                stale.append(one)
        if stale:
            self._run(self._new, _CLEAN, (str(self._to),), paths(stale))
        return whole

    def send(self, work: FarWork, arrived: set[str], *, everything: bool) -> None:
        """Bring all entries of the work into the directory where things arrive, remove what is in
        the way, put what arrived into place, and let it reach the disk."""
        for name in (*work.send, *work.directories):
            if len(os.fsencode(name)) > NAME_MAX:
                what = f"A path has more than {NAME_MAX} bytes, which no tar takes."
                raise Failed("path-too-long", what, where=f"{self._from}/{name[:100]}…")
        linked = groups(self._seen.entries)
        names = [name for name in work.send if name not in arrived]
        big = {n for n in names if self._seen.entries[n].size > BIG and n not in linked}
        big = {name for name in big if not self._has_attributes(name)}
        for name in sorted(big):
            entry = self._seen.entries[name]
            sent = Big(self._trees, self._both, self._terms, self._pump).send(name, entry)
            self._told(entry.size - sent)
        names = [name for name in names if name not in big]
        size = sum(self._seen.entries[name].size for name in names)
        everything = everything and not big
        portions = [[]] if everything else list(_portions(names, linked, work.directories))
        if len(portions) == 1 and size <= _LITTLE and not self._rate:
            with contextlib.suppress(_More):
                self._little(portions[0], work)
                return
        self._pump.prepare(self._old, self._new, size)
        into = ("sh", "-c", _UNPACK, "crossfade", str(self._to), self._options)
        for portion in portions:
            self._pump.join(self._old, self._pack(portion), self._new, into)
        remove = paths(work.remove)
        words = (str(self._to), self._time(work), str(len(remove)))
        self._run(self._new, _PLACE, words, remove)

    def _little(self, portion: list[str], work: FarWork) -> None:
        """Send and place what fits into our memory by one command there, which gets ready while
        tar still reads.  Raises _More."""
        words = (str(self._to), self._time(work), self._options)
        order = ("sh", "-c", _BOTH, "crossfade", *words)
        with ThreadPoolExecutor(1) as pool:
            packed = pool.submit(self._packed, portion)
            with self._new.feeding(order) as into:
                data, remove = packed.result(), paths(work.remove)
                into.write(b"%d %d\n%b%bwhole\n" % (len(data), len(remove), data, remove))
        self._told(len(data))

    def _packed(self, portion: list[str]) -> bytes:
        data = bytearray()
        with self._old.reading(self._pack(portion)) as stream:
            while some := stream.read(_LITTLE):
                data += some
                if len(data) > 2 * _LITTLE:  # a file has become larger
                    raise _More
        return bytes(data)

    @property
    def _options(self) -> str:
        return "--same-owner" if self._terms.owners else "--no-same-owner"

    def _pack(self, portion: list[str]) -> tuple[str, ...]:
        return ("sh", "-c", _PACK, "crossfade", str(self._from), *portion)

    def _time(self, work: FarWork) -> str:
        """The root's time, if it is to be set."""
        root = self._seen.entries[HERE]
        when = f"@{root.mtime // 1_000_000_000}.{root.mtime % 1_000_000_000:09}"
        return when if HERE in work.directories else ""

    def _has_attributes(self, name: str) -> bool:
        """Whether a file has extended attributes or an ACL, which only tar brings along."""
        argv = ("sh", "-c", _HEADER, "crossfade", str(self._from / name))
        with self._old.reading(argv) as stream:
            header = stream.read()
        return any(word in header for word in _ATTRIBUTES)

    @property
    def way(self) -> str:
        """How the bytes went, in words; empty where there was no choice."""
        return self._pump.way

    def close(self) -> None:
        """End what was made for sending."""
        self._pump.close()

    def _run(self, host: Host, order: str, words: tuple[str, ...], stdin: bytes) -> None:
        host.run(("sh", "-c", order, "crossfade", *words), stdin=stdin, timeout=_LONGEST)


def _same(entry: FarEntry, wanted: FarEntry) -> bool:
    """Whether what arrived is whole: tar gives a file its time when all of it is there."""
    one = (entry.kind, entry.mtime, entry.link)
    return one == (wanted.kind, wanted.mtime, wanted.link) and (
        not stat.S_ISREG(entry.mode) or entry.size == wanted.size
    )


def _portions(
    names: list[str], linked: dict[str, tuple[str, ...]], directories: list[str]
) -> Iterator[list[str]]:
    """Names in portions that fit among a command's arguments; hard links stay together, and
    directories come last, each after those inside it."""
    order: list[str] = []
    done: set[str] = set()
    for name in names:
        if name not in done:
            group = [one for one in linked.get(name, (name,)) if one == name or one in linked]
            order += group
            done.update(group)
    portion: list[str] = []
    size = 0
    for name in (*order, *directories):
        size += len(os.fsencode(name)) + 3
        together = name in linked and portion and portion[-1] in linked[name]
        if size > _AT_ONCE and portion and not together:
            yield portion
            portion, size = [], len(os.fsencode(name)) + 3
        portion.append(name)
    if portion:
        yield portion
