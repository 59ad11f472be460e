"""Speaking with the holder: start its process, open its doors, end it.  Found again by its file."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossfade.drivers import procfs
from crossfade.drivers.services.holder import Plan, reach, socket_of
from crossfade.errors import Failed

__all__ = ["Holding"]

_ANSWER_SECONDS = 5.0
_START_SECONDS = 20.0
_END_SECONDS = 5.0
# What the holder needs of our environment.  The rest may hold secrets, and it outlives us.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_children: list[subprocess.Popen[bytes]] = []


class Holding:
    """The holder whose FILE is ``file``; it writes its log beside it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._log = file.with_suffix(".log")

    def begin(self, plan: Plan) -> None:
        """Start it and wait until its doors are there.  Raises Failed."""
        self.end()
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            json.dump(asdict(plan), file)
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            child = subprocess.Popen(
                (
                    sys.executable,
                    *("-P", "-m", "crossfade.drivers.services.holder"),
                    str(self.file.absolute()),
                ),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
        finally:
            os.close(descriptor)
        _children[:] = [*(one for one in _children if one.poll() is None), child]
        until = time.monotonic() + _START_SECONDS
        while child.poll() is None and time.monotonic() < until:
            if self.doors() is not None:
                return
            time.sleep(0.01)
        tail = self._log.read_text(errors="replace").splitlines()[-5:]
        self.end()
        raise Failed(
            "holder-not-started", "The holder did not come up.", where="\n".join(tail)[:500]
        )

    def doors(self) -> dict[str, dict[str, Any]] | None:
        """Every door's status by name; None when no holder answers."""
        return self._ask({"do": "status"})

    def open(self, door: str) -> dict[str, dict[str, Any]] | None:
        """Open a door; every door's status, or None when no holder answers."""
        return self._ask({"do": "open", "door": door})

    def give_up(self, door: str) -> None:
        """Close a door that is not open for good."""
        self._ask({"do": "give-up", "door": door})

    def end(self) -> None:
        """End it, whoever started it.  Fine when there is none."""
        with suppress(OSError), self._connect() as connection:
            size = struct.calcsize("3i")
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid: int = struct.unpack("3i", peer)[0]
            began = procfs.start_time(pid)
            with suppress(OSError):
                connection.sendall(b'{"do": "stop"}\n')
            until = time.monotonic() + _END_SECONDS
            while began and procfs.start_time(pid) == began:
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.005)
        for path in (self.file, socket_of(self.file)):
            path.unlink(missing_ok=True)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_ANSWER_SECONDS)
            with reach(socket_of(self.file)) as short:
                connection.connect(short)
        except OSError:
            connection.close()
            raise
        return connection

    def _ask(self, request: Mapping[str, str]) -> dict[str, dict[str, Any]] | None:
        try:
            with self._connect() as connection:
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    answer = json.loads(lines.readline() or b"{}")
        except (OSError, ValueError):
            return None
        doors: dict[str, dict[str, Any]] | None = answer.get("doors")
        return doors
