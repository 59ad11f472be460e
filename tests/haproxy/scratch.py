"""A HAProxy of its own in front of two applications, as a site has it before Crossfade comes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from crossfade.drivers.traffic._haproxy_socket import NotRunning, RuntimeSocket
from crossfade.drivers.traffic.haproxy import HaproxyTraffic
from crossfade.model import Address, Side
from crossfade.testing.applications import PATIENCE, eventually
from crossfade.testing.free_ports import free_port

CONFIG = """\
# our site's proxy
global
    stats socket {socket} mode 600 level admin
{more}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout queue 60s
    timeout tunnel 1h
    option idle-close-on-response

frontend www
    bind {listen}
    acl of_notes path_beg /
    http-request return content-type text/plain lf-string %[date()] if {{ path /its-clock }}
    use_backend notes if of_notes

backend notes
    option forwardfor
    # the application
    server app {old} check inter 500ms maxconn 200   # one process

backend other
    server elsewhere 127.0.0.9:9
"""


class Proxy:
    """A HAProxy in master-worker mode, with one frontend and the backend ``notes``.

    place is where HAProxy's user may read; ``more`` are lines for the global section."""

    def __init__(
        self,
        directory: Path,
        old: Address,
        more: str = "",
        place: Path | None = None,
        listen: Address | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._env = {**os.environ, **(env or {})}
        self.listen = listen or Address("127.0.0.1", free_port())
        self.config = directory / "haproxy.cfg"
        self.socket = directory / "admin.sock"
        self.place = place or directory / "crossfade"
        self.original = CONFIG.format(socket=self.socket, listen=self.listen, old=old, more=more)
        self.config.write_text(self.original)
        self._pid_file = directory / "haproxy.pid"
        self._log = directory / "haproxy.log"
        self.runtime = RuntimeSocket(self.socket)
        self.start()
        self.traffic = self.another()

    def another(self, backend: str = "notes") -> HaproxyTraffic:
        """A driver for it."""
        return HaproxyTraffic(
            self.listen,
            self.place,
            backend=backend,
            config=self.config,
            socket=self.socket,
            reload=("sh", "-c", f"kill -USR2 {self.process.pid}"),
            place=self.place,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                ("haproxy", "-W", "-f", str(self.config), "-p", str(self._pid_file)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
            )
        eventually(self.answers, "HAProxy answers: " + self._log.read_text()[-500:])

    def answers(self) -> bool:
        """Whether its socket answers."""
        try:
            return "Pid:" in self.runtime.ask("show info")
        except NotRunning:
            return False

    def clock(self) -> float:
        """What HAProxy takes for the time of day."""
        with socket.create_connection((self.listen.host, self.listen.port), PATIENCE) as raw:
            raw.sendall(b"GET /its-clock HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return float(raw.makefile("rb").read().split(b"\r\n\r\n")[1])

    def worker(self) -> int:
        """The process that answers now."""
        lines = self.runtime.ask("show info").splitlines()
        return int(next(line for line in lines if line.startswith("Pid:")).split()[1])

    def kill(self) -> None:
        """As if the machine had lost it: master and worker at once."""
        worker = self.worker()
        self.process.kill()
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        self.process.wait(PATIENCE)
        eventually(lambda: not self.answers(), "it is gone")

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def fit(self, targets: Mapping[Side, Address]) -> str:
        """Put Crossfade's part in."""
        return self.traffic.install(targets, act=True)
