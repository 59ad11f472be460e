"""Evaluate a recipe's conditions on the rendered files.  What cannot be read is never assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossfade.configuration._document import YamlFile, model
from crossfade.configuration._prove import same
from crossfade.errors import Failed
from crossfade.recipes import Condition

__all__ = ["Unreadable", "applies", "readings"]

Readings = Callable[[Condition], list[Any]]
"""Every value that a condition's key leads to.  Raises Unreadable."""


class Unreadable(Exception):
    """The file that a condition asks about is not there or cannot be parsed."""


def readings(files: Mapping[str, tuple[str, bytes]]) -> Readings:
    """How to read values from files, given by their names in a recipe: path to show, and bytes."""
    parsed: dict[str, tuple[YamlFile, Any]] = {}

    def read(condition: Condition) -> list[Any]:
        if condition.file not in parsed:
            parsed[condition.file] = _parse(files, condition.file)
        file, loaded = parsed[condition.file]
        values = []
        for found in file.find(condition.key):
            value = loaded
            for step in found.keys:
                value = value[step]
            values.append(value)
        return values

    return read


def applies(
    when: Sequence[Condition], unless: Sequence[Condition], read: Readings, *, unreadable: bool
) -> bool:
    """One of ``when`` holds (or there are none) and none of ``unless`` does; ``unreadable`` is
    the answer when a file cannot be read."""
    try:
        wanted = not when or any(_holds(condition, read) for condition in when)
        return wanted and not any(_holds(condition, read) for condition in unless)
    except Unreadable:
        return unreadable


def _holds(condition: Condition, read: Readings) -> bool:
    values = read(condition)
    if condition.compares:
        return any(same(value, condition.equals) for value in values)
    return any(value is not None and value not in ([], {}, "") for value in values)


def _parse(files: Mapping[str, tuple[str, bytes]], name: str) -> tuple[YamlFile, Any]:
    if name not in files:
        raise Unreadable(name)
    path, data = files[name]
    try:
        file = YamlFile(Path(path), data)
        return file, model(file.path, file.text)
    except Failed:
        raise Unreadable(name) from None
