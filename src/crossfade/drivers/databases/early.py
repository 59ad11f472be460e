"""Something that is begun in a thread before its result is needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Early"]

T = TypeVar("T")


class Early(Generic[T]):
    """What ``do`` gives: ``begin`` starts it in a thread, ``result`` is what came of it."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._begun: Future[T] | None = None

    def begin(self) -> None:
        """Start it."""
        thread = ThreadPoolExecutor(1)
        self._begun = thread.submit(self._do)
        thread.shutdown(wait=False)

    def result(self) -> T:
        """What was begun, once it has ended; or do it now.  Raises what ``do`` raises."""
        begun, self._begun = self._begun, None
        return begun.result() if begun else self._do()

    def settle(self) -> None:
        """Wait for what was begun, and forget it."""
        begun, self._begun = self._begun, None
        if begun:
            begun.exception()
