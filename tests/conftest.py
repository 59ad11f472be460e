"""Fixtures for every test."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.testbed import WHOLE
from tests.testbed.engine import Engine, running_engine
from tests.testbed.far import FarSite, far_site_at
from tests.testbed.machines import Machine, machine
from tests.testbed.servers import KINDS, close_shared
from tests.testbed.site import Site, site_at

# Every day the same examples, so that a red run can be run again; new ones in make test-whole.
# How long making them takes says nothing, on a machine with other work.
settings.register_profile(
    "crossfade",
    derandomize=not WHOLE,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("crossfade")

# A run that a shell started in the background has Ctrl-C ignored, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs only when time does not matter."""
    if not WHOLE:
        left_out = [item for item in items if _takes_too_long(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _takes_too_long(item: pytest.Item) -> bool:
    """Whether it is ``whole``, or ``one_kind`` with the kind of server that is not its turn."""
    if item.get_closest_marker("whole"):
        return True
    if not item.get_closest_marker("one_kind") or not isinstance(item, pytest.Function):
        return False
    turn = KINDS[zlib.crc32(item.originalname.encode()) % len(KINDS)]
    return hasattr(item, "callspec") and item.callspec.params.get("kind", turn) != turn


@pytest.fixture(autouse=True)
def same_directory() -> Iterator[None]:
    """A test that leaves the process in another directory fails, not the one that comes next."""
    before = Path.cwd()
    yield
    after = Path.cwd()
    os.chdir(before)
    assert after == before


@pytest.fixture(scope="session", autouse=True)
def shared_servers() -> Iterator[None]:
    """Ends the database servers that the sites of a test process share."""
    yield
    close_shared()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine of the tests' own."""
    with running_engine() as running:
        yield running


@pytest.fixture(scope="session")
def machines(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Machine, Machine]]:
    """Two booted machines, for one test after another."""
    place = tmp_path_factory.mktemp("machines")
    with machine(engine, place) as one, machine(engine, place) as two:
        yield one, two


@pytest.fixture
def make_far_site(tmp_path: Path) -> Iterator[Callable[..., FarSite]]:
    """Makes started sites whose sides are on machines; they are closed in the end."""
    with ExitStack() as stack:
        count = iter(range(100))

        def make(old: Machine | None, new: Machine | None, **given: Any) -> FarSite:
            place = tmp_path / f"far{next(count)}"
            return stack.enter_context(far_site_at(place, old, new, **given))

        yield make


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes started sites of the Notes application; they are closed in the end."""
    with ExitStack() as stack:
        count = iter(range(100))

        def make(**given: Any) -> Site:
            return stack.enter_context(site_at(tmp_path / f"site{next(count)}", **given))

        yield make
