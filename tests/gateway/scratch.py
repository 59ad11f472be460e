"""A scratch application, a gate process and raw clients for the tests of the gate."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_port

PATIENCE = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail after a generous time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


class _Handler(BaseHTTPRequestHandler):
    """One route for each thing that a gate can get wrong."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _working = False

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def handle_expect_100(self) -> bool:
        """The gate never forwards it."""
        self.server.app.expects += 1
        return super().handle_expect_100()

    def setup(self) -> None:
        """Remember the connection, so that the application can be ended whole."""
        super().setup()
        self.server.app.open.add(self.connection)

    def finish(self) -> None:
        """Forget it."""
        self.server.app.open.discard(self.connection)
        super().finish()

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().strip(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                raise ConnectionError("body cut")
            left -= len(piece)
            yield piece

    def _answer(self) -> None:
        app = self.server.app
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        app.saw(time.monotonic(), self.command, self.path)
        route = getattr(self, "_" + url.path.strip("/").split("/")[0], None)
        if url.path.startswith("/early"):
            self._early()
            return
        digest, length = hashlib.md5(usedforsecurity=False), 0
        try:
            for piece in self._pieces():
                digest.update(piece)
                length += len(piece)
        except (ConnectionError, ValueError, OSError):
            self.close_connection = True
            app.cut += 1
            return
        with app.lock:
            app.active += 1
            app.peak = max(app.peak, app.active)
        self._working = True
        try:
            time.sleep(float(query.get("sleep", 0)))
            if route is not None:
                route(query)
            else:
                self._say({"md5": digest.hexdigest(), "length": length})
        except OSError:
            self.close_connection = True
        finally:
            self._worked()

    def _worked(self) -> None:
        """The work on the request is done.  Noted before the answer leaves: what the client has
        received must not look as if it had been done later."""
        app = self.server.app
        with app.lock:
            if self._working:
                self._working = False
                app.active -= 1
                app.finished.append((time.monotonic(), self.command, self.path))

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = do_PATCH = _answer

    def _say(self, extra: dict[str, object], status: int = 200) -> None:
        body = json.dumps(
            {
                "app": self.server.app.name,
                "method": self.command,
                "path": self.path,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
                **extra,
            }
        ).encode()
        self._worked()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _status(self, query: dict[str, str]) -> None:
        status = int(query["code"])
        if status in (204, 304):
            self.send_response(status)
            self.end_headers()
        else:
            self._say({}, status)

    def _big(self, query: dict[str, str]) -> None:
        left = int(query["n"])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        block = bytes(1 << 20)
        while left > 0:
            self.wfile.write(block[: min(left, len(block))])
            left -= len(block)

    def _chunks(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "X-Private")
        self.send_header("X-Private", "hop")
        self.end_headers()
        for number in range(int(query["n"])):
            self.wfile.write(b"%x;ext=1\r\n%b\r\n" % (1000, b"%1000d" % number))
        self.wfile.write(b"0\r\nX-Trailer: a\r\n\r\n")

    def _endless(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"until the end")
        if "reset" in query:
            time.sleep(0.1)
            self._reset()
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        os.close(self.connection.detach())

    def _hints(self, query: dict[str, str]) -> None:
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._say({})

    def _broken(self, query: dict[str, str]) -> None:
        if "start" in query:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        if "reset" in query:
            self._reset()
        self.close_connection = True

    def _says(self, query: dict[str, str]) -> None:
        self.wfile.write(self.server.app.says)
        self.close_connection = True

    def _upgrade(self, query: dict[str, str]) -> None:
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            b"hello "
        )
        self.close_connection = True
        while data := self.connection.recv(65536):
            self.connection.sendall(data)

    def _early(self) -> None:
        body = b"too much"
        self.wfile.write(
            b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
            + body
        )
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True
    app: App

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are part of the tests."""


class App:
    """A scratch application: what it saw, when, and how much at once."""

    def __init__(self, name: str, port: int | None = None, host: str = "127.0.0.1") -> None:
        self.name = name
        self.seen: list[tuple[float, str, str]] = []
        self.finished: list[tuple[float, str, str]] = []
        self.active = self.peak = self.cut = self.expects = 0
        self.says = b""
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self._server = _Server((host, port or free_port()), _Handler)
        self._server.app = self
        self.address = Address("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def secure(self, certificate: Path, key: Path) -> None:
        """Speak TLS from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        plain = self._server.socket
        self._server.socket = context.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )

    def saw(self, at: float, method: str, path: str) -> None:
        """Note a request."""
        self.seen.append((at, method, path))

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and end every connection."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def gate_command(listen: Address, directory: Path, *more: str) -> list[str]:
    """The command that runs a gate."""
    return [
        *(sys.executable, "-P", "-m", "crossfade.gateway", "--listen", str(listen)),
        *("--socket", str(directory / "gate.sock"), "--state", str(directory / "gate.state")),
        *more,
    ]


class GateProcess:
    """A gate of its own, in the foreground, with limits that a test can reach."""

    def __init__(
        self,
        directory: Path,
        old: Address,
        new: Address,
        *limits: str,
        more: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self.directory = directory
        self.listen = Address(host, free_port())
        self.driver = GatewayTraffic(self.listen, directory)
        self._more = [f"--limit={limit}" for limit in limits]
        self._more += ["--old", str(old), "--new", str(new), *more]
        self.start()

    def start(self) -> None:
        """Start the process and wait for it."""
        with (self.directory / "gate.log").open("ab") as log:
            self.process = subprocess.Popen(
                gate_command(self.listen, self.directory, *self._more),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        until(lambda: self.driver.look() is not None, "the gate answers: " + self.log())

    def log(self) -> str:
        """All of its log."""
        return (self.directory / "gate.log").read_text()

    def ask(self, **request: object) -> dict[str, Any]:
        """One command as it stands on the wire, and its answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(PATIENCE)
            control.connect(str(self.directory / "gate.sock"))
            control.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(control.makefile("rb").readline())
        assert isinstance(answer, dict)
        return answer

    def status(self) -> dict[str, Any]:
        """Its status."""
        return self.ask(do="status")

    def hold(self, lease: float = 30.0, token: Path | None = None, at_most: float = 60.0) -> None:
        """Hold, with new as the side to commit to."""
        token = token or self.directory / "token"
        self.driver.hold(lease=lease, at_most=at_most, commit_to=Side.NEW, commit_token=token)

    def kill(self) -> None:
        """As if the machine had lost it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it, and look whether it complained about itself."""
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0, self.log()
        assert "bug" not in self.log(), self.log()

    def rss(self) -> int:
        """Its resident memory in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def client(self) -> HTTPConnection:
        """A standard client."""
        return HTTPConnection(self.listen.host, self.listen.port, timeout=PATIENCE)

    def connect(self) -> socket.socket:
        """A raw client."""
        raw = socket.create_connection((self.listen.host, self.listen.port), PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return raw

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> dict[str, Any]:
        """One request on a connection of its own; the answer's JSON."""
        client = self.client()
        try:
            client.request(method, path, body)
            answer = client.getresponse()
            data = answer.read()
            assert answer.status == 200, (answer.status, data)
            value = json.loads(data)
            assert isinstance(value, dict)
            return value
        finally:
            client.close()

    def talk(self, data: bytes, *, close: bool = False) -> bytes:
        """Send bytes; everything that comes back until the gate closes."""
        with self.connect() as raw:
            with suppress(ConnectionError):
                raw.sendall(data)
                if close:
                    raw.shutdown(socket.SHUT_WR)
            return receive_all(raw)


def receive_all(raw: socket.socket) -> bytes:
    """Everything until the other end closes or resets."""
    out = b""
    with suppress(ConnectionError):
        while data := raw.recv(65536):
            out += data
    return out


def receive_until(raw: socket.socket, end: bytes) -> bytes:
    """Everything up to and with these bytes."""
    out = b""
    while end not in out:
        data = raw.recv(65536)
        assert data, f"ended early: {out!r}"
        out += data
    return out


def silent(raw: socket.socket, seconds: float) -> bool:
    """Whether nothing comes for so long."""
    return not select.select([raw], [], [], seconds)[0]


def in_background(do: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    """Run in a thread; the results (or the error) come in the list."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(do())
        except Exception as error:  # noqa: BLE001 - shown by the test
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


@contextmanager
def gate_with_apps(directory: Path, *limits: str) -> Iterator[tuple[GateProcess, App, App]]:
    """A gate before an old and a new application."""
    with App("old") as old, App("new") as new:
        gate = GateProcess(directory, old.address, new.address, *limits)
        try:
            yield gate, old, new
        finally:
            gate.close()
