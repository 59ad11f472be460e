"""Servers, holders and programs for the tests of held starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crossfade.drivers import procfs
from crossfade.drivers.services.holder import Plan
from crossfade.drivers.services.holding import Holding
from crossfade.drivers.services.process import ProcessService
from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.testing.free_ports import free_ports
from crossfade.testing.servers import MariadbServer, PostgresServer


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server that logs every connection, with the database ``app``."""
    settings = {"log_connections": "on", "max_connections": "260"}
    directory = tmp_path_factory.mktemp("postgres")
    with PostgresServer(directory, settings=settings) as server:
        server.create("app", user="app")
        yield server


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """A MariaDB server with the database ``app``."""
    with MariadbServer(tmp_path_factory.mktemp("mariadb")) as server:
        server.create("app", user="app")
        yield server


Hold = Callable[..., tuple[Holding, dict[str, int]]]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Starts holders: targets by door name in, the holder and the doors' ports out."""
    made: list[Holding] = []

    def begin(targets: dict[str, str], **given: Any) -> tuple[Holding, dict[str, int]]:
        ports = dict(zip(targets, free_ports(len(targets)), strict=True))
        doors = {name: (f"127.0.0.1:{ports[name]}", to) for name, to in targets.items()}
        values = {
            "mark": ("CROSSFADE_SERVICE", f"test-{os.getpid()}-{tmp_path.name}"),
            "tokens": ("test-token",),
            "starter": (os.getpid(), procfs.start_time(os.getpid())),
            "at_most": 60.0,
            "linger": 60.0,
            **given,
        }
        holding = Holding(tmp_path / f"holder-{len(made)}.json")
        holding.begin(Plan(doors, **values))
        made.append(holding)
        return holding, ports

    yield begin
    for holding in made:
        holding.end()


Make = Callable[..., ProcessService]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Make]:
    """Makes services of Python programs that come to doors; all are stopped in the end."""
    made: list[ProcessService] = []

    def service(text: str, **given: Any) -> ProcessService:
        spec = {
            "mark": f"test-{os.getpid()}-{tmp_path.name}-{len(made)}",
            "command": (sys.executable, "-c", text),
            "directory": str(tmp_path),
            "log": str(tmp_path / f"log-{len(made)}"),
            "environment": {},
            "ready_within": 20.0,
            **given,
        }
        made.append(ProcessService(ProcessSpec(**spec), tmp_path / "run"))
        return made[-1]

    yield service
    for one in made:
        one.stop(0.2)
