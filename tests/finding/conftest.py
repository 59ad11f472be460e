"""Fixtures: a pristine Tomcat, machines apart, and the layout of a whole server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.finding.apart import Apart, apart
from tests.finding.openboxes import Layout, laid_out
from tests.finding.tomcat import assembled


@pytest.fixture(scope="session")
def tomcat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pristine Tomcat."""
    return assembled(tmp_path_factory.mktemp("tomcat") / "fetched")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Apart]:
    """A machine apart."""
    with apart(tmp_path / "apart") as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tomcat: Path) -> Iterator[Layout]:
    """A server with everything customised, which no test changes."""
    with apart(tmp_path_factory.mktemp("server")) as made, laid_out(made, tomcat) as layout:
        yield layout
