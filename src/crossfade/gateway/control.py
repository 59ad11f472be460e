"""The control socket: one JSON object a line in, one out.

``{"do": "status"}`` and so on; an answer is an object with ``"ok": true``, or
``{"error": code, "what": sentence}``.  The socket's mode is 0600: who can open it is allowed.
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

from crossfade.gateway.keeper import PACE, CommandError, Keeper
from crossfade.model import Address, Side

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


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"not a number above zero: {value!r}")
    return value
