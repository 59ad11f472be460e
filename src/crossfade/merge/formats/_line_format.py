"""What all formats of lines have in common: a scanner finds spans, the second parser says what a
program reads, and edits are made between the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossfade.merge._once import once
from crossfade.merge._types import Commented, Document, Drop, Edit, Path, Put, Setting, Unreadable
from crossfade.merge.formats._line_edits import LineEdits
from crossfade.merge.formats._lines import Entry, Lines, Scan

__all__ = ["Broken", "LineFormat", "Model", "changed"]


class Broken(Exception):
    """The second parser cannot read a text."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a program reads: settings, and lines that stand apart (includes, shell) as they are."""

    settings: Mapping[Path, object]
    apart: tuple[str, ...] = ()


class LineFormat:
    """A format of lines.  A format has ``name``, ``scan``, ``model`` and ``written``."""

    name: str
    includes: frozenset[str] = frozenset()
    """Names of settings that are another file's text; their place is part of what they say."""

    def scan(self, lines: Lines) -> Scan:
        """Where everything stands.  Raises Unreadable."""
        raise NotImplementedError

    def model(self, text: str) -> Model:
        """What a program reads, by another parser than scan.  Raises Broken."""
        raise NotImplementedError

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """The value as it is written in the place of entry's.  It is read again afterwards, so a
        value that cannot be written may give anything."""
        raise NotImplementedError

    def folded(self, path: Path, entries: Sequence[Entry]) -> tuple[Entry, object]:
        """The entry whose span counts, and the value, for a path that stands once or more often.
        Raises Unreadable where it may not."""
        if len(entries) > 1:
            raise Unreadable(entries[1].first + 1, "this key stands in the file twice")
        return entries[0], entries[0].value

    def joined(self, path: Path) -> bool:
        """Whether all places of the path count; else only the last one."""
        return False

    def grouped(self, path: Path, value: object) -> object:
        """The value as read has it: a tuple only where there are several."""
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    def spaced(self, scan: Scan, entry: Entry, raw: str) -> str:
        """raw as it can stand in the place of entry's: with a space, where there was no value."""
        text = scan.lines.text
        empty = not text[entry.start : entry.end].split("\n")[0].strip()
        there = text[max(entry.start - 2, 0) : entry.start]
        return f" {raw}" if empty and there in (" =", " :") and raw[:1].strip() else raw

    def fitted(self, scan: Scan, section: Path, contents: list[str]) -> list[str]:
        """The lines of a new entry as they can stand in a section of the document."""
        return contents

    def unsettled(self, document: Document, after: Document, edits: Sequence[Edit]) -> str | None:
        """A reason not to make the edits that ``mismatch`` cannot see: what a program reads may
        depend on which lines of includes or of shell stand before a setting."""
        new, here = changed(document, after), self._marks(after)
        sources: dict[str, tuple[Mapping[str, int], Mapping[Path, Sequence[Entry]]]] = {}
        groups = after.private.groups()
        for edit in edits:
            if not isinstance(edit, Put) or edit.path not in new or not here:
                continue
            text = edit.source.text
            if text not in sources:
                sources[text] = self._marks(edit.source), edit.source.private.groups()
            there, theirs = sources[text]
            for mark in there.keys() & here:
                before = self._before(theirs[edit.path], there[mark])
                if before != self._before(groups[edit.path], here[mark]):
                    return f"{'.'.join(edit.path)} would stand on the other side of an include"
        return None

    def _before(self, entries: Sequence[Entry], index: int) -> int:
        """How many of the entries that count stand before a line."""
        entries = entries if self.joined(entries[0].path) else entries[-1:]
        return sum(entry.first < index for entry in entries)

    def _marks(self, document: Document) -> Mapping[str, int]:
        """The lines that stand apart, and the includes, that are there once, with their places."""
        scan = document.private
        places = [(text, first) for text, first, _ in scan.apart_places()]
        places += [
            (f"{entry.path} {entry.value}", entry.first)
            for entry in scan.entries
            if entry.path[-1] in self.includes
        ]
        counts = Counter(text for text, _ in places)
        return {text: line for text, line in places if counts[text] == 1}

    # the protocol

    @once
    def _modelled(self, text: str) -> Model:
        return self.model(text)

    @once
    def read(self, text: str) -> Document:
        """The text's settings; where the two parsers do not agree it is Unreadable."""
        scan = self.scan(Lines(text))
        settings = {}
        for path, entries in scan.groups().items():
            entry, value = self.folded(path, entries)
            raw = text[entry.start : entry.end]
            line = entry.first + 1
            settings[path] = Setting(path, value, raw, entry.start, entry.end, line)
        commented = {
            twin.path: Commented(twin.path, twin.raw, twin.first + 1) for twin in scan.twins
        }
        document = Document(self.name, text, settings, commented, scan)
        self._agree(document, scan)
        return document

    def _agree(self, document: Document, scan: Scan) -> None:
        try:
            model = self._modelled(document.text)
        except Broken as broken:
            raise Unreadable(1, f"it does not parse as {self.name}") from broken
        if model.apart != scan.apart_texts():
            line = scan.apart[0][0] + 1 if scan.apart else 1
            raise Unreadable(line, "it is not certain which lines are settings")
        for path, setting in document.settings.items():
            if path not in model.settings or model.settings[path] != setting.value:
                raise Unreadable(setting.line, "it is not certain what a program reads here")
        if len(model.settings) != len(document.settings):
            raise Unreadable(1, "it is not certain which lines are settings")

    def aligned(self, document: Document, reference: Document) -> Document:
        """The document as it is: a name in such a format is what the setting is."""
        return document

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """See the protocol.  The result has been read again and passed ``mismatch``."""
        after = LineEdits(self, document).made(edits)
        if after == document.text and not edits:
            return after
        line = next(
            (found.line for edit in edits if (found := document.settings.get(edit.path))), 1
        )
        try:
            result = self.read(after)
        except Unreadable as refusal:
            raise Unreadable(line, "an edit cannot be written here without doubt") from refusal
        wrong = self.mismatch(document, after, edits) or self.unsettled(document, result, edits)
        if wrong:
            raise Unreadable(line, f"an edit cannot be made here: {wrong}")
        return after

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """See the protocol."""
        try:
            was, found = self._modelled(before.text), self._modelled(after)
            texts = {edit.source.text for edit in edits if isinstance(edit, Put)}
            sources = {text: self._modelled(text) for text in texts}
        except Broken:
            return f"the text does not parse as {self.name}"
        expected = dict(was.settings)
        for edit in edits:
            if isinstance(edit, Drop):
                expected.pop(edit.path, None)
            elif isinstance(edit, Put):
                expected[edit.path] = sources[edit.source.text].settings.get(edit.path)
            else:
                expected[edit.path] = self.grouped(edit.path, edit.value)
        if found.apart != was.apart:
            return "lines that are no settings have changed"
        return _difference(expected, found.settings)


def changed(before: Document, after: Document) -> set[Path]:
    """The settings that are on in after, and were not so before."""
    was = before.settings
    return {
        path
        for path, setting in after.settings.items()
        if path not in was or was[path].value != setting.value
    }


def _difference(expected: Mapping[Path, object], found: Mapping[Path, object]) -> str | None:
    for path, value in expected.items():
        if path not in found:
            return f"{'.'.join(path)} is missing"
        if found[path] != value or type(found[path]) is not type(value):
            return f"{'.'.join(path)} has another value"
    extra = next((path for path in found if path not in expected), None)
    return f"{'.'.join(extra)} should not be there" if extra is not None else None
