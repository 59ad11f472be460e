"""The control socket: one JSON object a line in, one out.

``{"do": "status"}`` and so on; an answer is an object with ``"ok": true``, or
``{"error": code, "what": sentence}``.  A line that begins with GET is the counters' reader, and is
answered in HTTP.  The socket's mode is 0600: who can open it is allowed.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from crossfade.gateway.keeper import CommandError, Keeper
from crossfade.gateway.metrics import answer_http, text
from crossfade.model import Address, Side
from crossfade.ports import PACE, RelayedPort

__all__ = ["Control", "bind_socket"]

_LINE_BYTES = 65_536


def bind_socket(path: Path) -> socket.socket:
    """A unix socket at ``path``, never for a moment open to others.  Raises OSError.

    A path longer than the kernel takes is reached through the directory's descriptor.  A socket
    that a killed gate left is replaced; one where somebody answers is not.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    short = f"/proc/self/fd/{directory}/{path.name}"
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileExistsError(17, f"{path} is there and is not a socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(short) == 0:
                    raise FileExistsError(17, f"somebody answers at {path}")
            path.unlink()
        before = os.umask(0o177)
        try:
            server.bind(short)
        finally:
            os.umask(before)
        server.setblocking(False)
    except OSError:
        server.close()
        raise
    finally:
        os.close(directory)
    return server


class Control:
    """Carries commands to the keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the commands of one connection until it ends."""
        with suppress(ConnectionError):
            while True:
                try:
                    line = await reader.readuntil(b"\n")
                except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    break
                if line.startswith((b"GET ", b"HEAD ")):  # curl --unix-socket, a scraper
                    await answer_http(self._keeper.gate, line, reader, writer)
                    return
                writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def answer(self, line: bytes) -> dict[str, object]:
        """Carry out one command; its answer, or the error."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("a command is a JSON object")
            return {"ok": True, **await self._do(request)}
        except CommandError as error:
            return {"error": error.code, "what": error.what, **error.numbers}
        except (ValueError, KeyError, TypeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            return {"error": "bad-command", "what": f"the command is not understood: {what}"}

    async def _do(self, request: Mapping[str, object]) -> dict[str, object]:
        keeper = self._keeper
        match request["do"]:
            case "status":
                pass
            case "targets":
                await keeper.aim({side: Address.parse(str(request[side.value])) for side in Side})
            case "hold":
                await keeper.hold(
                    _seconds(request["lease"]),
                    _seconds(request["at_most"]),
                    Side(str(request["commit_to"])),
                    _absolute(request["commit_token"]),
                    reads=request.get("reads", False) is True,
                )
            case "renew":
                await keeper.renew(_seconds(request["lease"]))
            case "drain":
                await keeper.drain(_seconds(request["timeout"]))
            case "switch":
                await keeper.switch(Side(str(request["side"])))
            case "release":
                await keeper.release(_count(request.get("pace", PACE)))
            case "record":
                path = request["path"]
                await keeper.record(None if path is None else _absolute(path))
            case "expect":
                keeper.gate.expect(_token(request["token"]))
            case "farewell":
                keeper.gate.farewell = bool(request["on"])
            case "count-late":
                since = request["since"]
                names = request.get("names", [])
                if not isinstance(names, list):
                    raise ValueError(f"not a list of names: {names!r}")
                await keeper.count_late(
                    0.0 if since is None else _seconds(since), [str(name) for name in names]
                )
            case "metrics":
                return {"text": text(keeper.gate)}
            case "metrics-at":
                at = request["at"]
                await keeper.serve_metrics(None if at is None else Address.parse(str(at)))
            case "ports":
                await keeper.relay(_ports(request["ports"]))
            case "stop":
                keeper.stopping.set()
            case unknown:
                raise ValueError(f"there is no command {unknown!r}")
        return {**keeper.status(), "pid": os.getpid()}


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"not a number of seconds: {value!r}")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"not a number of seconds above zero: {value!r}")
    return float(value)


def _absolute(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"not an absolute path: {value!r}")
    return value


def _token(value: object) -> bytes:
    if not isinstance(value, str) or not value.isascii() or not value.isalnum():
        raise ValueError("a token is letters and digits")
    return value.encode()


def _ports(value: object) -> list[RelayedPort]:
    if not isinstance(value, list) or not all(isinstance(port, dict) for port in value):
        raise ValueError(f"not a list of ports: {value!r}")
    ports = [RelayedPort.from_json(port) for port in value]
    if len({port.listen for port in ports}) < len(ports):
        raise ValueError("an address is named twice")
    return ports


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"not a number above zero: {value!r}")
    return value
