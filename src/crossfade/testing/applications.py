"""A scratch application for the contract of traffic, and what its clients need."""

# ruff: noqa: S101 (these are tests)
from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crossfade.model import Address
from crossfade.testing.free_ports import free_port

__all__ = ["PATIENCE", "ScratchApp", "beside", "eventually", "request", "tunnel"]

PATIENCE = 60.0
_UPGRADE = (  # key and answer are the example of RFC 6455, section 1.3
    b"GET %b HTTP/1.1\r\nHost: scratch\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail after a generous time."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.01)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def setup(self) -> None:
        """Remember the connection, so that the application can be ended whole."""
        super().setup()
        self.server.app.connections.add(self.connection)

    def finish(self) -> None:
        """Forget it."""
        self.server.app.connections.discard(self.connection)
        super().finish()

    def _answer(self) -> None:
        app, url = self.server.app, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        app.began()
        try:
            time.sleep(float(query.get("sleep", 0)))
        finally:
            app.ended(self.path)
        if url.path == "/tunnel" and "Upgrade" in self.headers:
            self._tunnel()
            return
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        answer = json.dumps({"app": app.name, "path": self.path, "md5": digest}).encode()
        self.send_response(int(query.get("status", 200)))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _tunnel(self) -> None:
        """Send back whatever comes."""
        self.close_connection = True
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            b"hello "
        )
        with suppress(OSError):
            while data := self.connection.recv(65536):
                self.connection.sendall(data)


class _Server(ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True
    app: ScratchApp

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are part of the tests."""


class ScratchApp:
    """Answers everything, with its name and the MD5 of the body.

    served are the paths of requests, in the order of their ends; active and peak count those that
    are worked on.  ``?sleep=`` and ``?status=`` say how."""

    def __init__(self, name: str, port: int | None = None) -> None:
        self.name = name
        self.served: list[str] = []
        self.active = self.peak = 0
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port or free_port()), _Handler)
        self._server.app = self
        self.address = Address("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def began(self) -> None:
        """A request is worked on."""
        with self._lock:
            self.active += 1
            self.peak = max(self.peak, self.active)

    def ended(self, path: str) -> None:
        """It is worked on no more; its answer may be on the way."""
        with self._lock:
            self.active -= 1
            self.served.append(path)

    def __enter__(self) -> ScratchApp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def request(
    at: Address,
    path: str,
    body: bytes | None = None,
    client: http.client.HTTPConnection | None = None,
) -> dict[str, Any]:
    """One request (POST with a body), on a connection of its own unless given; its answer."""
    own = client or http.client.HTTPConnection(at.host, at.port, timeout=PATIENCE)
    try:
        own.request("GET" if body is None else "POST", path, body)
        answer = own.getresponse()
        data = answer.read()
        assert answer.status == 200, (answer.status, data[:200])
        value = json.loads(data)
        assert isinstance(value, dict)
        if body is not None:
            assert value["md5"] == hashlib.md5(body, usedforsecurity=False).hexdigest()
        return value
    finally:
        if client is None:
            own.close()


def tunnel(at: Address, path: str = "/tunnel") -> socket.socket:
    """A connection that has become a tunnel."""
    raw = socket.create_connection((at.host, at.port), PATIENCE)
    raw.sendall(_UPGRADE % path.encode())
    seen = b""
    while b"hello " not in seen:
        data = raw.recv(65536)
        assert data, f"no tunnel: {seen!r}"
        seen += data
    return raw


def beside(do: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    """Run in a thread; the result, or the error, comes in the list."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(do())
        except Exception as error:  # noqa: BLE001 - shown by the test
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results
