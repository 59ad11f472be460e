"""Evaluate a recipe's conditions on what was rendered.  What cannot be read is never assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import ParsedFile
from crossfade.errors import Failed
from crossfade.recipes import Condition

__all__ = ["Unreadable", "applies", "readings"]

Readings = Callable[[Condition], list[bool]]
"""What a condition says of every value that its key leads to.  Raises Unreadable."""


class Unreadable(Exception):
    """What a condition asks about is not there, cannot be parsed, or is not known."""


def readings(
    files: Mapping[str, tuple[str, bytes]], variables: Mapping[str, str] | None = None
) -> Readings:
    """How to read values from files, given by their names in a recipe: path to show, and bytes.
    variables are those of the service that are known; what others are is not."""
    known = variables or {}
    parsed: dict[str, ParsedFile] = {}

    def read(condition: Condition) -> list[bool]:
        if condition.variable:
            if condition.variable not in known:
                raise Unreadable(condition.variable)
            value = known[condition.variable]
            return [value == condition.equals if condition.compares else value != ""]
        if condition.file not in parsed:
            parsed[condition.file] = _parse(files, condition)
        file = parsed[condition.file]
        try:
            values = file.values(condition.key)
        except Failed:
            raise Unreadable(condition.file) from None
        if condition.compares:
            return [file.alike(value, condition.equals) for value in values]
        return [value is not None and value not in ([], {}, "") for value in values]

    return read


def applies(
    when: Sequence[Condition], unless: Sequence[Condition], read: Readings, *, unreadable: bool
) -> bool:
    """One of ``when`` holds (or there are none) and none of ``unless`` does; ``unreadable`` is
    the answer when a file cannot be read."""
    try:
        wanted = not when or any(any(read(condition)) for condition in when)
        return wanted and not any(any(read(condition)) for condition in unless)
    except Unreadable:
        return unreadable


def _parse(files: Mapping[str, tuple[str, bytes]], condition: Condition) -> ParsedFile:
    if condition.file not in files:
        raise Unreadable(condition.file)
    path, data = files[condition.file]
    try:
        return parse(condition.format, Path(path), data)
    except Failed:
        raise Unreadable(condition.file) from None
