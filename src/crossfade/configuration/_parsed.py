"""What every format of the application's files can do for us: find values by key, say where they
stand, change them, and prove what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from crossfade.errors import Failed
from crossfade.recipes._yaml import dotted

__all__ = [
    "Change",
    "ParsedFile",
    "Scalar",
    "Value",
    "apply",
    "between",
    "fits",
    "refused",
    "same",
]


def refused(path: Path, line: int, reason: str) -> Failed:
    """The error for a file that we do not dare to carry."""
    return Failed(
        "configuration-refused",
        f"{path.name} cannot be carried over: {reason}",
        where=f"{path}:{line}",
        next=f"crossfade config plan   (first mend line {line} of {path})",
    )


class Value(Protocol):
    """A value that a key leads to."""

    @property
    def key(self) -> str:
        """The key path with dots, for people."""

    @property
    def line(self) -> int:
        """Line in the file, from 1."""

    @property
    def start(self) -> int:
        """Where its text begins in the file, in characters."""

    @property
    def text(self) -> str:
        """The value as text."""

    @property
    def is_text(self) -> bool:
        """Whether it is text to the program too, not a number or a truth."""

    @property
    def whole(self) -> bool:
        """Whether it is all of its setting, not one word of an expression."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar as it stands in the text: its span, value, and the names of the keys around it;
    shared when an alias shows it under other keys too, or nobody can say which those are."""

    start: int
    end: int
    line: int
    value: str
    names: tuple[str, ...]
    is_key: bool
    shared: bool

    @property
    def key(self) -> str:
        """The key path with dots."""
        return dotted(self.names)


@dataclass(frozen=True, slots=True)
class Change:
    """One value that gets another: the span in characters, and the text to put there.  found is a
    Value of the file's own kind."""

    found: Any
    value: str | int
    start: int
    end: int
    text: str


class ParsedFile(Protocol):
    """A file of one format, read.  Making one raises Failed (``configuration-refused``, with file
    and line) for what cannot be carried."""

    path: Path
    text: str
    remark: re.Pattern[str]
    """A comment, in what stands between the scalars."""

    def find(self, key: str) -> Sequence[Value]:
        """Every value that ``key`` (names, list indexes, ``*``, ``a|b``, with dots) leads to."""

    def values(self, key: str) -> list[Any]:
        """The same, and lists and sections too, as a program gets them, by another parser than the
        one that finds spans."""

    def scalars(self) -> list[Scalar]:
        """Every scalar of the text in order, each once."""

    def change(self, found: Value, value: str | int) -> Change:
        """Plan to give ``found`` (one of ``find``) another value.  Raises Failed where its text
        stands for more, or the value cannot be written there."""

    def encoded(self, text: str) -> bytes:
        """Another text as bytes of this file's kind."""

    def spans_hold(self, changes: Sequence[Change]) -> bool:
        """Whether writing every value over itself gives the same text."""

    def becomes(self, new: Any, changes: Sequence[Change]) -> bool:
        """Whether another parser reads ``new``, a file of this format, as this one with exactly
        these changes."""

    def alike(self, value: Any, given: Any) -> bool:
        """Whether a value of ``values`` is what a recipe says with ``given``."""


def apply(text: str, changes: Iterable[Change]) -> str:
    """``text`` with all changes made; everything between their spans stays as it is."""
    pieces = []
    position = 0
    for each in sorted(changes, key=lambda change: change.start):
        pieces += [text[position : each.start], each.text]
        position = each.end
    return "".join([*pieces, text[position:]])


def between(file: ParsedFile, start: int, end: int) -> Iterator[tuple[int, str, bool]]:
    """The lines of a span without scalars: line number, text, whether it is a comment."""
    position = start
    for remark in [*file.remark.finditer(file.text, start, end), None]:
        stop = remark.start() if remark else end
        yield from _lines(file, position, stop, comment=False)
        if remark:
            yield from _lines(file, stop, remark.end(), comment=True)
            position = remark.end()


def _lines(
    file: ParsedFile, start: int, end: int, *, comment: bool
) -> Iterator[tuple[int, str, bool]]:
    first = file.text.count("\n", 0, start) + 1
    for number, line in enumerate(file.text[start:end].split("\n"), first):
        if line.strip():
            yield number, line, comment


def fits(part: str, name: str) -> bool:
    """Whether one part of a key (``*``, ``a|b``) is this name."""
    return part == "*" or name in part.split("|")


def same(one: Any, two: Any) -> bool:
    """Equality of plain data that tells 1 from 1.0 and from true, and takes nan for itself."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two or (one != one and two != two))
