"""The configuration of Redis and Valkey, and of their sentinels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossfade.merge._types import Path, Unreadable
from crossfade.merge.formats._line_format import Broken, LineFormat, Model
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin

__all__ = ["Redis", "argument", "quoted"]

_REDIS_COMMENTED = re.compile(r"#[ ]?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)[ ]+(\S.*?)[ \t]*$")
_REDIS_KNOWN = re.compile(
    r"^[ \t]*#?[ ]?(appendonly|appendfsync|maxmemory|tcp-backlog|protected-mode|dbfilename"
    r"|databases|stop-writes-on-bgsave-error|rdbcompression|maxmemory-policy|sentinel monitor)"
    r"[ ]+\S",
    re.MULTILINE,
)
_REDIS_LISTS = frozenset(
    {"save", "rename-command", "include", "loadmodule", "user", "client-output-buffer-limit"}
)
_REDIS_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}
_REDIS_ARGUMENT = re.compile(
    r"""[ \t]*(?: "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\'|\\(?!'))*)'
    | (?P<plain>[^ \t"']+) )(?=[ \t]|$)""",
    re.VERBOSE,
)


class Redis(LineFormat):
    """Redis' and Valkey's configuration: a name and arguments.  A directive that stands several
    times is one setting with all its values.  A value is its arguments, in quotes where they need
    some."""

    name = "redis"
    includes = frozenset({"include"})

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        scan = Scan(lines)
        for index in range(len(lines)):
            content = lines.content(index)
            bare = content.strip(" \t")
            if bare.startswith("#"):
                scan.comments.add(index)
                self._comment(scan, index, content)
            elif bare:
                scan.entries.append(_redis_entry(lines, index, content))
        return scan

    def _comment(self, scan: Scan, index: int, content: str) -> None:
        """A commented directive is a short paragraph of its own, or one of several such lines."""
        found = _REDIS_COMMENTED.match(content)
        if not found or found[2][-1] in ".,:;" or len(found[2].split()) > 8:
            return
        above = scan.lines.content(index - 1).strip("# \t") if index - 1 in scan.comments else ""
        below = scan.lines.content(index + 1) if index + 1 < len(scan.lines) else ""
        sibling = bool(scan.twins) and scan.twins[-1].last == index
        follows = below.lstrip("# \t").startswith(found[1] + " ")
        ends = not below.strip("# \t") or not below.lstrip().startswith("#")
        if (not above or sibling) and (ends or follows):
            scan.twins.append(Twin((found[1],), found[2], index, index + 1))

    def model(self, text: str) -> Model:
        """See LineFormat; by one expression for an argument."""
        found: dict[Path, list[str]] = {}
        for line in text.removeprefix(BOM).split("\n"):
            line = line.strip(" \t\r")
            if not line or line.startswith("#"):
                continue
            words, at = [], 0
            while at < len(line):
                argument = _REDIS_ARGUMENT.match(line, at)
                if not argument:
                    raise Broken
                words.append(_redis_unquoted(argument))
                at = argument.end()
            value = " ".join(quoted(word) for word in words[1:])
            found.setdefault((words[0].lower(),), []).append(value)
        return Model({path: self._value(path, values) for path, values in found.items()})

    def _value(self, path: Path, values: Sequence[object]) -> object:
        return tuple(values) if len(values) > 1 or path[0] in _REDIS_LISTS else values[0]

    def folded(self, path: Path, entries: Sequence[Entry]) -> tuple[Entry, object]:
        """All values in their order."""
        return entries[0], self._value(path, [entry.value for entry in entries])

    def joined(self, path: Path) -> bool:
        """Every directive may stand several times."""
        return True

    def grouped(self, path: Path, value: object) -> object:
        """Those that may stand several times by their nature are always a tuple."""
        return self._value(path, value if isinstance(value, tuple) else (value,))

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """As it is, in the quotes that stand there where it is one argument."""
        raw = scan.lines.text[entry.start : entry.end]
        quoted = re.fullmatch(r'"[^"\\]*"', raw) and re.fullmatch(r"[^\s\"'\\]+", value)
        return f'"{value}"' if quoted else value

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = bool(re.search(r"(redis|valkey|sentinel)[^/]*\.conf[^/]*$", name))
        if not named and len(set(_REDIS_KNOWN.findall(text))) <= 2:
            return 0
        try:
            self.read(text)
        except Unreadable:
            return 1
        return 3


def _redis_entry(lines: Lines, index: int, content: str) -> Entry:
    """The directive of a line, its arguments read character by character."""
    if re.search(r"[\x0b\x0c]", content):
        raise Unreadable(index + 1, "a control character stands in the line")
    words: list[str] = []
    spans: list[int] = []
    at, length = 0, len(content.rstrip(" \t"))
    while True:
        while at < length and content[at] in " \t":
            at += 1
        if at >= length:
            break
        spans.append(at)
        word, at = _redis_argument(content[:length], at, index)
        words.append(word)
    if len(words) < 2:
        raise Unreadable(index + 1, "a directive without a value")
    value = " ".join(quoted(word) for word in words[1:])
    begin = lines.begin(index)
    path = (words[0].lower(),)
    return Entry(path, value, begin + spans[1], begin + length, index, index + 1)


def _redis_argument(content: str, at: int, index: int) -> tuple[str, int]:
    quote = content[at] if content[at] in "\"'" else ""
    at += bool(quote)
    parts = []
    while at < len(content):
        character = content[at]
        if character == quote or (not quote and character in " \t"):
            break
        if not quote and character in "\"'":
            raise Unreadable(index + 1, "a quotation mark stands inside of a word")
        step = 1
        if character == "\\" and quote and at + 1 < len(content):
            hexadecimal = re.compile(r"\\x([0-9a-fA-F]{2})").match(content, at)
            behind = content[at + 1]
            if quote == "'":
                step, character = (2, "'") if behind == "'" else (1, "\\")
            elif hexadecimal:
                step, character = 4, chr(int(hexadecimal[1], 16))
            else:
                step, character = 2, _REDIS_ESCAPES.get(behind, behind)
        parts.append(character)
        at += step
    if quote:
        at += 1
        if content[at - 1 : at] != quote or content[at : at + 1].strip():
            raise Unreadable(index + 1, "a quotation mark is not closed where a word ends")
    return "".join(parts), at


def _redis_unquoted(argument: re.Match[str]) -> str:
    """An argument as Redis reads it, for the second parser."""
    if argument["plain"] is not None:
        return argument["plain"]
    if argument["single"] is not None:
        return argument["single"].replace("\\'", "'")

    def read(found: re.Match[str]) -> str:
        code, other = found[1], found[2]
        return chr(int(code, 16)) if code else _REDIS_ESCAPES.get(other, other)

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))", read, argument["double"])


def argument(value: str) -> str | None:
    """The only argument of a value, without quotes; None where it has several."""
    found = _REDIS_ARGUMENT.fullmatch(value)
    return _redis_unquoted(found) if found else None


def quoted(word: str) -> str:
    """An argument as a value has it."""
    if re.fullmatch(r"[^\s\"'\\\x00-\x1f]+", word):
        return word
    back = {character: f"\\{letter}" for letter, character in _REDIS_ESCAPES.items()}
    back |= {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(back.get(character, character) for character in word) + '"'
