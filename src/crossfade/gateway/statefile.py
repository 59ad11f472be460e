"""The state file: what the gate knows survives it.

Written atomically (temporary name, fsync, rename, fsync of the directory) by one thread, in order,
so that a slow disk delays an acknowledgement but never a request.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from crossfade.gateway.pause import Counters, GateState, Hold
from crossfade.model import Address, Side
from crossfade.ports import RelayedPort

__all__ = ["StateError", "StateFile"]

_VERSION = 1


class StateError(Exception):
    """The state cannot be used: one sentence."""


class StateFile:
    """The file at ``path``, and the right to write it: one gate at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")

    def claim(self) -> None:
        """Take the lock that makes this process the only user.  Raises StateError."""
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"another gate already uses the state file {self._path}") from None
        except OSError as error:
            raise StateError(f"the state lock {lock} cannot be had: {error.strerror}") from None

    def load(self) -> tuple[GateState, Counters] | None:
        """What was saved; None when nothing ever was.  Raises StateError rather than guess."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(
                f"the state file {self._path} cannot be read: {error.strerror}"
            ) from None
        try:
            return _from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"the state file {self._path} is damaged ({type(error).__name__}: {error}); the "
                "gate does not guess which side serves, so put it right or remove it"
            ) from None

    async def save(self, state: GateState, counters: Counters) -> None:
        """Make it durable.  Raises OSError when the disk refuses."""
        text = json.dumps(_as_json(state, counters), indent=1).encode()
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write, text)

    def save_now(self, state: GateState, counters: Counters) -> None:
        """The same, waiting for it: for the start and the end of the process."""
        self._write(json.dumps(_as_json(state, counters), indent=1).encode())

    def close(self) -> None:
        """Let the lock go."""
        self._writer.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self, text: bytes) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        with suppress(FileNotFoundError):
            temporary.unlink()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _as_json(state: GateState, counters: Counters) -> dict[str, object]:
    hold = state.hold
    return {
        "version": _VERSION,
        "side": state.side.value,
        "targets": {side.value: str(address) for side, address in state.targets.items()},
        "epoch": state.epoch,
        "drained": state.drained.value if state.drained else None,
        "record": state.record,
        "ports": [port.as_json() for port in state.ports],
        "hold": None
        if hold is None
        else {
            "lease": hold.lease,
            "lease_until": hold.lease_until,
            "cap": hold.cap,
            "cap_until": hold.cap_until,
            "commit_to": hold.commit_to.value,
            "commit_token": hold.commit_token,
            "drained": hold.drained,
            "reads": hold.reads,
        },
        "counters": counters.as_json(),
    }


def _from_json(data: Mapping[str, Any]) -> tuple[GateState, Counters]:
    if data["version"] != _VERSION:
        raise ValueError(f"written by another version of the gate: {data['version']!r}")
    hold = data["hold"]
    state = GateState(
        side=Side(data["side"]),
        targets={Side(side): Address.parse(text) for side, text in data["targets"].items()},
        epoch=_whole(data["epoch"]),
        hold=None if hold is None else _hold(hold),
        drained=None if data["drained"] is None else Side(data["drained"]),
        record=None if data["record"] is None else str(data["record"]),
        # an older gate has not written them
        ports=tuple(RelayedPort.from_json(port) for port in data.get("ports", ())),
    )
    names = Counters().as_json()
    return state, Counters(**{name: _whole(data["counters"][name]) for name in names})


def _hold(data: Mapping[str, Any]) -> Hold:
    return Hold(
        lease=float(data["lease"]),
        lease_until=float(data["lease_until"]),
        cap=float(data["cap"]),
        cap_until=float(data["cap_until"]),
        commit_to=Side(data["commit_to"]),
        commit_token=str(data["commit_token"]),
        drained=bool(data["drained"]),
        reads=bool(data.get("reads", False)),  # an older gate has not written it
    )


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"not a count: {value!r}")
    return value
