"""What the detectors ask the machine: a few commands, their answers cut at NUL.

Needs a POSIX shell, find, xargs, grep and coreutils there, GNU's.  Names are bytes on the machine,
and texts with surrogates here, so that no name can break anything.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossfade.errors import Failed
from crossfade.ports import Host

__all__ = ["PARSED", "Entry", "Far", "as_bytes", "as_text", "portions"]

PARSED: Final = 5 * 1024 * 1024
"""Files above this size, in bytes, are compared, but not looked into."""
_ANSWER: Final = 900_000  # ``Host.run`` keeps the last megabyte of what a command prints
_LATE: Final = 3

_ENTRY = r"-printf '%y\0%s\0%m\0%u\0%g\0%T@\0%l\0%p\0'"
_SHUT = r"\( -type d ! \( -readable -executable \) -o -type f ! -readable \) -printf '!'"
_TREE: Final = rf"""
LC_ALL=C; export LC_ALL
prune=$1; depth=$2; shift 2
for root; do
    [ -d "$root" ] || [ -f "$root" ] || {{ printf 'gone\0%s\0' "$root"; continue; }}
    find "$root" -maxdepth "$depth" -xdev -regextype posix-extended \
        \( -type d -regex "$prune" -printf 'X\0%p\0' -prune \) -o \
        \( -type f -o -type l -o -type d \) \( {_SHUT} -o -true \) {_ENTRY} 2>/dev/null
done
printf 'end\0'
"""
_STAT: Final = rf"""
LC_ALL=C; export LC_ALL
xargs -0 -r sh -c 'find "$@" -maxdepth 0 \( {_SHUT.replace("'!'", '"!"')} -o -true \) \
    {_ENTRY.replace("'", '"')} 2>/dev/null; :' sh
printf 'end\0'
"""
_SUMS: Final = """
LC_ALL=C; export LC_ALL
xargs -0 -r "$1" -z -- 2>/dev/null
printf 'end\\0'
"""
_TEXTS: Final = """
LC_ALL=C; export LC_ALL
xargs -0 -r sh -c 'for file; do
    [ -f "$file" ] && [ -r "$file" ] || continue
    printf "%s\\0" "$file"; base64 -w0 <"$file" 2>/dev/null; printf "\\0"
done' sh
printf 'end\\0'
"""
_REAL: Final = """
LC_ALL=C; export LC_ALL
xargs -0 -r -n1 sh -c 'printf "%s\\0" "$1"; readlink -z -f -- "$1" 2>/dev/null || printf "\\0"' sh
printf 'end\\0'
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or link: kind is find's letter (f, d, l), size in bytes, changed in
    seconds since 1970.  shut: our account may not read it."""

    path: str
    kind: str
    size: int
    mode: int
    owner: str
    group: str
    changed: float
    link: str
    shut: bool = False


def as_text(name: bytes) -> str:
    """A name of the machine's as text."""
    return name.decode("utf-8", "surrogateescape")


def as_bytes(name: str) -> bytes:
    """The bytes of a name."""
    return name.encode("utf-8", "surrogateescape")


class Far:
    """The machine, with a deadline for each command (``patience``, seconds)."""

    def __init__(self, host: Host, patience: float) -> None:
        self._host = host
        self._patience = patience
        self._late = 0
        self._looked: dict[str, Entry | None] = {}
        self._real: dict[str, str] = {}
        self.trouble: list[str] = []
        """Commands that did not end, each in words; whoever asks next takes them away."""

    def ask(self, script: str, *arguments: str, stdin: bytes = b"") -> list[bytes]:
        """What a script of at most a megabyte prints, cut at NUL.  Raises Failed."""
        self._heed()
        argv = ("sh", "-c", script, "sh", *arguments)
        try:
            done = self._host.run(argv, stdin=stdin, timeout=self._patience, ok=tuple(range(126)))
        except Failed as error:
            self._late += error.code == "command-timed-out"
            raise
        return done.out.split(b"\0")[:-1]

    def _heed(self) -> None:
        """A machine whose commands hang is not asked for ever."""
        if self._late >= _LATE:
            raise Failed(
                "command-timed-out",
                "Three commands did not end in time, and it was not asked any more.",
                where=self._host.name,
            )

    def stream(self, script: str, *arguments: str) -> Iterator[bytes]:
        """What a script of any length prints, cut at NUL.  A deadline of the machine's own ends it.
        Raises Failed, also when it did not come to its end (it prints ``end`` there)."""
        self._heed()
        limit = ("timeout", "-k", "5", f"{self._patience:.0f}")
        argv = (*limit, "sh", "-c", script, "sh", *arguments)
        rest, last = b"", b""
        begun = time.monotonic()
        try:
            with self._host.reading(argv) as stream:
                while portion := stream.read(65536):
                    *whole, rest = (rest + portion).split(b"\0")
                    for one in whole:
                        last = one
                        yield one
        except Failed as error:
            if time.monotonic() - begun < self._patience:
                raise
            self._late += 1
            raise Failed(
                "command-timed-out",
                f"A command took over {self._patience:.0f} s.",
                where=self._host.name,
            ) from error
        if last != b"end":
            raise Failed("command-failed", "A listing broke off.", where=self._host.name)

    def tree(self, roots: Sequence[str], prune: str, depth: int = 40) -> Iterator[Entry]:
        """Everything below the roots.  What ``prune`` (an extended regular expression for whole
        paths) matches is not entered, and comes as an entry of kind X.  A root that is not there
        comes as kind ``gone``."""
        if not roots:
            return
        words = self.stream(_TREE, prune or "$^", str(depth), *roots)
        for one in _entries(words):
            if one.kind not in ("X", "gone"):
                self._looked[one.path] = one
            yield one

    def look(self, paths: Iterable[str]) -> dict[str, Entry]:
        """Those of the paths that are there; links are not followed.  Asked once for each."""
        asked = dict.fromkeys(paths)
        new = [path for path in asked if path not in self._looked]
        for portion in portions(new, lambda path: 2 * len(path) + 150):
            self._looked |= dict.fromkeys(portion)
            self._looked |= {one.path: one for one in _entries(iter(self._piped(_STAT, portion)))}
        return {path: one for path in asked if (one := self._looked[path]) is not None}

    def sums(self, paths: Iterable[str], kind: str = "sha256") -> dict[str, str]:
        """The sums of those that can be read, in hex; kind is sha256 or md5."""
        found: dict[str, str] = {}
        for portion in portions(paths, lambda path: len(path) + 70):
            for line in self._piped(_SUMS, portion, f"{kind}sum"):
                value, _, name = line.partition(b"  ")
                if name:
                    found[as_text(name)] = value.decode("ascii")
        return found

    def texts(self, sizes: Mapping[str, int]) -> dict[str, bytes]:
        """The contents of files, each with its size as it was seen; those that vanished, grew much
        or cannot be read are left out."""
        found: dict[str, bytes] = {}
        small = [path for path, size in sizes.items() if size * 4 // 3 + len(path) < _ANSWER // 2]
        for portion in portions(small, lambda path: sizes[path] * 3 // 2 + len(path) + 100):
            words = self._piped(_TEXTS, portion)
            for name, data in zip(words[::2], words[1::2], strict=False):
                try:
                    found[as_text(name)] = base64.b64decode(data, validate=True)
                except binascii.Error:
                    continue
        for path in set(sizes) - set(small):
            try:
                found[path] = self._host.read(Path(path))
            except Failed as error:
                self.trouble.append(error.what)
        return found

    def real(self, paths: Iterable[str]) -> dict[str, str]:
        """Where each path leads to when every link is followed; loops and dead ends are left
        out.  Asked once for each."""
        asked = dict.fromkeys(paths)
        new = [path for path in asked if path not in self._real]
        for portion in portions(new, lambda path: 2 * len(path) + 300):
            words = self._piped(_REAL, portion)
            self._real |= {
                as_text(name): as_text(target)
                for name, target in zip(words[::2], words[1::2], strict=False)
            }
        return {path: end for path in asked if (end := self._real.get(path))}

    def _piped(self, script: str, paths: Sequence[str], *arguments: str) -> list[bytes]:
        """A script that takes names from its input, and says ``end`` when it is through."""
        stdin = b"".join(as_bytes(path) + b"\0" for path in paths)
        try:
            words = self.ask(script, *arguments, stdin=stdin)
        except Failed as error:
            if error.code != "command-timed-out":
                raise
            self.trouble.append(f"{len(paths)} files took over {self._patience:.0f} s")
            return []
        if words[-1:] != [b"end"]:
            self.trouble.append(f"a command for {len(paths)} files broke off")
        return words[:-1]


def portions(paths: Iterable[str], cost: Callable[[str], int]) -> Iterator[list[str]]:
    """Paths in such portions that the answer stays below what is kept of it."""
    portion: list[str] = []
    total = 0
    for path in paths:
        more = cost(path)
        if portion and total + more > _ANSWER:
            yield portion
            portion, total = [], 0
        portion.append(path)
        total += more
    if portion:
        yield portion


def _entries(words: Iterator[bytes]) -> Iterator[Entry]:
    for kind in words:
        if kind == b"end":
            continue
        if kind in (b"X", b"gone"):
            yield Entry(as_text(next(words)), kind.decode(), 0, 0, "", "", 0, "")
            continue
        size, mode, owner, group, changed, link, path = (next(words) for _ in range(7))
        yield Entry(
            path=as_text(path),
            kind=kind.decode("ascii").lstrip("!"),
            size=int(size),
            mode=int(mode, 8),
            owner=as_text(owner),
            group=as_text(group),
            changed=float(changed),
            link=as_text(link),
            shut=kind.startswith(b"!"),
        )
