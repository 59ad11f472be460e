"""The demo's client: writes and reads at a fixed rate, whatever the server does (open loop).

Every write has a unique id and is remembered when it was acknowledged, so that afterwards each one
can be looked for on the side that serves.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException

from crossfade.demo.matrix import Connection, MatrixError, User
from crossfade.model import Address

__all__ = ["Load"]

RATE = 50
_WORKERS = 400  # at 50 a second: enough for a pause of 8 s in which every request waits


class Load:
    """50 requests a second through ``address``: half writes (messages, account data, media), half
    reads of what was written.  Use as a context manager."""

    def __init__(self, address: Address, user: User, room: str) -> None:
        self.address, self.user, self.room = address, user, room
        self.total = 0
        self.failures: list[str] = []
        self.sent: dict[str, str] = {}
        self.data: dict[str, str] = {}
        self.media: dict[str, bytes] = {}
        self.longest_gap = 0.0
        self._answered = 0.0
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._spare: list[Connection] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="load")

    @property
    def acknowledged(self) -> int:
        """Writes that were acknowledged."""
        return len(self.sent) + len(self.data) + len(self.media)

    def __enter__(self) -> Load:
        self._answered = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for connection in self._spare:
            connection.close()

    def _drive(self) -> None:
        kinds = [self._send] * 8 + [self._put] * 15 + [self._upload] * 2
        kinds += [self._read_event] * 12 + [self._read_data] * 13
        with ThreadPoolExecutor(_WORKERS, "load") as pool:
            began = time.monotonic()
            for number in itertools.count():
                if self._over.wait(max(0.0, began + number / RATE - time.monotonic())):
                    return
                pool.submit(self._one, random.choice(kinds))  # noqa: S311 - load, not secrets

    def _one(self, act: Callable[[Connection, str], None]) -> None:
        with self._lock:
            connection = self._spare.pop() if self._spare else Connection(self.address)
            number = f"{next(self._ids):06d}"
        try:
            act(connection, number)
        except (OSError, HTTPException, MatrixError) as error:
            connection.close()
            with self._lock:
                self.failures.append(f"{act.__name__}: {error!r}"[:200])
        else:
            self._spare.append(connection)
        with self._lock:
            self.total += 1
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self._answered)
            self._answered = now

    def _send(self, on: Connection, number: str) -> None:
        event = self.user.send(on, self.room, f"crossfade-{number}", f"message {number}")
        self.sent[event] = f"message {number}"

    def _put(self, on: Connection, number: str) -> None:
        self.user.put_data(on, f"net.example.{number}", f"value {number}")
        self.data[f"net.example.{number}"] = f"value {number}"

    def _upload(self, on: Connection, number: str) -> None:
        content = f"file {number}\n".encode() * 200
        self.media[self.user.upload(on, f"{number}.txt", content)] = content

    def _read_event(self, on: Connection, number: str) -> None:
        if picked := _pick(self.sent):
            _same(self.user.event(on, self.room, picked[0]), picked[1])

    def _read_data(self, on: Connection, number: str) -> None:
        if picked := _pick(self.data):
            _same(self.user.get_data(on, picked[0]), picked[1])

    def found(self, address: Address) -> int:
        """How many acknowledged writes the server at ``address`` has, each read back."""
        on = Connection(address)
        there = self.user.messages(on, self.room)
        found = sum(there.get(event) == text for event, text in self.sent.items())
        for kind, value in self.data.items():
            found += _reads(partial(self.user.get_data, on, kind), value)
        for uri, content in self.media.items():
            found += _reads(partial(self.user.download, on, uri), content)
        on.close()
        return found


def _pick(written: dict[str, str]) -> tuple[str, str] | None:
    keys = list(written)[-200:]
    if not keys:
        return None
    key = random.choice(keys)  # noqa: S311 - load, not secrets
    return key, written[key]


def _same(seen: object, expected: object) -> None:
    if seen != expected:
        raise MatrixError(f"read {seen!r} instead of {expected!r}")


def _reads(read: Callable[[], object], expected: object) -> bool:
    try:
        return read() == expected
    except MatrixError:
        return False
