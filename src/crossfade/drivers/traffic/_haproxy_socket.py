"""HAProxy's runtime socket: one command, one answer.

Source: HAProxy 2.6 Management Guide, section 9.3 "Unix Socket commands"; the command ``crossfade``
is registered by our own Lua script.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from crossfade.errors import Failed

__all__ = ["NotRunning", "RuntimeSocket"]

_SECONDS = 10.0
_CHANGES_HANDS = 1.0


class NotRunning(Exception):
    """Nobody listens at the socket."""


class RuntimeSocket:
    """The ``stats socket`` of a HAProxy at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, command: str) -> str:
        """The answer to a command, as it is.  Raises NotRunning, or Failed.

        In a reload the socket changes hands, so one that breaks off is tried again for a moment;
        every command of ours may be given twice."""
        until = time.monotonic() + _CHANGES_HANDS
        while True:
            try:
                if answer := self._ask(command):
                    return answer
            except (FileNotFoundError, ConnectionError):
                pass
            if time.monotonic() > until:
                raise NotRunning
            time.sleep(0.05)

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_SECONDS)
                connection.connect(str(self.path))
                connection.sendall(command.encode() + b"\n")
                answer = b""
                while data := connection.recv(65536):
                    answer += data
        except (FileNotFoundError, ConnectionError):
            raise
        except OSError as error:
            rights = error.errno in (errno.EACCES, errno.EPERM)
            raise Failed(
                "gate-socket-refused" if rights else "gate-unreachable",
                f"HAProxy's socket does not answer us: {error.strerror or error}.",
                where=f"{self.path}, command {command}",
                next=f"ls -l {self.path}" if rights else "",
            ) from None
        return answer.decode("utf-8", "replace")

    def gate(self, backend: str, what: str = "status") -> Mapping[str, str] | None:
        """What our script says of a backend; None when it is not in this HAProxy.

        For a moment after a reload the process from before may still answer, so it is asked again.

        Raises NotRunning, or Failed."""
        until = time.monotonic() + _CHANGES_HANDS
        while True:
            lines = self.ask(f"crossfade {backend} {what}").splitlines()
            said = dict(line.split(" ", 1) for line in lines if " " in line)
            if said.get("end") == "1":
                return said
            if time.monotonic() > until:
                return None
            time.sleep(0.05)

    def point(self, server: str, host: str, port: int) -> None:
        """Give a server (``backend/name``) another address.  Raises Failed."""
        said = self._told(f"set server {server} addr {host} port {port}")
        if "changed" not in said and "no need to change" not in said:
            raise Failed(
                "gate-refused",
                f"HAProxy did not point {server} at {host}:{port}: {said.strip() or 'no answer'}.",
                where=str(self.path),
            )

    def address(self, server: str) -> str:
        """Where a server (``backend/name``) is now, ``host:port``; empty when there is none."""
        backend, _, name = server.partition("/")
        for line in self._told(f"show servers state {backend}").splitlines():
            words = line.split()
            if len(words) > 18 and words[1] == backend and words[3] == name:
                return f"{words[4]}:{words[18]}"
        return ""

    def _told(self, command: str) -> str:
        try:
            return self.ask(command)
        except NotRunning:
            raise Failed(
                "gate-unreachable",
                "HAProxy does not run, or has another socket.",
                where=f"{self.path}, command {command}",
            ) from None
