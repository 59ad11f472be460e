"""Read each text once in a merge: the formats ask for the same ones again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

__all__ = ["once", "remembering"]

P = ParamSpec("P")
T = TypeVar("T")

_KNOWN: ContextVar[dict[Any, Any] | None] = ContextVar("known", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """While this is open, what ``once`` functions give is remembered; then it is forgotten."""
    before = _KNOWN.set({} if _KNOWN.get() is None else _KNOWN.get())
    try:
        yield
    finally:
        _KNOWN.reset(before)


def once(function: Callable[P, T]) -> Callable[P, T]:
    """A function of hashable arguments that is called once for the same ones while remembering.
    Its result is shared, so nobody may change it.  What it raises is not remembered."""

    @wraps(function)
    def known(*args: P.args, **named: P.kwargs) -> T:
        found = _KNOWN.get()
        if found is None:
            return function(*args, **named)
        key = (function, args, tuple(named.items()))
        if key not in found:
            found[key] = function(*args, **named)
        result: T = found[key]
        return result

    return known
