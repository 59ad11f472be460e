"""The tests' engine, with an image for these tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docker.site import Site
from tests.testbed.engine import Engine

IMAGE = "crossfade-tests:1"


@pytest.fixture(scope="module")
def site(engine: Engine) -> Iterator[Site]:
    """An engine, with the removal of what is made there.  Its image is Debian with Python, also at
    the path of the Python that runs the tests."""
    python = Path(sys.executable)
    recipe = (
        f"FROM {engine.machine_image()}\n"
        f"RUN mkdir -p {python.parent} && ln -sf /usr/bin/python3 {python}\n"
        'CMD ["sleep", "infinity"]\n'
    )
    engine.docker("build", "--quiet", "--tag", IMAGE, "-", stdin=recipe.encode())
    found = Site(str(engine.socket), IMAGE)
    yield found
    found.end()
