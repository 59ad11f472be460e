"""One file of the application in a format of the merge: where every value stands in its text.

Settings are found and proven by the merge's format.  Here they are taken apart into pieces: single
values with spans of their own, so that one word of a list changes and the list stays as it was
written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from crossfade.configuration._keys import leads, spelled_as
from crossfade.configuration._parsed import Change, Scalar, Value, refused, same
from crossfade.configuration._pieces import Piece, Pieces, pieces_of
from crossfade.merge._bytes import Text, Unmergeable, decoded
from crossfade.merge._types import Document, Format, Unreadable, Write
from crossfade.merge.formats import known

__all__ = ["FormatFile"]

_HASH = re.compile(r"#[^\r\n]*")
_REMARKS = {
    "ini": re.compile(r"^[ \t]*[#;][^\r\n]*|(?<=[ \t])[#;][^\r\n]*", re.MULTILINE),
    "json": re.compile(r"(?!)"),
    "mycnf": re.compile(r"^[ \t]*;[^\r\n]*|#[^\r\n]*", re.MULTILINE),
    "properties": re.compile(r"^[ \t\f]*[#!][^\r\n]*", re.MULTILINE),
    "python": re.compile(  # also a text that stands alone
        r"#[^\r\n]*|^[rRuU]?(?:\"{3}(?:[^\"\\]|\\.|\"(?!\"\"))*\"{3}|'{3}(?:[^'\\]|\\.|'(?!''))*'{3})",
        re.MULTILINE | re.DOTALL,
    ),
    "systemd": re.compile(r"^[ \t]*[#;][^\r\n]*", re.MULTILINE),
    "xml": re.compile(r"<!--.*?-->", re.DOTALL),
}
_DECLARED = {
    "xml": re.compile(r"""<\?xml[^>]*\sencoding\s*=\s*["']([\w.-]+)"""),
    "python": re.compile(r"(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=][ \t]*([\w.-]+)"),
}
_UTF_8 = ("utf-8", "utf8", "us-ascii", "ascii")
_TYPED = ("json", "toml", "python")


class FormatFile:
    """A parsed file; see ``ParsedFile``."""

    def __init__(self, format: str, path: Path, data: bytes) -> None:
        self.path = path
        self._format: Format = known(format)
        self._decoded = _text(format, path, data)
        self.text = ("\ufeff" if self._decoded.bom else "") + self._decoded.text
        declared = _DECLARED[format].match(self._decoded.text) if format in _DECLARED else None
        if declared and declared[1].lower() not in _UTF_8 and not data.isascii():
            raise refused(path, 1, f"it says that it is {declared[1]}; only UTF-8 is read")
        self.remark = _REMARKS.get(format, _HASH)
        try:
            self.document: Document = self._format.read(self.text)
            wrong = self._format.mismatch(self.document, self.text, [])
            self._pieces: Pieces = pieces_of(self.document)
        except Unreadable as why:
            raise refused(path, why.line, why.reason) from None
        except RecursionError:
            raise refused(path, 1, "it is nested too deeply") from None
        if wrong is not None:
            raise refused(path, 1, f"it is not certain what a program reads: {wrong}")

    def find(self, key: str) -> list[Piece]:
        """See ``ParsedFile``."""
        spelling = spelled_as(self.document.format)
        return [
            piece
            for piece in self._pieces.pieces
            if not piece.hidden and leads(key, piece.names, spelling)
        ]

    def values(self, key: str) -> list[Any]:
        """See ``ParsedFile``.  A section is a map of what is below it."""
        spelling = spelled_as(self.document.format)
        found: dict[tuple[object, ...], Any] = {}
        for path, names, value in self._pieces.values:
            for length in range(1, len(names) + 1):
                if not leads(key, names[:length], spelling):
                    continue
                if length == len(names):
                    found[path] = value
                else:
                    found.setdefault(path[:length], {})[path[length:]] = value
        items = [value for _, names, value in self._pieces.items if leads(key, names, spelling)]
        return [*found.values(), *items]

    def scalars(self) -> list[Scalar]:
        """See ``ParsedFile``.  What nobody can say the keys of is one shared scalar."""
        found = []
        for piece in self._pieces.pieces:
            names = tuple(alike[0] for alike in piece.names)
            commented = "\n" in piece.raw and self.remark.search(piece.raw)
            shared = piece.hidden or bool(commented)
            at = piece.start, piece.end, piece.line
            found.append(Scalar(*at, piece.text, names, is_key=False, shared=shared))
        return sorted(found, key=lambda scalar: scalar.start)

    def change(self, found: Value, value: str | int) -> Change:
        """See ``ParsedFile``."""
        assert isinstance(found, Piece)  # noqa: S101 - one of find's
        try:
            text = found.spelled(self._format, self.document, value)
        except Unreadable as why:
            reason = f"{found.key} must change, but {why.reason}"
            raise refused(self.path, why.line, reason) from None
        except ValueError:
            reason = f"{found.key} must change, but the value cannot be written in this style"
            raise refused(self.path, found.line, reason) from None
        return Change(found, value, found.start, found.end, text)

    def encoded(self, text: str) -> bytes:
        """In the file's own encoding."""
        return self._decoded.encoded(text.removeprefix("\ufeff"))

    def spans_hold(self, changes: Sequence[Change]) -> bool:
        """See ``ParsedFile``."""
        if any(one.end > two.start for one, two in pairwise(self.scalars())):
            return False
        same = [
            Write(path, setting.value)
            for path, setting in self.document.settings.items()
            if path not in self._pieces.fixed and not isinstance(setting.value, frozenset)
        ]
        try:
            return self._format.edited(self.document, same) == self.text
        except Unreadable:
            return False

    def becomes(self, new: FormatFile, changes: Sequence[Change]) -> bool:
        """See ``ParsedFile``."""
        given = {change.found: change.value for change in changes}
        edits = self._pieces.edits(given)
        return self._format.mismatch(self.document, new.text, edits) is None

    def alike(self, value: Any, given: Any) -> bool:
        """As text, where the format knows nothing else."""
        if self.document.format in _TYPED:
            return same(value, given)
        if isinstance(given, bool):
            given = str(given).lower()
        return bool(value == ("" if given is None else str(given)))


def _text(format: str, path: Path, data: bytes) -> Text:
    """The file as text.  Raises Failed."""
    name = f"{path.name}.properties" if format == "properties" else path.name
    try:
        return decoded(name, {"it": data})["it"]
    except Unmergeable as why:
        found = re.search(r" \(line (\d+)\)", str(why))
        line = int(found[1]) if found else data.count(b"\n", 0, max(data.find(b"\0"), 0)) + 1
        reason = str(why).replace(found[0], " text") if found else str(why)
        raise refused(path, line, reason) from None
