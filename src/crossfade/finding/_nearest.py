"""The nearest known base of a file whose version's pristine text is not at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Candidate", "Nearest", "nearest"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that some version has shipped."""

    version: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest candidate: those versions that shipped this very text, how many lines differ,
    and by how many lines the next best is further away (None when there is no other text)."""

    versions: tuple[str, ...]
    data: bytes
    distance: int
    margin: int | None


def nearest(data: bytes, candidates: Iterable[Candidate]) -> Nearest | None:
    """By the lines that one has and the other has not, however they are ordered; None when there
    are no candidates, or all are as far as an empty file is."""
    texts: dict[bytes, list[str]] = {}
    for one in candidates:
        texts.setdefault(one.data, []).append(one.version)
    lines = _lines(data)
    ranked = sorted(
        ((_distance(lines, _lines(text)), at, text) for at, text in enumerate(texts)),
    )
    if not ranked or ranked[0][0] >= lines.total() + _lines(ranked[0][2]).total() > 0:
        return None
    distance, _, text = ranked[0]
    margin = ranked[1][0] - distance if len(ranked) > 1 else None
    return Nearest(tuple(texts[text]), text, distance, margin)


def _lines(data: bytes) -> Counter[bytes]:
    return Counter(line.strip() for line in data.splitlines())


def _distance(one: Counter[bytes], other: Counter[bytes]) -> int:
    return (one - other).total() + (other - one).total()
