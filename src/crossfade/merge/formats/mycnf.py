"""The option files of MySQL and MariaDB.

Dashes and underscores in names are the same; an option may stand without a value, and several times
(all its values are one setting).  ``!include`` and ``!includedir`` are no settings: they stay where
they are, ``included`` tells them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossfade.merge._types import Document, Path, Unreadable
from crossfade.merge.formats._configparser import TOP, collected
from crossfade.merge.formats._line_format import Broken, LineFormat, Model
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin

__all__ = ["MyCnf", "included"]

_COMMENTED = re.compile(r"[ \t]*[#;]+[ \t]?([A-Za-z][\w-]*)[ \t]*=[ \t]*(.*?)[ \t]*$")
_COMMENTED_FLAG = re.compile(r"[ \t]*[#;]+[ \t]?([a-z]+(?:[-_][a-z0-9]+)+)[ \t]*$")
_COMMENTED_HEADER = re.compile(r"[ \t]*[#;]+[ \t]*\[([\w.-]+)\][ \t]*$")
_OWN_SECTIONS = re.compile(r"(?:mysql|maria|client|server$|galera$)")
_PERHAPS = re.compile(r"mysql|maria|client|server|galera|^\ufeff?\s*!", re.MULTILINE)
"""What is in every text that has a section of its own, or an include."""
_INCLUDE = re.compile(r"[ \t]*!include(?:dir)?[ \t]+\S")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " "}
_ESCAPES |= {"'": "'", '"': '"'}
_UP_TO_COMMENT = re.compile(
    r"""(?: [^#"'] | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )*""", re.VERBOSE
)


def included(document: Document) -> tuple[tuple[int, str], ...]:
    """Line and path of every ``!include`` and ``!includedir`` of a document of this format."""
    scan: Scan = document.private
    return tuple((first + 1, text.split(None, 1)[1]) for text, first, _ in scan.apart_places())


class MyCnf(LineFormat):
    """Option files of MySQL and MariaDB."""

    name = "mycnf"

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        return _Scanner(lines).scan

    def model(self, text: str) -> Model:
        """See LineFormat; by configparser, on lines without indentation and comments."""
        lines, apart = [], []
        for line in text.removeprefix(BOM).split("\n"):
            line = line.strip()
            if line.startswith("!"):
                apart.append(line)
            elif line and not line.startswith(("#", ";")):
                kept = _UP_TO_COMMENT.match(line)
                if kept is None or line[kept.end() : kept.end() + 1] not in ("", "#"):
                    raise Broken
                lines.append(kept[0].rstrip())
        settings: dict[Path, object] = {}
        for section, name, found in collected(
            "\n".join(lines), delimiters=("=",), names=_same, strict=False, bare=True
        ):
            values = tuple(None if value is None else _unquoted(value) for value in found)
            settings[section, name] = values[0] if len(values) == 1 else values
            if section == TOP:
                raise Broken
        return Model(settings, tuple(apart))

    def folded(self, path: Path, entries: Sequence[Entry]) -> tuple[Entry, object]:
        """All values in their order."""
        values = tuple(entry.value for entry in entries)
        return entries[0], values[0] if len(values) == 1 else values

    def joined(self, path: Path) -> bool:
        """Some options count every time, and for others it does no harm."""
        return True

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """In the quotes that stand there; else in some where they are needed."""
        raw = scan.lines.text[entry.start : entry.end]
        plain = (
            "\\" not in value and value == value.strip() and not set(value) & set("#'\"\n\r\t\b")
        )
        quote = raw[:1] if raw[:1] in ("'", '"') and raw[-1:] == raw[:1] and len(raw) > 1 else ""
        if plain and not quote:
            return value
        quote = quote if quote and quote not in value else "'" if '"' in value else '"'
        kept = {" ", "'", '"'} - {quote}
        back = {one: f"\\{letter}" for letter, one in _ESCAPES.items() if one not in kept}
        return quote + "".join(back.get(character, character) for character in value) + quote

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = name.endswith(".cnf") and "openssl" not in name
        if not named and not _PERHAPS.search(text):
            return 0
        try:
            document = self.read(text)
        except Unreadable:
            return int(named and "[" in text)
        sections = {path[0] for path in (*document.settings, *document.commented)}
        sections |= {path[0] for path in document.private.heads}
        own = any(_OWN_SECTIONS.match(section) for section in sections)
        return 3 if own or document.private.apart else 0


class _Scanner:
    """One pass over the lines, as the servers and their clients go."""

    def __init__(self, lines: Lines) -> None:
        self.scan = Scan(lines)
        self._section: Path = ()
        self._commented: Path | None = None  # below a header that is a comment
        for index in range(len(lines)):
            content = lines.content(index)
            bare = content.strip()
            if bare[:1] in ("#", ";"):
                self._comment(index, content)
            elif bare.startswith("!"):
                if not _INCLUDE.match(content):
                    raise Unreadable(index + 1, "neither !include nor !includedir with a path")
                self.scan.apart.append((index, index + 1))
            elif bare:
                self._line(index, content)

    def _line(self, index: int, content: str) -> None:
        content = content[: _comment_start(index, content)].rstrip()
        bare, self._commented = content.strip(), None
        if bare.startswith("["):
            if bare.find("]") != len(bare) - 1:
                raise Unreadable(index + 1, "a section's name is not closed")
            self._section = (bare[1:-1].strip(),)
            self.scan.heads[self._section] = index
            return
        name, equals, rest = content.partition("=")
        if not self._section or not name.strip():
            raise Unreadable(index + 1, "neither a section nor an option of a section")
        begin = self.scan.lines.begin(index)
        start = begin + len(name) + len(equals)
        start += len(rest) - len(rest.lstrip()) if rest.strip() else 0
        end = begin + len(content) if equals else start
        value = _value(rest.strip()) if equals else None
        path = (*self._section, _same(name.strip()))
        self.scan.entries.append(
            Entry(path, value, start, max(start, end), index, index + 1, bare=not equals)
        )

    def _comment(self, index: int, content: str) -> None:
        self.scan.comments.add(index)
        header = _COMMENTED_HEADER.match(content)
        if header:
            self._commented = (header[1],)
            return
        found = _COMMENTED.match(content) or _COMMENTED_FLAG.match(content)
        section = self._section if self._commented is None else self._commented
        if found and section:
            raw = found[2] if found.re is _COMMENTED else ""
            placed = self._commented is None
            path = (*section, _same(found[1]))
            self.scan.twins.append(Twin(path, raw, index, index + 1, placed))


def _same(name: str) -> str:
    """The name as all its spellings are compared."""
    return name.replace("-", "_")


def _comment_start(index: int, content: str) -> int:
    """Where a comment begins behind an option, else the end; quotes must be closed."""
    quote, escaped = "", False
    for at, character in enumerate(content):
        if character in ("'", '"') and not escaped:
            quote = "" if quote == character else quote or character
        if not quote and character == "#":
            return at
        escaped = bool(quote) and character == "\\" and not escaped
    if quote:
        raise Unreadable(index + 1, "a quotation mark is not closed")
    return len(content)


def _value(raw: str) -> str:
    """What the server reads: without one pair of quotes around it, and without escapes."""
    if len(raw) > 1 and raw[0] in ("'", '"') and raw[-1] == raw[0]:
        raw = raw[1:-1]
    parts, at = [], 0
    while at < len(raw):
        known = raw[at] == "\\" and raw[at + 1 : at + 2] in _ESCAPES
        parts.append(_ESCAPES[raw[at + 1]] if known else raw[at])
        at += 2 if known else 1
    return "".join(parts)


def _unquoted(raw: str) -> str:
    """The same as _value, in another way, for the second parser."""
    inner = re.fullmatch(r"""(?s)(["'])(.*)\1""", raw)
    raw = inner[2] if inner else raw
    return re.sub(r"\\([btnrs\\'\"])", lambda found: _ESCAPES[found[1]], raw)
