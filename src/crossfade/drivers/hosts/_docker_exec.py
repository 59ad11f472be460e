"""One command in a container: its standard streams over the engine's API.

``sh`` in the container reads one line of orders from its standard input, byte by byte, and
evaluates it; what follows is the command's own input.  So neither words nor variables are among
any program's arguments, and bytes that are no text arrive as they are.  The orders begin with two
lines on standard error, ``TOKEN pid NUMBER`` and ``TOKEN go``; in place of ``go`` stands why
nothing was begun.
"""

from __future__ import annotations

import contextlib
import secrets as tokens
import socket as sockets
import struct
import time
from collections.abc import Callable
from typing import Final

from crossfade.drivers.containers import Engine
from crossfade.errors import Failed

__all__ = ["ERRORS", "Exec"]

_BOOT: Final = 'IFS= read -r _cf && eval "$_cf"'
_HEAD: Final = struct.Struct(">BxxxL")
ERRORS: Final = 2
_PORTION: Final = 65536
_PATIENCE: Final = 10.0
_MOMENT: Final = 2.0
_SAID: Final = 400
_KILLED: Final = 128 + 9
_KILL: Final = (
    "for f in /proc/[0-9]*/stat; do read -r l <$f || continue; set -- ${l##*) }; "
    '[ "$4" != PID ] || kill -KILL "-$3"; done 2>/dev/null; :'
)


class Exec:
    """A command that was started in a container.  To be used in a ``with``, which leaves nothing
    of it running when an exception leaves it.

    ``order`` makes the line of orders, given the token.  ``pid`` and ``word`` are what it told of
    itself, when that has come.  ``what`` is for errors."""

    def __init__(
        self, engine: Engine, container: str, order: Callable[[str], str], what: str
    ) -> None:
        self._engine, self._container, self._what = engine, container, what
        self._token = tokens.token_hex(16)
        self.pid = 0
        self.word = ""
        self._ended: int | None = None
        self._head = self._begin = b""
        self._rest = 0
        self._stream = 0
        with engine.explained(what):
            made = engine.api.exec_create(container, ["sh", "-c", _BOOT], stdin=True, user="0:0")
            self._id = made["Id"]
            raw = engine.api.exec_start(self._id, socket=True)
            self._socket: sockets.socket = raw._sock.dup()
            raw._response.close()
            self._socket.settimeout(None)
        with contextlib.suppress(OSError):
            self._socket.sendall(order(self._token).encode("ascii"))

    def __enter__(self) -> Exec:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.kill()
        self.cut()
        self._socket.close()

    def send(self, data: bytes | memoryview) -> None:
        """Give the command some input; waits until there is room for it."""
        self._socket.sendall(data)

    def end_of_input(self) -> None:
        """There is no more input."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(sockets.SHUT_WR)

    def frame(self, limit: int = _PORTION) -> tuple[int, bytes]:
        """The next part of the output: 1 or 2 for the stream, and its bytes; nothing at the end.

        Raises TimeoutError after the time that was set by ``patience``."""
        while True:
            while not self._rest:
                more = self._receive(_HEAD.size - len(self._head))
                if not more:
                    return 0, b""
                self._head += more
                if len(self._head) == _HEAD.size:
                    self._stream, self._rest = _HEAD.unpack(self._head)
                    self._head = b""
            data = self._receive(min(limit, self._rest))
            if not data:
                return 0, b""
            self._rest -= len(data)
            if self._stream == ERRORS:
                data = self._without_ours(data)
            if data:
                return self._stream, data

    def _receive(self, count: int) -> bytes:
        try:
            return self._socket.recv(count)
        except ConnectionError:
            return b""

    def _without_ours(self, data: bytes) -> bytes:
        """Errors without the two lines that our orders begin with."""
        if self.word:
            return data
        self._begin += data
        first, end, rest = self._begin.partition(b"\n")
        mark = self._token.encode()
        if end and not first.startswith(mark):
            raise self._unusable(self._begin)
        if end and not self.pid:
            self.pid = int(first.split()[-1])
        second, end, rest = rest.partition(b"\n")
        if end:
            self.word = second.split()[-1].decode()
            return rest
        return b""

    def patience(self, seconds: float | None) -> None:
        """How long ``frame`` may wait; None for as long as it takes."""
        self._socket.settimeout(seconds)

    def status(self) -> int:
        """The status that the command ended with; negative for a signal.

        Raises Failed: container-died when its container ended, so that nobody knows;
        host-lacks-tool when it has no shell."""
        deadline = time.monotonic() + _PATIENCE
        while self.running():
            if time.monotonic() > deadline:
                raise self._died()
            time.sleep(0.01)
        status = self._ended or 0
        if (status == _KILLED or not self.word) and self._container_died():
            raise self._died()
        if not self.word:
            raise self._unusable(self._begin)
        return 128 - status if 128 < status <= 192 else status

    def running(self) -> bool:
        """Whether the engine says that the command has not ended."""
        if self._ended is None:
            with self._engine.explained(self._what):
                found = self._engine.api.exec_inspect(self._id)
            if not found["Running"] and found["ExitCode"] is not None:
                self._ended = int(found["ExitCode"])
        return self._ended is None

    def cut(self) -> None:
        """Nobody waits at these streams any more; who does is let go."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(sockets.SHUT_RDWR)

    def _container_died(self) -> bool:
        """Whether the container ended, which the engine notes a moment after its commands' end."""
        deadline = time.monotonic() + _MOMENT / 4
        while time.monotonic() < deadline:
            found = self._engine.container(self._container)
            if found is None or not found["State"]["Running"]:
                return True
            time.sleep(0.05)
        return False

    def _died(self) -> Failed:
        what = "The container ended while a command ran in it: it is not known how far it got."
        return Failed("container-died", what, where=self._what)

    def _unusable(self, said: bytes) -> Failed:
        what = "The container's image has no shell (sh), which Crossfade needs there."
        text = said.decode(errors="replace").strip()[:_SAID]
        return Failed("host-lacks-tool", what, where=f"{self._what}\n{text}".strip())

    def kill(self) -> None:
        """End the command with everything in its session, as far as that can be done."""
        with contextlib.suppress(Failed, OSError):
            self._find_out()
            if self.pid:
                words = ["sh", "-c", _KILL.replace("PID", str(self.pid))]
                with self._engine.explained("end a command"):
                    api = self._engine.api
                    api.exec_start(api.exec_create(self._container, words, user="0:0")["Id"])

    def _find_out(self) -> None:
        """Wait a moment for the process to tell who it is."""
        deadline = time.monotonic() + _MOMENT
        self.patience(_MOMENT / 4)
        while not self.pid and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if not self.frame()[0]:
                    return
