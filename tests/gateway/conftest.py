"""Fixtures for the tests of the gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.scratch import App, GateProcess, gate_with_apps

Trio = tuple[GateProcess, App, App]


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """A fresh gate with an old and a new application behind it."""
    with gate_with_apps(tmp_path, "patience_seconds=10") as trio:
        yield trio


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """The same for all tests of a module that leave the gate as it is."""
    with gate_with_apps(tmp_path_factory.mktemp("gate"), "linger_seconds=1") as trio:
        yield trio
