"""Doing something beside something else, to keep the pause short."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["all_beside", "beside"]

T = TypeVar("T")


@contextmanager
def beside(do: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Do it in a thread meanwhile; what is given waits for its end, and returns or raises as it."""
    with all_beside({"": do}) as done:
        yield done[""]


@contextmanager
def all_beside(each: Mapping[str, Callable[[], T]]) -> Iterator[dict[str, Callable[[], T]]]:
    """As ``beside`` for several, one after another, by name.

    When what they are beside of fails, those that did not begin are left out."""
    with ThreadPoolExecutor(1) as other:
        futures = {name: other.submit(do) for name, do in each.items()}
        try:
            yield {name: future.result for name, future in futures.items()}
        except BaseException:
            other.shutdown(wait=False, cancel_futures=True)
            raise
