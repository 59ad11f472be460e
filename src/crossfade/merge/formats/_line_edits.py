"""Edits of a text of lines: spans replaced, whole lines taken out, and new lines put where they
belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from crossfade.merge._types import Document, Drop, Edit, Path, Put, Unreadable, Write
from crossfade.merge.formats._lines import Entry, Scan

if TYPE_CHECKING:
    from crossfade.merge.formats._line_format import LineFormat

__all__ = ["LineEdits"]

_MANY = 1_000_000_000


class LineEdits:
    """The edits of one document.  Its changes are spans of the text with what stands there then."""

    def __init__(self, format: LineFormat, document: Document) -> None:
        self._format = format
        self._document = document
        self._scan = _scan_of(document)
        self._lines = self._scan.lines
        self._groups = self._scan.groups()
        self._sources: dict[int, dict[Path, list[Entry]]] = {}
        self._changes: list[tuple[int, int, int, str]] = []  # start, order at one place, end, text
        self._headless: dict[Path, list[tuple[int, int, str, str]]] = {}

    def made(self, edits: Sequence[Edit]) -> str:
        """The text with the edits, not proven yet."""
        if len({edit.path for edit in edits}) != len(edits):
            raise ValueError("two edits of one path")
        for edit in edits:
            if isinstance(edit, Drop):
                for entry in self._own(edit.path):
                    self._take(entry)
            elif isinstance(edit, Write):
                self._write(edit.path, edit.value)
            elif edit.path in self._groups:
                self._put(edit)
            else:
                self._add(edit)
        self._add_sections()
        return self._result()

    def _result(self) -> str:
        text = self._lines.text
        parts, at = [], 0
        for start, _, end, new in sorted(self._changes):
            if start < at:
                raise Unreadable(self._lines.at(start) + 1, "two edits meet in one line")
            parts += [text[at:start], new]
            at = end
        after = "".join(parts) + text[at:]
        eol = self._lines.eol
        return after.removesuffix(eol) if self._lines.torn else after

    # in place

    def _own(self, path: Path) -> list[Entry]:
        if path not in self._groups:
            raise Unreadable(1, f"{'.'.join(path)} is not on here")
        return self._groups[path]

    def _take(self, entry: Entry) -> None:
        begin, end = self._lines.begin(entry.first), self._lines.begin(entry.last)
        self._changes.append((begin, 0, end, ""))

    def _replace(self, entry: Entry, raw: str) -> None:
        raw = self._with_ends(self._format.spaced(self._scan, entry, raw))
        self._changes.append((entry.start, 0, entry.end, raw))

    def _with_ends(self, raw: str) -> str:
        return raw.replace("\r\n", "\n").replace("\n", self._lines.eol)

    def _write(self, path: Path, value: object) -> None:
        entries = self._own(path)
        if value == self._document.settings[path].value:
            return
        if not self._format.joined(path):
            entries = entries[-1:]
        values = value if isinstance(value, tuple) else (value,)
        if not values:
            raise Unreadable(entries[0].first + 1, "no value is not a value")
        for entry, new in zip(entries, values, strict=False):
            if entry.value != new:
                raw = self._written(entry, new)
                self._replace(entry, f"={raw}" if entry.bare else raw)
        for entry in entries[len(values) :]:
            self._take(entry)
        last = entries[-1]
        for order, new in enumerate(values[len(entries) :]):
            raw = self._with_ends(self._written(last, new))
            before = self._lines.text[self._lines.begin(last.first) : last.start]
            line = f"{before}{'=' if last.bare else ''}{raw}{self._lines.eol}"
            self._insert(last.last, order - _MANY, line)

    def _theirs(self, scan: Scan) -> dict[Path, list[Entry]]:
        if id(scan) not in self._sources:
            self._sources[id(scan)] = scan.groups()
        return self._sources[id(scan)]

    def _written(self, entry: Entry, value: object) -> str:
        if not isinstance(value, str):
            raise Unreadable(entry.first + 1, "only text can be written here")
        return self._format.written(self._scan, entry, value)

    def _put(self, edit: Put) -> None:
        own = self._own(edit.path)
        if self._document.settings[edit.path].value == edit.source.settings[edit.path].value:
            return
        scan = _scan_of(edit.source)
        theirs = self._theirs(scan)[edit.path]
        if not self._format.joined(edit.path):
            own, theirs = own[-1:], theirs[-1:]
        for entry, source in zip(own, theirs, strict=False):
            if entry.bare or source.bare:
                begin, end = self._lines.begin(entry.first), self._lines.begin(entry.last)
                self._changes.append((begin, 0, end, self._body(scan, source)))
            elif entry.value != source.value:
                self._replace(entry, scan.lines.text[source.start : source.end])
        for entry in own[len(theirs) :]:
            self._take(entry)
        for order, source in enumerate(theirs[len(own) :]):
            self._insert(own[-1].last, order - _MANY, self._body(scan, source))

    # new lines

    def _insert(self, index: int, order: int, text: str) -> None:
        """Put lines before the line of this index; order says who comes first at one place."""
        place = self._lines.begin(index)
        self._changes.append((place, order - _MANY, place, text))

    def _add(self, edit: Put) -> None:
        scan = _scan_of(edit.source)
        if edit.source.format != self._document.format or edit.path not in edit.source.settings:
            raise Unreadable(1, f"{'.'.join(edit.path)} is not on in the source")
        theirs = self._theirs(scan)[edit.path]
        if not self._format.joined(edit.path):
            theirs = theirs[-1:]
        text = self._comments(scan, theirs[0])
        text += "".join(self._body(scan, entry) for entry in theirs)
        order, section = theirs[0].first, edit.path[:-1]
        if section and section not in self._scan.heads:
            header = scan.lines.content(scan.heads[section]) + self._lines.eol
            new = (order, self._end_for(scan, theirs[0]), text, header)
            self._headless.setdefault(section, []).append(new)
        else:
            self._insert(self._place(scan, theirs[0]), order, text)

    def _add_sections(self) -> None:
        """Sections that the document does not have go to its end, in the order of the source."""
        seen = set()
        for new in sorted(sorted(entries) for entries in self._headless.values()):
            order, end, _, header = new[0]
            gap = end in seen or (end and self._lines.content(end - 1).strip())
            texts = "".join(text for _, _, text, _ in new)
            self._insert(end, order, (self._lines.eol if gap else "") + header + texts)
            seen.add(end)

    def _end_for(self, scan: Scan, entry: Entry) -> int:
        """The end of the document, or an include that stands behind the entry in its source."""
        behind = {path for path, first, _ in _apart(scan) if first > entry.first}
        for path, first, _ in _apart(self._scan):
            if path in behind:
                return self._above(first)
        return len(self._lines)

    def _body(self, scan: Scan, entry: Entry) -> str:
        contents = [scan.lines.content(index) for index in range(entry.first, entry.last)]
        fitted = self._format.fitted(self._scan, entry.path[:-1], contents)
        return "".join(content + self._lines.eol for content in fitted)

    def _comments(self, scan: Scan, entry: Entry) -> str:
        """The comment lines directly above an entry, less those that the document has."""
        twins = {index for twin in scan.twins for index in range(twin.first, twin.last)}
        first = entry.first
        while first - 1 in scan.comments - twins:
            first -= 1
        contents = [scan.lines.content(index) for index in range(first, entry.first)]
        return "".join(
            content + self._lines.eol for content in contents if content.strip() not in self._here
        )

    def _place(self, scan: Scan, entry: Entry) -> int:
        """The line before which a new entry of this source goes."""
        mine, section = self._places, entry.path[:-1]
        twins = [twin.last for twin in self._scan.twins if twin.placed and twin.path == entry.path]
        if twins:
            return twins[-1]
        before, behind = _neighbours(scan, entry)
        for one in before:
            if one in mine:
                return mine[one][1]
        for one in behind:
            if one in mine:
                return self._above(mine[one][0])
        ends = (entries[-1].last for path, entries in self._groups.items() if path[:-1] == section)
        last = max(ends, default=0)
        if last or section:
            return last or self._scan.heads[section] + 1
        heads = self._scan.heads.values()
        return self._above(min(heads)) if heads else len(self._lines)

    @cached_property
    def _here(self) -> set[str]:
        """The document's lines without their indentation."""
        return {self._lines.content(index).strip() for index in range(len(self._lines))}

    @cached_property
    def _places(self) -> dict[Path, tuple[int, int]]:
        """First line and end of every setting that is on, else of its twin; and of what stands
        apart, by its text as a path that no setting has."""
        places = {twin.path: (twin.first, twin.last) for twin in self._scan.twins if twin.placed}
        on = {path: (entries[0].first, entries[-1].last) for path, entries in self._groups.items()}
        return places | on | {path: (first, last) for path, first, last in _apart(self._scan)}

    def _above(self, index: int) -> int:
        """The first of the comment lines directly above a line, else that line."""
        twins = {i for twin in self._scan.twins for i in range(twin.first, twin.last)}
        while index - 1 in self._scan.comments - twins:
            index -= 1
        return index


def _scan_of(document: Document) -> Scan:
    if not isinstance(document.private, Scan):
        raise ValueError("a document of another format")
    return document.private


def _apart(scan: Scan) -> list[tuple[Path, int, int]]:
    """What stands apart and is there once."""
    places = scan.apart_places()
    counts = Counter(text for text, _, _ in places)
    return [(("", text, ""), first, last) for text, first, last in places if counts[text] == 1]


def _neighbours(scan: Scan, entry: Entry) -> tuple[list[Path], list[Path]]:
    """The paths of an entry's section that stand before it, nearest first, and those behind it;
    without sections also what stands apart."""
    section = entry.path[:-1]
    items = [(one.first, one.path) for one in scan.entries]
    items += [(twin.first, twin.path) for twin in scan.twins if twin.placed]
    near = [item for item in items if item[1][:-1] == section and item[1] != entry.path]
    near = sorted(near + ([] if section else [(first, path) for path, first, _ in _apart(scan)]))
    before = [path for first, path in near if first < entry.first]
    return before[::-1], [path for first, path in near if first > entry.first]
