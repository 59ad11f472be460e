"""``.env`` files, and files of the shell that set variables (``setenv.sh``, ``/etc/default``).

A setting is a plain assignment, with or without ``export``.  A value without quotes, escapes and
expansions is the text itself; of any other the value is what stands there, with its quotes: what it
is depends on where it is read.  A name that is set several times is one setting with all values.
Other lines of the shell are no settings: they stay as they are, and stand apart.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from dotenv.parser import parse_stream

from crossfade.merge._types import Document, Drop, Edit, Path, Put, Unreadable
from crossfade.merge.formats._line_format import Broken, LineFormat, Model, changed
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin
from crossfade.merge.formats._shell import Commands, word_end

__all__ = ["Env"]

_SHELL = re.compile(r"\A\ufeff?#!|^[ \t]*export[ \t]", re.MULTILINE)
_SHELL_START = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=")
_DOTENV_START = re.compile(r"[ \t]*([A-Za-z_][\w.-]*)[ \t]*=[ \t]*")
_COMMENTED = re.compile(r"[ \t]*#[ \t]?(?:export[ \t]+)?([A-Za-z_]\w*)=(.*?)[ \t]*$")
_PERHAPS = re.compile(
    r"(?:\ufeff)?(?:[^\S\n]*(?:#[^\n]*)?\n)*[^\S\n]*(?:export[ \t]+)?[A-Z_][A-Z0-9_]*="
)
"""How every text begins that has nothing but assignments to names in capitals."""
_REST = re.compile(r"[ \t]*(?:#.*)?$")
_USED = re.compile(r"\$\{?([A-Za-z_]\w*)")
_SPECIAL = set("\\\"'`$")
_NAMED = re.compile(
    r"(?:^|/)(?:\.env(?:\.[\w.-]+)?|[^/]*\.env|[^/]*env\.sh|environment|envvars)$"
    r"|/etc/(?:default|sysconfig)/[^/]+$|/profile\.d/[^/]+\.sh$"
)
# one word of the shell, for the second parser
_COMMAND = r"\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"
_BRACES = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_EXPANDED = rf"\$(?:{_COMMAND}|{_BRACES})|`(?:[^`\\]|\\.)*`"
_WORD = re.compile(
    rf"""[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=
    ((?: '[^']*' | "(?:{_EXPANDED}|[^"\\]|\\.)*+" | {_EXPANDED} | \\(?:\r\n|.)
    | [^\s;&|<>()'"\\`] )*+)
    (?=[ \t]+\#|[ \t]*\r?$)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


class Env(LineFormat):
    """Assignments of environment variables."""

    name = "env"

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        if not _SHELL.search(lines.text):
            try:
                return _Dotenv(lines).scan
            except Unreadable:
                pass
        return _Shell(lines).scan

    def model(self, text: str) -> Model:
        """See LineFormat; by python-dotenv, or by an expression for a word of the shell."""
        scan = self.scan(Lines(text))
        if isinstance(scan, _DotenvScan):
            return _dotenv_model(text)
        settings: dict[Path, list[object]] = {}
        at = 0
        for entry in scan.entries:
            # which lines are commands is for the scanner to say, what they set is not
            found = _WORD.match(scan.lines.text, scan.lines.begin(entry.first))
            if not found or found.start() < at or found.end() < entry.end:
                raise Broken
            at = found.end()
            settings.setdefault((found[1],), []).append(_value(found[2]))
        return Model(_folded(settings), scan.apart_texts())

    def folded(self, path: Path, entries: Sequence[Entry]) -> tuple[Entry, object]:
        """All values in their order."""
        values = tuple(entry.value for entry in entries)
        return entries[0], values[0] if len(values) == 1 else values

    def joined(self, path: Path) -> bool:
        """A later value may be made of the one before."""
        return True

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """In the quotes that stand there, or in some where they are needed; a value with special
        characters only as it is, where such a value stands or it has its own quotes."""
        raw = scan.lines.text[entry.start : entry.end]
        quote = raw[0] if len(raw) > 1 and raw[0] in "'\"" and raw[0] == raw[-1] else ""
        if set(value) & _SPECIAL:
            own = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            if not own and not set(str(entry.value)) & _SPECIAL:
                raise Unreadable(
                    entry.first + 1, "a value with $, quotes or \\ needs its own quotes"
                )
            return value
        free = isinstance(scan, _DotenvScan) and " " in raw and not quote
        # what stands there without quotes can stand there again: not every reader takes them off
        rest = set(re.sub(r"[\w./:@%+,=-]", "", value)) - (set(raw) - set("#~ \t"))
        if free or quote or not rest:
            return f"{quote}{value}{quote}"
        return f'"{value}"'

    def unsettled(self, document: Document, after: Document, edits: Sequence[Edit]) -> str | None:
        """Also what other code sets, and names that would be used before they are set."""
        edited = {edit.path for edit in edits if isinstance(edit, Drop)} | changed(document, after)
        for one in (document, *(edit.source for edit in edits if isinstance(edit, Put))):
            code = "\n".join(one.private.apart_texts())
            for path in edited:
                if re.search(rf"\b{re.escape(path[0])}\+?=", code):
                    return f"{path[0]} is also set in code of the shell"
        for edit in edits:
            if isinstance(edit, Put):
                for user, used in _uses(edit.source, edited) ^ _uses(after, edited):
                    both = (user,) in edit.source.settings and (user,) in after.settings
                    if both and edit.path[0] in (user, used):
                        return f"{user} depends on what is set before it"
        return super().unsettled(document, after, edits)

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = bool(_NAMED.search(name))
        if not named and not _PERHAPS.match(text):
            return 0
        try:
            document = self.read(text)
        except Unreadable:
            return int(named)
        if named:
            return 3 if document.settings or document.commented else 1
        upper = all(
            re.fullmatch(r"[A-Z_][A-Z0-9_]*", entry.path[0]) and text[entry.start - 2] not in " \t="
            for entry in document.private.entries
        )
        return 2 if document.settings and upper and not document.private.apart else 0


def _uses(document: Document, edited: set[Path]) -> set[tuple[str, str]]:
    """Pairs of a setting and one that its value uses and that is set before it, where one of the
    two is edited."""
    pairs = set()
    firsts = {path: setting.line for path, setting in document.settings.items()}
    for entry in document.private.entries:
        for used in _USED.findall(document.text[entry.start : entry.end]):
            before = firsts.get((used,), entry.first + 2) <= entry.first
            if before and {entry.path, (used,)} & edited:
                pairs.add((entry.path[0], used))
    return pairs


def _value(raw: str) -> str:
    """The text where there is nothing special in it, else the raw text."""
    inner = raw[1:-1] if len(raw) > 1 and raw[0] in "'\"" and raw[0] == raw[-1] else raw
    return (raw if set(inner) & _SPECIAL else inner).replace("\r\n", "\n")


class _DotenvScan(Scan):
    """A scan of a text that has nothing but assignments."""


class _Dotenv:
    """One pass over a text as python-dotenv goes: anything may stand behind ``=``."""

    def __init__(self, lines: Lines) -> None:
        self.scan = _DotenvScan(lines)
        index = 0
        while index < len(lines):
            bare = lines.content(index).strip()
            if bare[:1] == "#":
                _comment(self.scan, index)
            index = self._assignment(index) if bare and bare[0] != "#" else index + 1

    def _assignment(self, index: int) -> int:
        """Take an assignment; the line behind it."""
        lines = self.scan.lines
        found = _DOTENV_START.match(lines.text, lines.begin(index))
        if not found or found.end() > lines.end(index):
            raise Unreadable(index + 1, "not an assignment")
        start, last = found.end(), index
        if lines.text[start] in "'\"":
            end = self._closed(start, index)
            last = lines.at(end)
            if not _REST.match(lines.text[end : lines.end(last)]):
                raise Unreadable(index + 1, "something stands behind a value in quotes")
        else:
            rest = lines.text[start : lines.end(index)]
            white = lines.text[start - 1] in " \t"
            comment = re.search(r"\A#|\s#" if white else r"\s#", rest)
            end = start + len((rest[: comment.start()] if comment else rest).rstrip())
        value = _value(lines.text[start:end])
        self.scan.entries.append(Entry((found[1],), value, start, end, index, last + 1))
        return last + 1

    def _closed(self, start: int, index: int) -> int:
        text, at = self.scan.lines.text, start + 1
        while at < len(text) and text[at] != text[start]:
            at += 2 if text[at] == "\\" else 1
        if at >= len(text):
            raise Unreadable(index + 1, "a quotation mark is not closed")
        return at + 1


class _Shell:
    """One pass over a text as a shell goes, but for what is inside of constructs."""

    def __init__(self, lines: Lines) -> None:
        self.scan = Scan(lines)
        self._commands = Commands(lines.text)
        index = opened = 0
        while index < len(lines):
            bare = lines.content(index).strip()
            opened = opened if self._commands.inside else index
            if not self._commands.inside and (not bare or bare[0] == "#"):
                if bare:
                    _comment(self.scan, index)
                index += 1
                continue
            entry = None if self._commands.inside else self._assignment(index)
            if entry:
                self.scan.entries.append(entry)
                index = entry.last
                continue
            end = self._commands.skip(lines.begin(index), index + 1)
            index = min(lines.at(max(end - 1, 0)) + 1, len(lines))
            if not self._commands.inside:
                self.scan.apart.append((opened, index))
        if self._commands.inside:
            raise Unreadable(opened + 1, "a construct of the shell that is not closed")

    def _assignment(self, index: int) -> Entry | None:
        lines = self.scan.lines
        found = _SHELL_START.match(lines.text, lines.begin(index))
        if not found:
            return None
        start = found.end()
        end = word_end(lines.text, start)
        if end < 0:
            raise Unreadable(index + 1, "a quotation mark or bracket of the shell is not closed")
        last = lines.at(end)
        rest = lines.text[end : lines.end(last)]
        if not _REST.match(rest) or rest.startswith("#"):
            return None
        return Entry((found[1],), _value(lines.text[start:end]), start, end, index, last + 1)


def _comment(scan: Scan, index: int) -> None:
    scan.comments.add(index)
    found = _COMMENTED.match(scan.lines.content(index))
    if found:
        scan.twins.append(Twin((found[1],), found[2], index, index + 1))


def _dotenv_model(text: str) -> Model:
    settings: dict[Path, list[object]] = {}
    for binding in parse_stream(io.StringIO(text.removeprefix(BOM), newline="")):
        if binding.error or (binding.key is not None and binding.value is None):
            raise Broken
        if binding.key is None or binding.value is None:
            continue
        written = binding.original.string.partition("=")[2].strip()
        quoted = re.match(r"""(?s)(["'])(?:\\.|(?!\1).)*\1""", written)
        raw = quoted[0] if quoted else binding.value
        plain = not set(binding.value) & _SPECIAL and "\\" not in raw
        value = (binding.value if plain else raw).replace("\r\n", "\n")
        settings.setdefault((binding.key,), []).append(value)
    return Model(_folded(settings))


def _folded(settings: dict[Path, list[object]]) -> dict[Path, object]:
    return {path: all_[0] if len(all_) == 1 else tuple(all_) for path, all_ in settings.items()}
