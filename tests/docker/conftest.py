"""The engine for these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.docker.site import Site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """An engine, with the removal of what is made there."""
    found = Site("/tmp/dk/docker.sock", "crossfade-tests:1")
    yield found
    found.end()
