"""Doing something beside something else, to keep the pause short."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["beside"]

T = TypeVar("T")


@contextmanager
def beside(do: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Do it in a thread meanwhile; what is given waits for its end, and returns or raises as it."""
    with ThreadPoolExecutor(1) as other:
        yield other.submit(do).result
