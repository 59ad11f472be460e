"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.servers import close_shared
from tests.testbed.site import Site, site_at


@pytest.fixture(scope="session", autouse=True)
def shared_servers() -> Iterator[None]:
    """Ends the database servers that the sites of a test process share."""
    yield
    close_shared()


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes started sites of the Notes application; they are closed in the end."""
    with ExitStack() as stack:
        count = iter(range(100))

        def make(**given: Any) -> Site:
            return stack.enter_context(site_at(tmp_path / f"site{next(count)}", **given))

        yield make
