"""The demo's load: writes and reads at a fixed rate, whatever the server does (open loop).

Every write is remembered when it was acknowledged, so that afterwards each one can be looked for on
the side that serves.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPException
from typing import TypeVar

from crossfade.demo.connection import Connection, WrongAnswer
from crossfade.demo.subject import Act, Client
from crossfade.model import Address

__all__ = ["Load", "pick", "reads", "same"]

_WORKERS = 1000
"""Requests that can wait at once: at 50 a second a pause of 20 s, at 6 a second one of 160 s."""

_IDLE = 30.0
"""Seconds after which an idle connection is not used again: the gate closes it after 75."""

K = TypeVar("K")
V = TypeVar("V")


class Load:
    """``rate`` requests a second of a client through ``address``.  Use as a context manager.

    first is the number of the first act: no two loads of one server may share numbers."""

    def __init__(self, address: Address, client: Client, rate: int, first: int = 0) -> None:
        self.address, self.client, self.rate = address, client, rate
        self.total = 0
        self.failures: list[str] = []
        self.longest_gap = 0.0
        self._answered = 0.0
        self._lock = threading.Lock()
        self._ids = itertools.count(first)
        self._spare: list[tuple[float, Connection]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="load")

    def __enter__(self) -> Load:
        self._answered = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for _since, connection in self._spare:
            connection.close()

    def _drive(self) -> None:
        with ThreadPoolExecutor(_WORKERS, "load") as pool:
            began = time.monotonic()
            for number in itertools.count():
                if self._over.wait(max(0.0, began + number / self.rate - time.monotonic())):
                    return
                pool.submit(self._one, random.choice(self.client.acts))  # noqa: S311 - load

    def _one(self, act: Act) -> None:
        with self._lock:
            connection = self._connection()
            number = f"{next(self._ids):06d}"
        before = connection.answers
        try:
            act(connection, number)
        except (OSError, HTTPException, WrongAnswer, ValueError, LookupError) as error:
            connection.close()
            with self._lock:
                self.failures.append(f"{_name(act)} at {datetime.now():%T.%f}: {error!r}"[:250])
        else:
            self._spare.append((time.monotonic(), connection))
            if connection.answers == before:
                return  # nothing was written yet that could be read, so nothing was asked
        with self._lock:
            self.total += 1
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self._answered)
            self._answered = now

    def _connection(self) -> Connection:
        """The one used last, unless it has been idle for long or was closed; the lock is held."""
        while self._spare:
            since, connection = self._spare.pop()
            if time.monotonic() - since < _IDLE and not connection.dropped:
                return connection
            connection.close()
        return Connection(self.address)

    def found(self) -> int:
        """How many acknowledged writes the server has, each read back."""
        on = Connection(self.address)
        try:
            return self.client.found(on)
        finally:
            on.close()


def _name(act: Act) -> str:
    return str(getattr(act, "__name__", act))


def pick(written: Mapping[K, V]) -> tuple[K, V] | None:
    """One of the latest writes, if there is any."""
    keys = list(written)[-200:]
    if not keys:
        return None
    key = random.choice(keys)  # noqa: S311 - load, not secrets
    return key, written[key]


def same(seen: object, expected: object) -> None:
    """Raises WrongAnswer when something else was read than was written."""
    if seen != expected:
        raise WrongAnswer(f"read {seen!r} instead of {expected!r}")


def reads(read: Callable[[], object], expected: object) -> bool:
    """Whether reading it back gives what was written."""
    try:
        return read() == expected
    except WrongAnswer:
        return False
