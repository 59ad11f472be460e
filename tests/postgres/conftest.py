"""Servers that the tests of copies share: one of each major that this machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from crossfade.testing.servers import PostgresServer


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PostgresServer]]:
    """``server_of(15)`` is a running server; ``server_of(15, "new")`` another one."""
    running: dict[tuple[int, str], PostgresServer] = {}
    place = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:

        def give(major: int, name: str = "") -> PostgresServer:
            if (major, name) not in running:
                server = PostgresServer(place / f"{major}{name}", major)
                running[major, name] = stack.enter_context(server)
            return running[major, name]

        yield give
