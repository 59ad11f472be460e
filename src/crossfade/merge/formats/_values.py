"""Values that are equal only where a program would read the same.

For Python ``True == 1 == 1.0``; a program that reads a configuration may well tell them apart, so
those that do not come out of a text as numbers would be taken for one another in a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set

__all__ = ["Real", "Tagged", "Truth", "exact"]

_LARGEST = 200_000


class Truth(int):
    """A truth value that is not equal to 0 or 1."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Truth | bool) and int(self) == int(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self)

    def __repr__(self) -> str:
        return repr(bool(self))

    __str__ = __repr__


class Real(float):
    """A number with a fraction: not equal to a whole number, and nan is equal to itself."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, float):
            return False
        if math.isnan(self) or math.isnan(other):
            return math.isnan(self) and math.isnan(other)
        return float(self) == float(other) and math.copysign(1, self) == math.copysign(1, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(float(self)) if not math.isnan(self) else 0


class Tagged(tuple[object, ...]):
    """A value of a kind that only the application knows (``!secret x``, a tuple in Python): its
    kind and what it is made of.  Never equal to a list of the same."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tagged) and tuple(self) == tuple(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(("tagged", tuple(self)))


_AS_THEY_ARE = {str, int, bytes, type(None)}


def exact(value: object) -> object:
    """``value`` for comparing: lists as tuples, maps as frozen sets of pairs, to any depth.

    Raises ValueError for what unfolds to more than 200,000 values.
    """
    return _exact(value, [_LARGEST])


def _exact(value: object, left: list[int]) -> object:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("too many values")
    if type(value) in _AS_THEY_ARE:  # nearly all are, and the questions below take their time
        return value
    if isinstance(value, bool):
        return Truth(value)
    if isinstance(value, float) and not isinstance(value, Real):
        return Real(value)
    if isinstance(value, Tagged):
        return Tagged(_exact(item, left) for item in value)
    if isinstance(value, Mapping):
        return frozenset((_exact(k, left), _exact(v, left)) for k, v in value.items())
    if isinstance(value, Set):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(_exact(item, left) for item in value)
    return value
