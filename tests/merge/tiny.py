"""A format as small as can be, for the merge's own tests: ``a.b = 1``, and ``#a.b = 1`` commented.

Values are text; ``[x, y]`` is a list and ``{}`` an empty section.  What follows ``!`` cannot be put
into another text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossfade.merge._types import (
    Commented,
    Document,
    Drop,
    Edit,
    Path,
    Put,
    Setting,
    Unreadable,
    Write,
)

__all__ = ["TINY", "Tiny", "values"]

_LINE = re.compile(r"(?P<off>#?)(?P<key>[\w.\[\]]+) = (?P<value>.*)")


def _value(raw: str) -> object:
    if raw == "{}":
        return ()
    if raw.startswith("["):
        return tuple(item.strip() for item in raw[1:-1].split(",") if item.strip())
    return raw


def _raw(value: object) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)


def values(text: str) -> dict[str, object]:
    """What another reader finds in a text, by dotted names."""
    found = {}
    for line in text.splitlines():
        name, sign, raw = line.partition(" = ")
        if sign and not name.startswith("#"):
            found[name] = _value(raw)
    return found


class Tiny:
    """The format."""

    name = "tiny"

    def claims(self, name: str, text: str) -> int:
        """Every file of this name."""
        return 3 if name.endswith(".tiny") else 0

    def read(self, text: str) -> Document:
        """Every line that has an equals sign."""
        settings: dict[Path, Setting] = {}
        commented: dict[Path, Commented] = {}
        start = 0
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            if found := _LINE.fullmatch(line.rstrip("\n")):
                path, raw = tuple(found["key"].split(".")), found["value"]
                if found["off"]:
                    commented[path] = Commented(path, raw, number)
                elif path in settings:
                    raise Unreadable(number, "a key is there twice")
                else:
                    at = start + found.start("value")
                    settings[path] = Setting(path, _value(raw), raw, at, at + len(raw), number)
            start += len(line)
        return Document("tiny", text, settings, commented)

    def aligned(self, document: Document, reference: Document) -> Document:
        """Names are what they are."""
        return document

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """Line by line; new entries go below their twin, else to the end."""
        lines = document.text.splitlines()
        below: dict[int, list[str]] = {}
        for edit in edits:
            name = ".".join(edit.path)
            here = document.settings.get(edit.path)
            twin = document.commented.get(edit.path)
            if isinstance(edit, Drop) and here:
                lines[here.line - 1] = "\0"
            elif isinstance(edit, Write | Put):
                value = self._given(edit)
                if here:
                    lines[here.line - 1] = f"{name} = {value}"
                else:
                    at = twin.line if twin else len(lines)
                    below.setdefault(at, []).append(f"{name} = {value}")
        if not edits:
            return document.text
        result = below.get(0, [])
        for number, line in enumerate(lines, 1):
            result += [line] if line != "\0" else []
            result += below.get(number, [])
        filled = {".".join(edit.path[:-1]) for edit in edits if isinstance(edit, Put)}
        result = [line for line in result if line[:-5] not in filled or line[-5:] != " = {}"]
        torn = document.text and not document.text.endswith("\n") and not below
        return "\n".join(result) + ("" if torn or not result else "\n")

    def _given(self, edit: Write | Put) -> str:
        if isinstance(edit, Write):
            return _raw(edit.value)
        setting = edit.source.settings[edit.path]
        if setting.raw.startswith("!"):
            raise Unreadable(setting.line, "this cannot stand elsewhere")
        return setting.raw

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """Compares all values."""
        expected = values(before.text)
        for edit in edits:
            name = ".".join(edit.path)
            if isinstance(edit, Drop):
                del expected[name]
            elif isinstance(edit, Put):
                expected[name] = edit.source.settings[edit.path].value
                if expected.get(name.rpartition(".")[0]) == ():
                    del expected[name.rpartition(".")[0]]
            else:
                expected[name] = edit.value
        return None if values(after) == expected else "the values are others"


TINY = Tiny()
