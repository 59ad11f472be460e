"""A web server, a gate and two applications; the server's driver; what the tests ask of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gateway.scratch import App, GateProcess, receive_until
from tests.testbed.fronts import WebServer, web_server

from crossfade.drivers import driver
from crossfade.drivers.fronts.way import Way
from crossfade.drivers.hosts.local import LocalHost
from crossfade.engine.front_notes import FrontNotes
from crossfade.engine.journal import SqliteJournal
from crossfade.manifest import FrontSpec
from crossfade.model import Side
from crossfade.ports import Doing, Front, Progress

__all__ = ["Download", "On", "Place", "place_at", "web_socket"]


class On(Doing):
    """What a step gives; what it is told is kept."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measures nothing."""
        yield

    def tell(self, text: str) -> None:
        """Keep it."""
        self.told.append(text)

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Shows nothing."""
        yield lambda done, total: None


class Place:
    """A web server before ``old``, and a gate that knows ``old`` and ``new``."""

    def __init__(self, server: WebServer, gate: GateProcess, old: App, new: App) -> None:
        self.server, self.gate, self.old, self.new = server, gate, old, new
        self.state = gate.directory / "state"
        self.journal = SqliteJournal(self.state / "journal.db", "one")
        self.on = On()

    def front(self, **spec: Any) -> Front:
        """A driver as a new process of ours would make it."""
        server = self.server
        made: Front = driver("fronts", server.kind)(
            FrontSpec(server.kind, server.file, server.url, server.tls, **spec),
            Way(
                {Side.OLD: self.old.address, Side.NEW: self.new.address},
                self.gate.listen,
                self.gate.driver.expect,
            ),
            LocalHost(),
            self.state / "front",
            FrontNotes(self.journal, server.file),
        )
        return made


@contextmanager
def place_at(kind: str, directory: Path, threads: int = 400) -> Iterator[Place]:
    """All of it, running; for threads see ``web_server``."""
    with App("old") as old, App("new") as new:
        gate = GateProcess(directory, old.address, new.address)
        try:
            with web_server(kind, directory / kind, old.address, threads) as server:
                place = Place(server, gate, old, new)
                yield place
                place.journal.close()
        finally:
            gate.close()


class Download:
    """A long answer, read slowly in a thread."""

    def __init__(self, server: WebServer, size: int, seconds: float) -> None:
        self.size, self.got = size, 0
        self._pause = seconds / (size / 65536)
        self._raw = socket.create_connection((server.address.host, server.address.port), 60)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        head = f"GET /big?n={size} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        self._raw.sendall(head.encode())
        start = receive_until(self._raw, b"\r\n\r\n")
        self.got = len(start.partition(b"\r\n\r\n")[2])
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        over = threading.Event()
        while data := self._raw.recv(65536):
            self.got += len(data)
            over.wait(self._pause)
        self._raw.close()

    def ended(self) -> int:
        """How much came, when all has come."""
        self._thread.join(120)
        return self.got


def web_socket(server: WebServer) -> socket.socket:
    """An open tunnel through a web server to the application, which echoes."""
    parts = urlsplit(f"http://{server.address}/upgrade")
    raw = socket.create_connection((parts.hostname or "", parts.port or 0), 60)
    raw.sendall(
        b"GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    receive_until(raw, b"hello ")
    return raw
