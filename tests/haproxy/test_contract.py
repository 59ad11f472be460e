"""HAProxy keeps the contract of traffic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.haproxy.scratch import Proxy

from crossfade.model import Address, Side
from crossfade.testing.traffic import Front, TrafficContract


class TestHaproxy(TrafficContract):
    """HAProxy, as a site has it, with Crossfade's part put in."""

    @contextmanager
    def front(self, directory: Path, targets: Mapping[Side, Address]) -> Iterator[Front]:
        """A HAProxy in front of the old side."""
        made = Proxy(directory, targets[Side.OLD])
        try:
            made.fit(targets)
            yield made
        finally:
            made.close()
