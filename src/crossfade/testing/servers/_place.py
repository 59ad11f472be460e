"""Where a scratch server is: its directory, its unix sockets, its port."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from crossfade.errors import Failed
from crossfade.testing.servers._account import Account, give

__all__ = ["choose_directory", "choose_port", "choose_sockets"]

_PORTS = range(10000, 16000)
"""Neither those of our doors, nor those that ``free_ports`` finds for what a test starts."""
_SOCKET_PATH = 80  # bytes a socket's directory may have; the whole path must stay below 108


def choose_directory(given: Path, account: Account) -> tuple[Path, list[Path]]:
    """The directory that was given, or one in its stead; and what was made elsewhere for it.

    Where the account cannot reach the given one, a link named ``moved`` in it leads to another in
    the temporary directory.  Raises Failed ``directory-in-use`` when it holds something else."""
    given.mkdir(parents=True, exist_ok=True)
    moved = given / "moved"
    if moved.is_symlink() and moved.exists():
        return moved.resolve(), [moved.resolve()]
    if account.reaches(given):
        if any(given.iterdir()) and not (given / "port").exists():
            raise Failed(
                "directory-in-use",
                f"{given} is not empty and no scratch server of ours.",
                where=str(given),
            )
        give(given, account)
        return given, []
    place = _short_directory(account)
    moved.unlink(missing_ok=True)
    moved.symlink_to(place)
    return place, [place]


def choose_sockets(directory: Path, account: Account) -> tuple[Path, list[Path]]:
    """A directory whose path is short enough for a unix socket; and what was made for it."""
    near, kept = directory / "run", directory / "run.elsewhere"
    if len(os.fsencode(near)) <= _SOCKET_PATH:
        return near, []
    if not (kept.is_symlink() and kept.exists()):
        kept.unlink(missing_ok=True)
        kept.symlink_to(_short_directory(account))
    return kept.resolve(), [kept.resolve()]


def choose_port(directory: Path) -> tuple[int, int | None]:
    """The port of this directory's server; with the descriptor that reserves it when it is new."""
    kept = directory / "port"
    if kept.exists():
        return int(kept.read_text(encoding="utf-8")), None
    port, reserved = _reserve_port()
    kept.write_text(str(port), encoding="utf-8")
    return port, reserved


def _short_directory(account: Account) -> Path:
    path = Path(tempfile.mkdtemp(prefix="crossfade-"))
    path.chmod(0o755)
    give(path, account)
    if not account.reaches(path):
        path.rmdir()
        raise Failed(
            "server-does-not-start",
            f"The account {account.name} cannot reach the temporary directory.",
            where=str(path.parent),
        )
    return path


def _reserve_port() -> tuple[int, int]:
    """A free port, and the descriptor of a socket that keeps others like us from taking it.

    A server can bind the port nevertheless: it allows reuse, and so does our socket once bound."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return port, probe.detach()
    raise Failed("server-does-not-start", "No free port was found on 127.0.0.1.")
