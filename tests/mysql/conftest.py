"""Two MariaDB servers that the tests of a process share, each test with databases of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.model import Endpoint
from crossfade.testing.servers import MariadbServer

SETTINGS = {
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "max_allowed_packet": "64M",
    "innodb_buffer_pool_size": "128M",
}
_NUMBERS = count(1)


@pytest.fixture(scope="session")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """The old side's server, which logs rows."""
    with MariadbServer(tmp_path_factory.mktemp("old"), settings=SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """The new side's server."""
    with MariadbServer(tmp_path_factory.mktemp("new"), settings=SETTINGS) as server:
        yield server


@pytest.fixture
def make_old(old_server: MariadbServer) -> Callable[[], MysqlDatabase]:
    """Makes empty databases on the old server, with their application's account."""

    def make() -> MysqlDatabase:
        name = f"Ünter `{next(_NUMBERS)}_%'s"
        return MysqlDatabase("main", old_server.create(name, user="app"))

    return make


@pytest.fixture
def pair(
    make_old: Callable[[], MysqlDatabase], new_server: MariadbServer
) -> Iterator[tuple[MysqlDatabase, MysqlDatabase]]:
    """An empty old database and a place for the new one, which does not stand yet."""
    old = make_old()
    new = MysqlDatabase("main", place_for(old, new_server, old.where.database))
    yield old, new
    held = old.held
    if held:
        held.close()
    new.remove()


def place_for(old: MysqlDatabase, server: MariadbServer, name: str) -> Endpoint:
    """A place on another server, where the application's account comes with the old password."""
    reference = old.where.password.removeprefix("file:")
    password = f"file:{old.where.base / reference}"
    return replace(server.endpoint(name, user="app"), password=password)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An attempt's own directory."""
    made = tmp_path / "upgrades" / "cutover-1"
    made.mkdir(parents=True)
    return made
