"""Files that carried files include: what is read by name from beside them has to come over too."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from crossfade.configuration._places import Reader
from crossfade.model import Finding, Installation

__all__ = ["included"]

_INCLUDES = re.compile(
    r"""^\s*(?:-\s+)?(?:["']?!?\.?include(?:_?dir|_if_exists|optional)?["']?|EnvironmentFile|source|\.)
    (?:\s*[:=]\s*|[ \t]+)-?["']?([^\s"';,()\[\]{}]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_WILD = re.compile("[*?]")


def included(originals: Mapping[str, bytes], old: Installation, reader: Reader) -> Finding:
    """The finding: whatever these files of the old side include from its directories is among them.

    A line counts only where what it names is there.  Places outside of the old side's directories
    are the machine's, and stay what they are.
    """
    left = [
        f"{target} ({Path(path).name}:{line})"
        for path, data in originals.items()
        for line, target in _named(data.decode("latin-1"))
        if _left(target, path, originals, old, reader)
    ]
    return Finding(
        claim="what the carried files include comes over too",
        expected="all of it",
        observed=f"not carried: {', '.join(left)}" if left else "all of it",
        source="the old side's files",
        holds=not left,
    )


def _named(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := _INCLUDES.match(line):
            yield number, match[1]


def _left(
    target: str, path: str, carried: Collection[str], old: Installation, reader: Reader
) -> bool:
    """Whether it is there, in the old side's directories, and not carried."""
    for base in (posixpath.dirname(path), str(old.config), str(old.data)):
        place = posixpath.normpath(posixpath.join(base, target))
        while _WILD.search(place):  # all that is in there, as far as we are concerned
            place = posixpath.dirname(place)
        inside = any(Path(place).is_relative_to(where) for where in (old.config, old.data))
        if inside and Path(place) not in (old.config, old.data) and reader.exists(Path(place)):
            return not any(Path(each).is_relative_to(place) for each in carried)
    return False
