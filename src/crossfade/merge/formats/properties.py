"""Java's ``.properties``: ``=``, ``:`` or white space behind the name, escapes, and lines that go
on behind a backslash.  A name that stands twice is refused: Java takes the last one silently."""

from __future__ import annotations

import re
from collections.abc import Iterator

import javaproperties

from crossfade.merge._types import Path, Unreadable
from crossfade.merge.formats._line_format import Broken, LineFormat, Model
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin

__all__ = ["Properties"]

_WHITE = " \t\f"
_GOES_ON = re.compile(r"(?<!\\)(?:\\\\)*\\$")
_COMMENTED = re.compile(r"[ \t\f]*[#!][ \t]?([\w.\-\[\]/$]+)[ \t]*=[ \t]*(.*)$")
_ESCAPES = {"t": "\t", "n": "\n", "f": "\f", "r": "\r"}
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{4}")


class Properties(LineFormat):
    """Java's properties."""

    name = "properties"

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        scan = Scan(lines)
        index = 0
        while index < len(lines):
            bare = lines.content(index).lstrip(_WHITE)
            if bare[:1] in ("#", "!"):
                index = self._comment(scan, index)
            elif bare:
                entry = _entry(lines, index)
                scan.entries.append(entry)
                index = entry.last
            else:
                index += 1
        return scan

    def _comment(self, scan: Scan, index: int) -> int:
        """A comment, and those that are the rest of a commented value; the line behind them."""
        found = _COMMENTED.match(scan.lines.content(index))
        last = index + 1
        while (
            found
            and last < len(scan.lines)
            and _GOES_ON.search(scan.lines.content(last - 1))
            and scan.lines.content(last).lstrip(_WHITE)[:1] in ("#", "!")
        ):
            last += 1
        scan.comments |= set(range(index, last))
        if found:
            scan.twins.append(Twin((found[1],), found[2], index, last))
        return last

    def model(self, text: str) -> Model:
        """See LineFormat; by javaproperties."""
        settings: dict[Path, object] = {}
        try:
            pairs = javaproperties.loads(text.removeprefix(BOM), object_pairs_hook=list)
        except javaproperties.InvalidUEscapeError as error:
            raise Broken from error
        for name, value in pairs:
            if (name,) in settings:
                raise Broken
            settings[(name,)] = value
        return Model(settings)

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """On one line, in ASCII: right whatever the file's encoding is."""
        back = {character: f"\\{letter}" for letter, character in _ESCAPES.items()}
        back |= {"\\": "\\\\"}
        parts = [back.get(character) or _ascii(character) for character in value]
        if value[:1] in (" ", "=", ":"):
            parts[0] = f"\\{value[0]}"
        return "".join(parts)

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = name.lower().endswith(".properties")
        if not named:
            return 0
        try:
            document = self.read(text)
        except Unreadable:
            return 1
        return 3 if document.settings or document.commented else 1


def _ascii(character: str) -> str:
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _entry(lines: Lines, first: int) -> Entry:
    """The entry that begins in a line, read character by character."""
    last = first + 1
    while _GOES_ON.search(lines.content(last - 1)):
        if last == len(lines):
            raise Unreadable(first + 1, "the text ends in a backslash")
        last += 1
    content = lines.content(first)
    begin = lines.begin(first) + len(content) - len(content.lstrip(_WHITE))
    end = lines.end(last - 1)
    name: list[str] = []
    value: list[str] = []
    start, separated, between = begin, False, False
    for offset, character, plain in _characters(lines, begin, end):
        if not between and not (plain and character in f"{_WHITE}=:"):
            name.append(character)
            start = offset
        elif plain and not value and character in f"{_WHITE}=:":
            if character not in _WHITE and separated:
                value.append(character)
            else:
                between, start = True, offset
                separated = separated or character not in _WHITE
        else:
            value.append(character)
    if not name:
        raise Unreadable(first + 1, "a value without a name")
    path = (_paired(name),)
    return Entry(path, _paired(value), start, end if between else start, first, last, not between)


def _characters(lines: Lines, at: int, end: int) -> Iterator[tuple[int, str, bool]]:
    """What Java reads of a span: the offset behind, the character, whether it has no escape."""
    text = lines.text
    while at < end:
        if text[at] != "\\":
            at += 1
            yield at, text[at - 1], True
            continue
        behind = text[at + 1]
        if behind in "\r\n":
            at = text.index("\n", at) + 1
            while at < end and text[at] in _WHITE:
                at += 1
        elif behind == "u":
            if not _HEXADECIMAL.match(text, at + 2):
                raise Unreadable(lines.at(at) + 1, "an escape without four hexadecimal digits")
            at += 6
            yield at, chr(int(text[at - 4 : at], 16)), False
        else:
            at += 2
            yield at, _ESCAPES.get(behind, behind), False


def _paired(characters: list[str]) -> str:
    """Text whose halves of characters, as Java has them, are joined."""
    joined = "".join(characters)
    halves = joined.encode("utf-16", "surrogatepass")
    try:
        return halves.decode("utf-16")
    except UnicodeDecodeError:
        return joined
