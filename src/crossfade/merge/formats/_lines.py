"""Texts of lines: their spans, and what a scanner of such a format finds in them."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from crossfade.merge._types import Path, Unreadable

__all__ = ["Entry", "Lines", "Scan", "Twin"]

BOM = "\ufeff"
_NO_LINE_END = re.compile(r"\r(?!\n)|\x00")


class Lines:
    """A text's lines, counted from 0.  ``text`` always ends with a line end: where the last one is
    missing it is added (``torn``), so that every line can be moved; offsets are those of the text.

    Raises Unreadable for a carriage return that is alone, which programs read differently.
    """

    def __init__(self, text: str) -> None:
        wrong = _NO_LINE_END.search(text)
        if wrong:
            line = text.count("\n", 0, wrong.start()) + 1
            raise Unreadable(line, "a carriage return or NUL stands inside of a line")
        first = text.find("\n")
        self.eol = "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"
        self.start = len(BOM) if text.startswith(BOM) else 0
        self.torn = len(text) > self.start and not text.endswith("\n")
        self.text = text + self.eol if self.torn else text
        self._starts = [self.start]
        at = self.text.find("\n")
        while at != -1:
            self._starts.append(at + 1)
            at = self.text.find("\n", at + 1)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def begin(self, index: int) -> int:
        """Where the line begins; for one past the last line, the end of the text."""
        return self._starts[index]

    def end(self, index: int) -> int:
        """Where the line ends, without its line end."""
        stop = self._starts[index + 1] - 1
        return stop - 1 if self.text[stop - 1 : stop] == "\r" else stop

    def content(self, index: int) -> str:
        """The line without its line end."""
        return self.text[self.begin(index) : self.end(index)]

    def at(self, offset: int) -> int:
        """The line in which the offset is."""
        return bisect_right(self._starts, offset) - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting that is on, in the lines from first to before last; start and end are its value's.
    bare says that there is only a name, without what separates a value from it."""

    path: Path
    value: object
    start: int
    end: int
    first: int
    last: int
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Twin:
    """A commented setting in the lines from first to before last.  placed says that a setting can
    be put below it; else it stands below a section header that is a comment too."""

    path: Path
    raw: str
    first: int
    last: int
    placed: bool = True


@dataclass(slots=True)
class Scan:
    """What stands in a text, in its order.

    heads has the line of the last header of every section (there is none for ``()``), comments the
    lines that are only a comment, apart what is neither setting nor comment and has to stay as it
    is, from its first line to before its last.
    """

    lines: Lines
    entries: list[Entry] = field(default_factory=list)
    twins: list[Twin] = field(default_factory=list)
    heads: dict[Path, int] = field(default_factory=dict)
    comments: set[int] = field(default_factory=set)
    apart: list[tuple[int, int]] = field(default_factory=list)

    def groups(self) -> dict[Path, list[Entry]]:
        """The entries by path."""
        groups: dict[Path, list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.path, []).append(entry)
        return groups

    def apart_texts(self) -> tuple[str, ...]:
        """What stands apart, without indentation and blank lines."""
        return tuple(text for text, _, _ in self.apart_places())

    def apart_places(self) -> list[tuple[str, int, int]]:
        """The same with where it is."""
        places = []
        for first, last in self.apart:
            contents = (self.lines.content(index).strip() for index in range(first, last))
            places.append(("\n".join(content for content in contents if content), first, last))
        return places
