"""PostgreSQL's ``postgresql.conf``, its parts and ``postgresql.auto.conf``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossfade.merge._types import Path, Unreadable
from crossfade.merge.formats._line_format import Broken, LineFormat, Model
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin

__all__ = ["Postgres"]

# PostgreSQL's words, as the server's own scanner has them
_NAME = r"[A-Za-z_\x80-\U0010ffff][\w$]*"
_PG_LINE = re.compile(
    rf"""[ \t]*(?P<name>{_NAME}(?:\.{_NAME})?) (?:[ \t]*=[ \t]*|[ \t]+|(?='))
    (?P<value> '(?:[^'\\]|\\.|'')*'
    | (?!{_NAME}\.{_NAME}(?:[ \t]|\#|$)) [A-Za-z_\x80-\U0010ffff][\w\-.:/$]*
    | [-+]?(?:[0-9]+|0x[0-9a-fA-F]+)[a-zA-Z]* | [-+]?[0-9]*\.[0-9]*(?:[Ee][-+]?[0-9]+)? )
    [ \t]*(?:\#.*)?""",
    re.VERBOSE,
)
_PG_COMMENTED = re.compile(rf"[ \t]*#[ \t]?({_NAME}(?:\.{_NAME})?)[ \t]*=[ \t]*(.*?)[ \t]*$")
_PG_KNOWN = re.compile(
    r"^[ \t]*#?[ \t]?(shared_buffers|listen_addresses|max_connections|wal_level|max_wal_size"
    r"|work_mem|shared_preload_libraries|data_directory|hba_file|log_destination)[ \t]*=",
    re.MULTILINE,
)
_PG_INCLUDES = frozenset({"include", "include_dir", "include_if_exists"})
_PG_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORD_END = " \t#"


class Postgres(LineFormat):
    """PostgreSQL's configuration: ``name = value`` with comments behind it.  Of a name that stands
    twice the last value counts, as for the server; the others are left, or dropped with it."""

    name = "postgresql"
    includes = _PG_INCLUDES

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        scan = Scan(lines)
        for index in range(len(lines)):
            content = lines.content(index)
            bare = content.strip(" \t")
            if bare.startswith("#"):
                scan.comments.add(index)
                found = _PG_COMMENTED.match(content)
                if found:
                    raw = _pg_without_comment(found[2])
                    scan.twins.append(Twin((found[1].lower(),), raw, index, index + 1))
            elif bare:
                scan.entries.append(_pg_entry(lines, index, content))
        return scan

    def model(self, text: str) -> Model:
        """See LineFormat; by one expression for a whole line."""
        settings: dict[Path, object] = {}
        for line in text.removeprefix(BOM).split("\n"):
            line = line.removesuffix("\r")
            if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
                continue
            found = _PG_LINE.fullmatch(line)
            if not found:
                raise Broken
            path, value = (found["name"].lower(),), _pg_unquoted(found["value"])
            if path[0] in _PG_INCLUDES:
                had = settings.get(path, ())
                settings[path] = (*had, value) if isinstance(had, tuple) else (value,)
            else:
                settings[path] = value
        return Model(settings)

    def folded(self, path: Path, entries: Sequence[Entry]) -> tuple[Entry, object]:
        """All includes, of others the last one."""
        if self.joined(path):
            return entries[0], tuple(entry.value for entry in entries)
        return entries[-1], entries[-1].value

    def joined(self, path: Path) -> bool:
        """Includes may stand several times."""
        return path[0] in _PG_INCLUDES

    def grouped(self, path: Path, value: object) -> object:
        """Includes are always a tuple."""
        return (value,) if self.joined(path) and isinstance(value, str) else value

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """In quotes where they stand or are needed."""
        raw = scan.lines.text[entry.start : entry.end]
        if not raw.startswith("'") and re.fullmatch(
            r"[A-Za-z_]\w*|-?\d+(?:[A-Za-z]+|\.\d+)?", value
        ):
            return value
        back = {character: f"\\{letter}" for letter, character in _PG_ESCAPES.items()}
        back |= {"'": "''", "\\": "\\\\"}
        return "'" + "".join(back.get(character, character) for character in value) + "'"

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = bool(re.search(r"postgresql[^/]*\.conf[^/]*$|postgresql/.*\.conf$", name))
        known = len(set(_PG_KNOWN.findall(text)))
        if not named and not known:
            return 0
        try:
            self.read(text)
        except Unreadable:
            return int(named or known > 2)
        return 3 if named or known > 2 else 2


def _pg_entry(lines: Lines, index: int, content: str) -> Entry:
    """The directive of a line, read character by character."""
    refused = Unreadable(index + 1, "not a name with one value")
    at = len(content) - len(content.lstrip(" \t"))
    begin = at
    while at < len(content) and (content[at].isalnum() or content[at] in "_.$"):
        at += 1
    name = content[begin:at].lower()
    behind = at
    at += len(content[at:]) - len(content[at:].lstrip(" \t"))
    if content[at : at + 1] == "=":
        at += 1
        at += len(content[at:]) - len(content[at:].lstrip(" \t"))
    elif at == behind and content[at : at + 1] != "'":
        raise refused
    start = at
    if content[at : at + 1] == "'":
        at = _pg_closed(content, at)
        if at < 0:
            raise Unreadable(index + 1, "a quotation mark is not closed")
    else:
        while at < len(content) and content[at] not in _WORD_END:
            at += 1
    rest = content[at:].strip(" \t")
    if not name or name[0].isdigit() or at == start or (rest and not rest.startswith("#")):
        raise refused
    offset = lines.begin(index)
    value = _pg_value(content[start:at])
    return Entry((name,), value, offset + start, offset + at, index, index + 1)


def _pg_closed(content: str, at: int) -> int:
    """The end of the quoted text that begins here, behind its closing mark; -1 without one."""
    at += 1
    while at < len(content):
        if content[at] == "\\" or content[at : at + 2] == "''":
            at += 2
        elif content[at] == "'":
            return at + 1
        else:
            at += 1
    return -1


def _pg_value(raw: str) -> str:
    """What the server reads, character by character."""
    if not raw.startswith("'"):
        return raw
    inner, parts, at = raw[1:-1], [], 0
    while at < len(inner):
        octal = re.compile(r"\\([0-7]{1,3})").match(inner, at)
        if octal:
            parts.append(chr(int(octal[1], 8) & 255))
            at = octal.end()
        elif inner[at] in "\\'":
            escaped = inner[at + 1]
            parts.append(_PG_ESCAPES.get(escaped, escaped) if inner[at] == "\\" else "'")
            at += 2
        else:
            parts.append(inner[at])
            at += 1
    return "".join(parts)


def _pg_unquoted(raw: str) -> str:
    """The same as _pg_value in another way, for the second parser."""
    if raw[0] != "'":
        return raw

    def read(found: re.Match[str]) -> str:
        escaped = found[1]
        if escaped is None:
            return "'"
        if escaped[0] in "01234567":
            return chr(int(escaped, 8) % 256)
        return _PG_ESCAPES.get(escaped, escaped)

    return re.sub(r"\\([0-7]{1,3}|.)|''", read, raw[1:-1])


def _pg_without_comment(rest: str) -> str:
    """The value of a commented directive, without the comment behind it."""
    if rest.startswith("'"):
        closed = _pg_closed(rest, 0)
        return rest[:closed] if closed > 0 else rest
    return re.split(r"[ \t#]", rest, maxsplit=1)[0]
