"""Ports for what a test starts."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache
from tempfile import gettempdir
from typing import Final

__all__ = ["free_port", "free_ports"]

# Below the ports that the kernel gives to connections, and above those of our own doors.
_FIRST: Final = 20000
_LAST: Final = 32000
_SHARES: Final = 16
_SHARE: Final = (_LAST - _FIRST) // _SHARES


class _Share:
    """The ports of one of the processes that run tests beside each other.

    A port is free until whoever asked for it begins to listen, which may be minutes later.  So no
    two processes choose among the same ports, and none chooses one again soon."""

    def __init__(self) -> None:
        self._first = _FIRST + self._claim() * _SHARE
        self._next = os.getpid() % _SHARE

    def _claim(self) -> int:
        """The number of a share that no other process has as long as this one lives."""
        for number in range(_SHARES):
            path = f"{gettempdir()}/crossfade-tests-ports-{number}.lock"
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number  # the lock ends with this process
            except BlockingIOError:
                os.close(lock)
        raise AssertionError(f"{_SHARES} processes run tests already")

    def take(self) -> int:
        self._next = (self._next + 1) % _SHARE
        return self._first + self._next


@cache
def _share() -> _Share:
    return _Share()


def free_ports(count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> list[int]:
    """Ports below 32768 that nobody uses at any of these addresses, for TCP or UDP."""
    found: list[int] = []
    for _ in range(_SHARE):
        if len(found) == count:
            return found
        port = _share().take()
        with ExitStack() as stack, suppress(OSError):
            for host in hosts:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind((host, port))
            found.append(port)
    raise AssertionError("no free port")


def free_port(hosts: Sequence[str] = ("127.0.0.1",)) -> int:
    """One of ``free_ports``."""
    return free_ports(1, hosts)[0]
