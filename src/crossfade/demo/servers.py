"""The demo's two database servers, one for each side: made here, ended here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossfade.model import Endpoint, Side
from crossfade.ports import Teller
from crossfade.testing.servers import (
    MariadbServer,
    PostgresServer,
    install_packages,
    majors,
    missing_packages,
)
from crossfade.testing.servers._majors import find_major

__all__ = ["Server", "end_servers", "manifest_entry", "start_servers"]

Server = PostgresServer | MariadbServer

_CLASSES: Mapping[str, type[Server]] = {"postgres": PostgresServer, "mariadb": MariadbServer}
_FOLLOWED = {
    "postgres": {"wal_level": "logical"},
    "mariadb": {
        "log_bin": "binlog",
        "binlog_format": "ROW",
        # MLflow's migrations make triggers, for which an account needs this where a log is kept
        "log_bin_trust_function_creators": "1",
    },
}
"""What a server needs so that its changes can be followed: there, and after the switch back."""


def start_servers(kind: str, directory: Path, locale: str, teller: Teller) -> dict[Side, Server]:
    """Start one server for each side, below ``directory``; installs the programs if it can.

    Raises Failed ``packages-missing``, naming them, when they are not there and we may not."""
    if missing := missing_packages([kind]):
        teller.say(f"installing {', '.join(missing)}")
        install_packages([kind])
    found: dict[Side, Server] = {}
    for side in Side:
        teller.say(f"starting a {_words(kind)} server for the {side} side")
        found[side] = _server(kind, directory, side, locale)
        found[side].start()
    return found


def end_servers(directory: Path) -> None:
    """End every server of a demo below ``directory``, also one that another process started."""
    for kind in _CLASSES:
        for side in Side:
            if _place(kind, directory, side).exists():
                _server(kind, directory, side).close()


def manifest_entry(server: Server, endpoint: Endpoint) -> dict[str, Any]:
    """What the manifest says of a database on one of them."""
    scheme = "postgresql" if endpoint.kind == "postgres" else "mysql"
    return {
        "url": f"{scheme}://{endpoint.user}@{endpoint.address}/{endpoint.database}",
        "admin": server.admin,
        "admin_password": f"file:{server.secret_of(server.admin)}",
    }


def _server(kind: str, directory: Path, side: Side, locale: str = "") -> Server:
    place = _place(kind, directory, side)
    settings = _FOLLOWED[kind]
    if kind == "mariadb":
        return MariadbServer(place, settings=settings, durable=True)
    initdb = (f"--locale={locale}",) if locale else ()
    major = _major() if locale else None
    return PostgresServer(place, major, settings=settings, durable=True, initdb=initdb)


def _major() -> int | None:
    """The newest PostgreSQL that has its client programs beside it, as Crossfade needs them."""
    whole = [m for m in majors() if (find_major(m) / "pg_dump").exists()]
    return max(whole, default=None)


def _place(kind: str, directory: Path, side: Side) -> Path:
    return directory / f"{kind}-{side}"


def _words(kind: str) -> str:
    return {"postgres": "PostgreSQL", "mariadb": "MariaDB"}[kind]
