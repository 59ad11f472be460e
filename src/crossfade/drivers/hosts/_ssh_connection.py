"""One connection of the ssh program to a host, which many commands share.

The first use logs in: ``ssh -N`` stays behind as the master of the connection, with its socket in
a private directory.  Commands are further ssh processes that only talk to that socket; they read
no configuration, and do not try to connect by themselves when the master is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossfade.drivers.hosts import _ssh_trouble as trouble
from crossfade.drivers.hosts.telling import Teller
from crossfade.errors import Failed

__all__ = ["Connection", "Way"]

_PREFIX: Final = "crossfade-ssh-"
_PERSIST: Final = 120
_LONGEST_PLACE: Final = 50
_ANSWER: Final = 10.0
_SLOW: Final = "timed out during banner exchange"
"""The host is there and takes connections, but is too busy to greet: asked once more."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a host is reached.

    destination is what one would type after ``ssh``; config is an ssh configuration in place of
    the operator's own.  connect_timeout, and alive_interval (how often a silent host is asked
    whether it is there, alive_count times) are whole seconds."""

    destination: str
    config: Path | None = None
    connect_timeout: int = 10
    alive_interval: int = 5
    alive_count: int = 3

    @property
    def silence(self) -> float:
        """After how many seconds a link that is cut is noticed at the latest."""
        return float(self.alive_interval * self.alive_count + self.connect_timeout)

    def chosen(self) -> tuple[str, ...]:
        """The words that choose the configuration."""
        return () if self.config is None else ("-F", str(self.config))


class Connection:
    """The connection to one host; made when it is first needed, and again after it was lost.

    Threads may share it."""

    def __init__(self, way: Way, teller: Teller) -> None:
        self.way = way
        self.was_up = False
        self.give_up_at = float("inf")
        self._teller = teller
        self._lock = threading.Lock()
        self._place: _Place | None = None
        self._socket: Path | None = None
        self._count = 0

    def up(self) -> Path:
        """The socket of the connection, which is made if there is none.

        Raises Failed: ssh-missing, ssh-config-invalid, host-unknown, host-unreachable,
        host-key-unknown, host-key-changed, host-login-refused."""
        with self._lock:
            if self._socket is None:
                self._socket = self._connected()
                self.was_up = True
            return self._socket

    def command(self, socket: Path, order: str) -> tuple[str, ...]:
        """The command that runs ``order`` over the connection; it ends with 255 when it cannot."""
        return (*_client(socket), "-T", "--", self.way.destination, order)

    def alone(self, order: str) -> tuple[str, ...]:
        """The command that runs ``order`` over a connection of its own, asking nobody anything."""
        options = (
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "ControlMaster=no",
            "ControlPath=none",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            "RequestTTY=no",
            f"ConnectTimeout={self.way.connect_timeout}",
            f"ServerAliveInterval={self.way.alive_interval}",
            f"ServerAliveCountMax={self.way.alive_count}",
        )
        words = [word for option in options for word in ("-o", option)]
        return ("ssh", *self.way.chosen(), *words, "-n", "-T", "--", self.way.destination, order)

    def alive(self, socket: Path) -> bool:
        """Whether the master answers.  It may not know yet that the link is cut."""
        return self._tell(socket, "check")

    def drop(self, socket: Path) -> None:
        """Forget this connection, and end it if it still stands."""
        with self._lock:
            if self._socket == socket:
                self._socket = None
        self._tell(socket, "exit")

    def close(self) -> None:
        """End the connection and remove its directory.  Fine when there is none."""
        with self._lock:
            socket, self._socket = self._socket, None
            place, self._place = self._place, None
        if socket is not None:
            self._tell(socket, "exit")
        if place is not None:
            place.close()

    def _tell(self, socket: Path, what: str) -> bool:
        return _told(socket, what, self.way.destination)

    def _connected(self) -> Path:
        """Log in; the socket of the master that stays behind."""
        if self._place is None:
            self._place = _Place()
            weakref.finalize(self, _end, self._place, self.way.destination)
        self._count += 1
        socket, log = self._place.path / str(self._count), self._place.path / "log"
        argv = (*self._login(socket), "--", self.way.destination)
        limit = 3.0 * self.way.connect_timeout
        try:
            status = _ended(argv, log, limit)
            if status and _SLOW in log.read_text(encoding="utf-8", errors="replace"):
                status = _ended(argv, log, limit)
        except FileNotFoundError as error:
            what = "There is no program ssh on this machine."
            raise Failed("ssh-missing", what, where="ssh") from error
        ask = ("ssh", *self.way.chosen(), "-o", "StrictHostKeyChecking=ask")
        ask = (*ask, self.way.destination, "exit")
        host = self._teller.masked(self.way.destination)
        if status is None:
            raise trouble.silent(host, limit, ask)
        if status != 0:
            said = self._teller.masked(log.read_text(encoding="utf-8", errors="replace"))
            raise trouble.explained(said, host, ask)
        return socket

    def _login(self, socket: Path) -> tuple[str, ...]:
        """The command that becomes the master, without the destination.  What is set here goes
        before the operator's configuration."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "ConnectTimeout": str(self.way.connect_timeout),
            "ConnectionAttempts": "1",
            "ServerAliveInterval": str(self.way.alive_interval),
            "ServerAliveCountMax": str(self.way.alive_count),
            "ControlMaster": "yes",
            "ControlPath": _escaped(socket),
            "ControlPersist": str(_PERSIST),
            "ClearAllForwardings": "yes",
            "ForwardX11": "no",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "LogLevel": "DEBUG1",  # which has the fingerprint of a key that is not known
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ("ssh", *self.way.chosen(), *words, "-N")


class _Place:
    """A private directory with a short name, which is locked while its owner lives."""

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        if len(os.fsencode(base)) > _LONGEST_PLACE:  # a socket's path has at most 107 bytes
            base = Path("/tmp")  # noqa: S108 (the directory made in it is private)
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove it; fine when it is gone."""
        shutil.rmtree(self.path, ignore_errors=True)
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)


def _sweep(base: Path) -> None:
    """Remove the directories of those who died before they could."""
    for path in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < 2 * _PERSIST:
                continue
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)


def _end(place: _Place, destination: str) -> None:
    """What ``close`` would do, when nobody called it."""
    if place.path.exists():
        for socket in place.path.iterdir():
            if socket.is_socket():
                _told(socket, "exit", destination)
    place.close()


def _told(socket: Path, what: str, destination: str) -> bool:
    """Ask a master for something (check, exit); whether it did that."""
    try:
        done = subprocess.run(
            (*_client(socket), "-O", what, "--", destination),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _escaped(socket: Path) -> str:
    return str(socket).replace("%", "%%")


def _client(socket: Path) -> tuple[str, ...]:
    """ssh as one that only talks to a master."""
    options = ("BatchMode=yes", "LogLevel=QUIET", "ControlMaster=no", "ProxyCommand=false")
    words = [word for option in options for word in ("-o", option)]
    return ("ssh", "-F", "/dev/null", *words, "-S", _escaped(socket))


def _ended(argv: Sequence[str], log: Path, limit: float) -> int | None:
    """The status of a command whose errors go to a file; None when it had to be killed.

    It has no terminal, so nobody is asked for a password."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            env=os.environ | {"SSH_ASKPASS_REQUIRE": "never"},
        )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
