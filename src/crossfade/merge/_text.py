"""Merge texts three ways by lines, without any marker: clean pieces, and the places that are not.

For files of no known format, and as a second opinion about settings that moved.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

__all__ = ["Piece", "clean_merge", "diff3"]

_CLOSE = (
    4_000_000  # pairs of lines that difflib may compare; above it only unique lines are anchors
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of lines as each of the three texts has it; empty where it has none there.

    line is where it begins in the user's text, from 1.
    """

    base: str
    user: str
    new: str
    line: int

    @property
    def result(self) -> str | None:
        """What it becomes; None where both sides changed it in different ways."""
        if self.user in (self.base, self.new):
            return self.new
        return self.user if self.new == self.base else None

    @property
    def changed(self) -> bool:
        """Whether the user changed it."""
        return self.user != self.base


def diff3(base: str, user: str, new: str) -> tuple[Piece, ...]:
    """The three texts in pieces, in order; their ``user`` parts are the user's text, and so on."""
    olds, mine, news = (_lines(text) for text in (base, user, new))
    to_user, to_new = dict(_pairs(olds, mine)), dict(_pairs(olds, news))
    common = [at for at in range(len(olds)) if at in to_user and at in to_new]
    pieces = []
    before = (0, 0, 0)
    for at in [*common, None]:
        here = (len(olds), len(mine), len(news)) if at is None else (at, to_user[at], to_new[at])
        of_base, of_user, of_new = (
            "".join(lines[start:end])
            for lines, start, end in zip((olds, mine, news), before, here, strict=True)
        )
        if of_base or of_user or of_new:
            pieces.append(Piece(of_base, of_user, of_new, before[1] + 1))
        if at is not None:
            pieces.append(Piece(olds[at], olds[at], olds[at], here[1] + 1))
        before = (here[0] + 1, here[1] + 1, here[2] + 1)
    return tuple(pieces)


def clean_merge(base: str, user: str, new: str) -> str | None:
    """The merged text; None where any piece was changed by both, or where equal lines leave it open
    which of them is which: then the result, merged again, would be another one."""
    merged = _merged(base, user, new)
    if merged is None:
        return None
    again = {_merged(base, merged, new), _merged(base, user, merged)}
    return merged if again <= {merged, None} else None


def _merged(base: str, user: str, new: str) -> str | None:
    results = [piece.result for piece in diff3(base, user, new)]
    if any(result is None for result in results):
        return None
    return "".join(result for result in results if result is not None)


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one, as editors count them."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _pairs(one: Sequence[str], two: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Which lines are the same ones, in order: first by lines that are unique in both."""
    low, high, end_one, end_two = 0, 0, len(one), len(two)
    while low < min(end_one, end_two) and one[low] == two[low]:
        yield low, low
        low += 1
    while min(end_one, end_two) > low and one[end_one - 1] == two[end_two - 1]:
        end_one, end_two, high = end_one - 1, end_two - 1, high + 1
    at_one = at_two = low
    for anchor_one, anchor_two in [*_anchors(one, two, low, end_one, end_two), (end_one, end_two)]:
        yield from _between(one, two, (at_one, anchor_one), (at_two, anchor_two))
        if anchor_one < end_one:
            yield anchor_one, anchor_two
        at_one, at_two = anchor_one + 1, anchor_two + 1
    for step in range(high):
        yield end_one + step, end_two + step


def _anchors(
    one: Sequence[str], two: Sequence[str], low: int, end_one: int, end_two: int
) -> list[tuple[int, int]]:
    """Pairs of lines that each stand once in both: the longest run of them that ascends in both."""
    once_one, once_two = _once(one, low, end_one), _once(two, low, end_two)
    tails: list[int] = []  # ends of the best runs of each length
    best: list[list[tuple[int, int, int]]] = []
    for line, at in once_one.items():
        if line not in once_two:
            continue
        other = once_two[line]
        length = bisect_left(tails, other)
        link = (at, other, len(best[length - 1]) - 1 if length else -1)
        if length == len(tails):
            tails.append(other)
            best.append([link])
        else:
            tails[length] = other
            best[length].append(link)
    found = []
    back = -1
    for column in reversed(best):
        at, other, back = column[back]
        found.append((at, other))
    return found[::-1]


def _once(lines: Sequence[str], start: int, end: int) -> dict[str, int]:
    places: dict[str, int] = {}
    twice = set()
    for at in range(start, end):
        if lines[at] in places:
            twice.add(lines[at])
        places[lines[at]] = at
    return {line: at for line, at in places.items() if line not in twice}


def _between(
    one: Sequence[str], two: Sequence[str], of_one: tuple[int, int], of_two: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    size = (of_one[1] - of_one[0]) * (of_two[1] - of_two[0])
    if not 0 < size <= _CLOSE:
        return
    matcher = SequenceMatcher(None, one[slice(*of_one)], two[slice(*of_two)], autojunk=False)
    for match in matcher.get_matching_blocks():
        for step in range(match.size):
            yield of_one[0] + match.a + step, of_two[0] + match.b + step
