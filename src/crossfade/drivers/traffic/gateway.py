"""The built-in gate as a driver: starts its process, and speaks with it over its socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from crossfade.drivers.traffic._tls import as_words, must_be_served, must_be_usable
from crossfade.errors import Failed
from crossfade.manifest import TlsSpec
from crossfade.model import Address, Side
from crossfade.ports import (
    PACE,
    Late,
    Measured,
    PortState,
    RelayedPort,
    TrafficState,
    TrafficTraits,
)

__all__ = ["GatewayTraffic"]

_ANSWER_SECONDS = 10.0
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
# What the gate needs of our environment.  The rest may hold secrets, and it outlives us.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_CODES = {
    "hold-over": "gate-hold-over",
    "drain-timeout": "gate-drain-timeout",
}


class _NotRunning(Exception):
    """Nobody answers at the socket."""


class GatewayTraffic:
    """The built-in gate that listens at ``listen``, with ``tls`` for clients that speak TLS.

    directory holds its socket (gate.sock), state (gate.state), log (gate.log) and process id
    (gate.pid); it is made when missing, with mode 0700.  metrics is where its counters are handed
    out besides; ports are those whose connections it passes on as they are.
    """

    traits = TrafficTraits(
        hold=True, exact_drain=True, settles_in=0.0, counts_late=True, passes_reads=True
    )

    def __init__(
        self,
        listen: Address,
        directory: Path,
        *,
        tls: TlsSpec | None = None,
        metrics: Address | None = None,
        ports: Sequence[RelayedPort] = (),
    ) -> None:
        self.listen = listen
        self.directory = directory
        self.tls = tls
        self._metrics = metrics
        self.ports = tuple(ports)

    def look(self) -> TrafficState | None:
        """How it stands; None when it does not run."""
        try:
            return _state(self._ask({"do": "status"}))
        except _NotRunning:
            return None

    def ensure(self, targets: Mapping[Side, Address]) -> None:
        """Make sure that it runs and knows both addresses; see the port."""
        try:
            served = self._ask({"do": "status"}).get("certificate")  # an older gate has none
        except _NotRunning:
            if self.tls:
                must_be_usable(self.tls)
            self._start(targets)
        else:
            must_be_served(self.tls, served, self.listen)
        self._tell({"do": "targets", **{side.value: str(targets[side]) for side in Side}})
        with suppress(Failed):  # nobody's requests hang on it; ``look`` tells where it is
            self._tell({"do": "metrics-at", "at": str(self._metrics) if self._metrics else None})
        with suppress(Failed):  # requests come first, also on the way back; ``look`` tells why not
            self._tell({"do": "ports", "ports": [port.as_json() for port in self.ports]})

    def hold(
        self,
        *,
        lease: float,
        at_most: float,
        commit_to: Side,
        commit_token: Path,
        reads: bool = False,
    ) -> None:
        """Make requests wait; see the port.  Held already: renews the lease, takes the token."""
        self._tell(
            {
                "do": "hold",
                "lease": lease,
                "at_most": at_most,
                "commit_to": commit_to.value,
                "commit_token": str(commit_token.absolute()),
                "reads": reads,
            }
        )

    def renew(self, lease: float) -> None:
        """Renew the lease (seconds).  Raises Failed when the hold is over."""
        self._tell({"do": "renew", "lease": lease})

    def drain(self, timeout: float) -> TrafficState:
        """Wait until no request is in flight.  Raises Failed after ``timeout`` seconds."""
        answer = self._tell({"do": "drain", "timeout": timeout}, patience=timeout + _ANSWER_SECONDS)
        return _state(answer)

    def switch(self, side: Side) -> None:
        """Point traffic at ``side``; only while held.  Fine when it goes there and is not held:
        then an earlier run has switched and released already."""
        now = self.look()
        if now is not None and not now.held and now.side is side:
            return
        self._tell({"do": "switch", "side": side.value})

    def release(self, pace: int = PACE) -> None:
        """Let waiting requests go, at most ``pace`` in flight at once at first."""
        self._tell({"do": "release", "pace": pace})

    def metrics(self) -> str:
        """The gate's counters in Prometheus' text format."""
        return str(self._tell({"do": "metrics"})["text"])

    def record(self, path: Path | None) -> None:
        """Write a line for every request to ``path`` from now on; None ends it."""
        self._tell({"do": "record", "path": None if path is None else str(path.absolute())})

    def expect(self, token: str) -> int:
        """How many requests with this token in the field ``X-Crossfade-Token`` have come since it
        was first expected.  One token at a time; only letters and digits."""
        return int(self._tell({"do": "expect", "token": token})["came"])

    def farewell(self, on: bool) -> int:
        """Ask clients to leave from now on, by ``Connection: close`` in the next answer, and end
        idle connections; or stop that.  How many connections there are."""
        return int(self._tell({"do": "farewell", "on": on})["clients"])

    def count_late(self, since: float | None, names: Sequence[str] = ()) -> None:
        """Count who comes from now on, by name and address; None ends it.  See the port."""
        self._tell({"do": "count-late", "since": since, "names": list(names)})

    def install(self, targets: Mapping[Side, Address], *, act: bool) -> str:
        """Nothing: it is a process of its own."""
        return ""

    def leave(self, side: Side, *, act: bool) -> str:
        """Nothing: it goes on, in front of the side that serves."""
        return ""

    def stop(self) -> None:
        """End the gate's process.  Fine when it does not run."""
        pid = self._pid()
        try:
            answer = self._ask({"do": "stop"})
            pid = int(answer["pid"])
        except _NotRunning:
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        if pid is not None and not _gone(pid, _STOP_SECONDS):
            os.kill(pid, signal.SIGKILL)
            _gone(pid, _STOP_SECONDS)
        (self.directory / "gate.pid").unlink(missing_ok=True)

    def _tell(self, request: Mapping[str, object], patience: float = _ANSWER_SECONDS) -> Any:
        """Send a command that needs a running gate.  Raises Failed."""
        try:
            return self._ask(request, patience)
        except _NotRunning:
            raise Failed(
                "gate-unreachable",
                f"The gate at {self.listen} does not run, so it cannot {request['do']}.",
                where=f"traffic, {self.directory}; its log ends: {self._log_tail()}",
            ) from None

    def _ask(self, request: Mapping[str, object], patience: float = _ANSWER_SECONDS) -> Any:
        """Send one command and return the answer.  Raises _NotRunning, or Failed."""
        try:
            with self._connect(patience) as connection:
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    line = lines.readline()
        except (FileNotFoundError, ConnectionError):
            raise _NotRunning from None
        except OSError as error:
            raise Failed(
                "gate-unreachable",
                f"The gate at {self.listen} does not answer: {error.strerror or error}.",
                where=f"traffic, {self.directory / 'gate.sock'}, command {request['do']}",
            ) from None
        if not line:
            raise _NotRunning
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(
                _CODES.get(answer["error"], "gate-refused"),
                f"The gate at {self.listen} did not {request['do']}: {answer['what']}.",
                where=f"traffic, {self.directory}, {answer['error']}",
            )
        return answer

    def _connect(self, patience: float) -> socket.socket:
        """A connection to the control socket; its path may be longer than the kernel takes."""
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(patience)
            connection.connect(f"/proc/self/fd/{directory}/gate.sock")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(directory)
        return connection

    def _start(self, targets: Mapping[Side, Address]) -> None:
        """Start the process, in a session of its own, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        pid = self._spawn(targets)
        (self.directory / "gate.pid").write_text(f"{pid}\n")
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            ended = _gone(pid, 0.0)
            if self.look() is not None:  # ours, or one that somebody started at the same time
                return
            if ended:
                break
            time.sleep(0.02)
        raise Failed(
            "gate-not-started",
            f"The gate did not come up at {self.listen}.",
            where=f"traffic, {self.directory / 'gate.log'}: {self._log_tail()}",
        )

    def _spawn(self, targets: Mapping[Side, Address]) -> int:
        argv = [sys.executable, "-P", "-m", "crossfade.gateway", "--listen", str(self.listen)]
        argv += ["--socket", str(self._file("gate.sock")), "--state", str(self._file("gate.state"))]
        for side in Side:
            argv += [f"--{side.value}", str(targets[side])]
        argv += as_words(self.tls) if self.tls else []
        log = str(self._file("gate.log"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # posix_spawn rather than subprocess: the gate outlives us, so nobody is to wait for it.
        return os.posix_spawn(
            sys.executable,
            argv,
            {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )

    def _file(self, name: str) -> Path:
        return self.directory.absolute() / name

    def _pid(self) -> int | None:
        """The process of a gate of ours that may still run although it does not answer."""
        with suppress(OSError, ValueError):
            pid = int((self.directory / "gate.pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"crossfade.gateway" in words and os.fsencode(self._file("gate.sock")) in words:
                return pid
        return None

    def _log_tail(self) -> str:
        with suppress(OSError):
            lines = (self.directory / "gate.log").read_text(errors="replace").splitlines()
            return " | ".join(lines[-5:])
        return "(no log)"


def _state(answer: Mapping[str, Any]) -> TrafficState:
    return TrafficState(
        side=Side(answer["side"]),
        held=answer["held"],
        in_flight=answer["in_flight"],
        waiting=answer["waiting"],
        tunnels=answer["tunnels"],
        total=answer["total"],
        failed=answer["failed"],
        served_after_drain=answer["served_after_drain"],
        writes_since_switch=answer["writes_since_switch"],
        lease_left=answer["lease_left"],
        targets={Side(side): Address.parse(text) for side, text in answer["targets"].items()},
        passing=answer.get("passing", 0),
        before_switch=Measured.from_json(answer.get("before_switch")),
        since_switch=Measured.from_json(answer.get("since_switch")),
        metrics=answer.get("metrics"),
        ports=tuple(PortState.from_json(port) for port in answer.get("ports", ())),
        late=tuple(Late(**late) for late in answer.get("late", ())),  # an older gate has none
        late_since=answer.get("late_since", 0.0),
        names=tuple(answer.get("names", ())),
    )


def _gone(pid: int, patience: float) -> bool:
    """Whether the process ends within ``patience`` seconds; reaps it if it is our child."""
    deadline = time.monotonic() + patience
    while True:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if stat.rpartition(")")[2].split()[0] in "ZX":  # ended, its parent has not looked yet
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
