"""A few threads that share a list of portions of work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Final, Generic, TypeVar

__all__ = ["Portions", "portions_of", "spread"]

T = TypeVar("T")

_THREADS: Final = max(1, min(4, os.cpu_count() or 1))
_NAMES: Final = 256
_BYTES: Final = 32 * 1024 * 1024


class Portions(Generic[T]):
    """An iterator that several threads take from; it ends for all of them when one failed."""

    def __init__(self, portions: Sequence[T]) -> None:
        self._portions = iter(portions)
        self._lock = threading.Lock()
        self.stopped = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            if self.stopped:
                raise StopIteration
            return next(self._portions)


def portions_of(names: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Cut names (with their bytes) into portions, in order."""
    portions: list[list[str]] = []
    weight = _BYTES
    for name, size in names:
        if weight >= _BYTES or len(portions[-1]) >= _NAMES:
            portions.append([])
            weight = 0
        portions[-1].append(name)
        weight += size
    return portions


def spread(
    portions: Sequence[T], work: Callable[[Portions[T]], None], tell: Callable[[], None]
) -> None:
    """Let ``work`` take all portions, in threads when there are several.

    ``tell`` is called here now and then, and at the end.  The first error is raised here, after
    all threads ended.
    """
    shared = Portions(portions)
    threads = min(_THREADS, len(portions))
    if threads <= 1:
        work(shared)
        tell()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="tree") as pool:
        try:
            waiting = {pool.submit(work, shared) for _ in range(threads)}
            while waiting:
                ended, waiting = wait(waiting, timeout=0.1, return_when=FIRST_EXCEPTION)
                for one in ended:
                    one.result()
                tell()
        finally:
            shared.stopped = True
