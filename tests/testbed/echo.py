"""A server for one more port: it says its name and each line that it got."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

from crossfade.model import Address
from crossfade.testing.free_ports import free_port

__all__ = ["Echo"]


class Echo:
    """Answers every line with its name before it, and the end of all with a full stop.

    taken counts connections, broken those that were reset."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name.encode()
        self.taken = self.broken = 0
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", port or free_port()))
        self.address = Address(*self._server.getsockname())
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it with every connection.  Fine when it is ended."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for raw in list(self._open):
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._server.accept()
            except OSError:
                return
            self.taken += 1
            self._open.add(raw)
            threading.Thread(target=self._talk, args=(raw,), daemon=True).start()

    def _talk(self, raw: socket.socket) -> None:
        rest = b""
        with raw:
            try:
                while data := raw.recv(65536):
                    *lines, rest = (rest + data).split(b"\n")
                    raw.sendall(b"".join(b"%b %b\n" % (self.name, line) for line in lines))
                raw.sendall(b"%b %b." % (self.name, rest) if rest else b"")
            except OSError:
                self.broken += 1
            self._open.discard(raw)
