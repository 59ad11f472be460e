"""What is to be written to a web server's files, and what they would be without us.

For each file that we changed the journal has the checksum of what it was and of what we wrote, and
the upstreams' own texts in their order.  A file that is still what we wrote becomes again, byte
for byte, what it was; in one that somebody else changed meanwhile the upstreams alone are put back.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from crossfade.drivers.fronts._places import Place, replaced
from crossfade.errors import Failed

__all__ = ["Change", "Kept", "checksum", "difference", "line_of", "without_us"]

_USER = re.compile(r"//[^@/\s]+@")


@dataclass(frozen=True, slots=True)
class Change:
    """A file, its text now and as it is to be, and the upstreams' own texts where we put ours."""

    path: Path
    before: str
    after: str
    base: str
    texts: tuple[str, ...]

    def kept(self) -> dict[str, object]:
        """What is noted of it before it is written."""
        return {
            "original": checksum(self.base),
            "written": checksum(self.after),
            "texts": list(self.texts),
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """What was noted of a file."""

    original: str
    written: str
    texts: tuple[str, ...]

    @classmethod
    def of(cls, noted: Mapping[str, Any], path: Path) -> Kept | None:
        """What was noted of this file, if anything was."""
        found = noted.get("files", {}).get(str(path))
        return cls(found["original"], found["written"], tuple(found["texts"])) if found else None


def checksum(text: str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return sha256(text.encode("latin-1")).hexdigest()


def without_us(
    path: Path, text: str, kept: Kept | None, ours: Sequence[Place], original: str
) -> str:
    """The file as it would be without us; ours are the places that name the gate now, original is
    the kept copy, or nothing where it is gone.  Raises Failed(front-changed)."""
    if kept is None or checksum(text) == kept.original or not ours:
        return text  # never changed by us, or not yet, or somebody else has put it back
    if checksum(text) == kept.written and checksum(original) == kept.original:
        return original
    if len(ours) == len(kept.texts):
        return replaced(text, ours, kept.texts)
    if len(set(kept.texts)) == 1:
        return replaced(text, ours, kept.texts[:1])
    raise Failed(
        "front-changed",
        f"Somebody changed {path} since, and which upstream was where cannot be told any more.",
        where=f"{path} names the gate in lines {', '.join(_lines(text, ours))}; "
        f"it was put in place of {', '.join(kept.texts)}",
    )


def _lines(text: str, places: Iterable[Place]) -> Iterator[str]:
    return (str(line_of(text, place.start)) for place in places)


def line_of(text: str, position: int) -> int:
    """The number of the line."""
    return text.count("\n", 0, position) + 1


def difference(changes: Iterable[Change]) -> str:
    """A unified diff without context, with dots for users and passwords in addresses."""
    out: list[str] = []
    for change in changes:
        name = str(change.path)
        before, after = change.before.splitlines(), change.after.splitlines()
        out += difflib.unified_diff(before, after, name, name, n=0, lineterm="")
    text = "\n".join(out).encode("latin-1", "replace").decode("utf-8", "replace")
    return _USER.sub("//…@", text)
