"""The drivers of zones against BIND, Knot DNS and PowerDNS, with another server that follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.nameservers import (
    ZONE,
    Bind,
    Knot,
    PowerDns,
    Server,
    loopback,
    running,
    zone_text,
)

from crossfade.drivers import driver
from crossfade.errors import Failed
from crossfade.ports import Zone
from crossfade.testing.free_ports import free_port
from crossfade.testing.zones import ADDRESS, SEVERAL, ZoneContract, ZoneSite


def plain(text: str) -> str:
    """Secrets in these tests are no references."""
    return text


@dataclass
class Pair:
    """A primary and a secondary, with the driver under test."""

    name: str
    primary: Server
    options: dict[str, Any]
    scratch: Path

    def __post_init__(self) -> None:
        self.zone: Zone = driver("dns", self.name)(ZONE, self.options, plain)
        self.secret = self.primary.key

    def keyless(self) -> Zone:
        """With another key."""
        wrong = Bind(self.scratch, "", 0).key  # of the same form
        made: Zone = driver("dns", self.name)(ZONE, self._with(self.options, wrong), plain)
        return made

    def _with(self, options: dict[str, Any], key: str) -> dict[str, Any]:
        changed = dict(options)
        if "key" in options:
            changed["key"] = {**options["key"], "secret": key}
        elif "api_key" in options:
            changed["api_key"] = key
        else:
            changed["options"] = {**options["options"], "auth_token": key}
        return changed

    def closed(self) -> Zone:
        """The same server, started again without the right to change."""
        self.primary.stop()
        self.primary.open = False
        self.primary.start()
        return self.zone

    def stop(self) -> None:
        """End the primary."""
        self.primary.stop()


def servers(tmp_path: Path, primary: type[Server], follower: type[Server]) -> tuple[Server, Server]:
    """A primary and who follows it, not started."""
    hosts = loopback(primary, follower)
    port = free_port(hosts)
    first = primary(tmp_path / "one", hosts[0], port, text=zone_text(hosts), followers=[hosts[1]])
    return first, follower(tmp_path / "two", hosts[1], port, primary=hosts[0])


class _Rfc2136(ZoneContract):
    primary: type[Server]
    follower: type[Server]

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[ZoneSite]:
        """The primary takes updates, and the secondary follows."""
        one, two = servers(tmp_path, self.primary, self.follower)
        options = {
            "server": one.host,
            "port": one.port,
            "key": {"name": "cf", "algorithm": "hmac-sha256", "secret": one.key},
        }
        with running(one, two):
            yield Pair("rfc2136", one, options, tmp_path)

    def test_key_of_another_name(self, site: Pair) -> None:
        """A key that the server does not know is refused as a key."""
        site.options["key"]["name"] = "nobody"
        self.test_wrong_key(site)

    def test_several_values(self, site: ZoneSite) -> None:
        """Several values are compared and replaced as a whole."""
        new = SEVERAL.of(SEVERAL.name, "A", ["192.0.2.20", "192.0.2.21"], 60)
        site.zone.replace(SEVERAL, new)
        assert site.zone.get(new.name, "A") == new


class TestBind(_Rfc2136):
    """BIND takes the updates, Knot DNS follows."""

    primary, follower = Bind, Knot


class TestKnot(_Rfc2136):
    """Knot DNS takes the updates, BIND follows."""

    primary, follower = Knot, Bind
    closed_code = "dns-key-refused"  # it does not tell a key without rights from an unknown one


class _OnPowerDns(ZoneContract):
    def options(self, one: PowerDns) -> dict[str, Any]:
        """Those of the driver under test."""
        raise NotImplementedError

    name: str

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[ZoneSite]:
        """The primary has the API, and BIND follows."""
        one, two = servers(tmp_path, PowerDns, Bind)
        assert isinstance(one, PowerDns)
        options = {"servers": [one.host], "port": one.port, **self.options(one)}
        with running(one, two):
            yield Pair(self.name, one, options, tmp_path)


class TestPowerDns(_OnPowerDns):
    """The driver for PowerDNS's API."""

    name = "powerdns"

    def options(self, one: PowerDns) -> dict[str, Any]:
        """See above."""
        return {"api": one.api, "api_key": one.key}

    def test_secondary(self, site: Pair) -> None:
        """The API lets a secondary's zone be changed, and the next transfer would undo it."""
        assert isinstance(site.primary, PowerDns)
        path = f"/api/v1/servers/localhost/zones/{ZONE}."
        site.primary.ask("PUT", path, {"kind": "Slave", "masters": ["192.0.2.1"]})
        new = SEVERAL.of(ADDRESS.name, "A", ["192.0.2.20"], 60)
        with pytest.raises(Failed) as caught:
            site.zone.replace(ADDRESS, new)
        assert caught.value.code == "dns-read-only"
        assert site.zone.get(ADDRESS.name, "A") == ADDRESS


class TestLexicon(_OnPowerDns):
    """dns-lexicon, with its provider for PowerDNS."""

    name = "lexicon"

    def options(self, one: PowerDns) -> dict[str, Any]:
        """See above."""
        return {
            "provider": "powerdns",
            "options": {"pdns_server": one.api, "auth_token": one.key},
        }
