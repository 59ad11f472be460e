"""The built-in gate keeps the contract of traffic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.gateway.scratch import GateProcess

from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.model import Address, Side
from crossfade.testing.traffic import Front, TrafficContract


class _Front(GateProcess):
    """A gate process as the contract wants it."""

    def start(self) -> None:
        """Again with the addresses that it was told last, not those of its first start."""
        if (self.directory / "gate.state").exists():
            self._more = []
        super().start()

    @property
    def traffic(self) -> GatewayTraffic:
        """The driver."""
        return self.driver

    def another(self) -> GatewayTraffic:
        """The same gate, by a driver that knows nothing."""
        return GatewayTraffic(self.listen, self.directory)


class TestGateway(TrafficContract):
    """The built-in gate."""

    @contextmanager
    def front(self, directory: Path, targets: Mapping[Side, Address]) -> Iterator[Front]:
        """A gate in the foreground."""
        made = _Front(directory, targets[Side.OLD], targets[Side.NEW])
        try:
            yield made
        finally:
            made.close()
