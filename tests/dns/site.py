"""A site of the Notes application whose names are in a real zone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.nameservers import ZONE, Bind, Knot, PowerDns, Server, loopback
from tests.testbed.nameservers import zone_text as text_of
from tests.testbed.site import Result, Site, eventually, site_at

from crossfade.drivers.dns.authority import ask_record
from crossfade.model import Address
from crossfade.ports import DnsRecord
from crossfade.testing.free_ports import free_port

__all__ = ["NAMES", "Named", "explained", "named_site", "zone_servers"]

NAMES = [
    {"name": f"www.{ZONE}", "old": "192.0.2.10", "new": "192.0.2.20"},
    {"name": f"www.{ZONE}", "type": "AAAA", "old": "2001:db8::10", "new": "2001:db8::20"},
    {"name": f"app.{ZONE}", "type": "CNAME", "old": f"old.{ZONE}", "new": f"new.{ZONE}"},
]


def explained(result: Result, code: str, exit_code: int) -> str:
    """The error names its code, and has its four sentences, which are returned."""
    assert (result.code, f"error: {code}" in result.err) == (exit_code, True), result.err
    for sentence in ("  × ", "  now:  ", "  next: "):
        assert sentence in result.err, result.err
    return result.err.partition("error: ")[2]


@dataclass
class Named:
    """The site, its name servers (the first one takes the changes), and what the manifest says."""

    site: Site
    servers: list[Server]
    dns: dict[str, Any]

    def __post_init__(self) -> None:
        (self.site.directory / "key").write_text(f"{self.servers[0].key}\n", encoding="ascii")
        self.write()

    def write(self, **changed: Any) -> None:
        """Write the manifest, with some of ``traffic.dns`` changed."""
        self.dns |= changed
        self.site.write_manifest()
        text = self.site.manifest.read_text(encoding="utf-8")
        listen = f"traffic: {{listen: '{self.site.gate}'}}"
        assert listen in text
        told = f"traffic: {{listen: '{self.site.gate}', dns: {json.dumps(self.dns)}}}"
        self.site.manifest.write_text(text.replace(listen, told), encoding="utf-8")

    def says(self, server: int, name: str = "www", kind: str = "A") -> DnsRecord | None:
        """What one of the servers says of a name of the zone."""
        at = self.servers[server]
        return ask_record(Address(at.host, at.port), f"{name}.{ZONE}", kind)

    def all_say(self, *values: str) -> None:
        """Every server has these values for the three names, or those of ``old`` or ``new``."""
        keys = (("www", "A"), ("www", "AAAA"), ("app", "CNAME"))
        for number in range(len(self.servers)):
            eventually(
                lambda n=number: (
                    [r and r.values for r in (self.says(n, *k) for k in keys)]
                    == [(value,) for value in values]
                )
            )

    def status(self) -> Any:
        """``crossfade status``."""
        return self.site.run("status", "--json").json


OLD = [item["old"] for item in NAMES]
NEW = [item["new"] for item in NAMES]


def zone_servers(
    directory: Path, kinds: Sequence[type[Server]], *, ttl: int
) -> tuple[list[Server], dict[str, Any]]:
    """Servers of the zone, not started, and ``traffic.dns`` of a manifest beside the key's file."""
    hosts = loopback(*kinds)
    port = free_port(hosts)
    text = text_of(hosts, ttl=ttl)
    first = kinds[0](directory / "ns1", hosts[0], port, text=text, followers=hosts[1:])
    servers = [first]
    for number, (kind, host) in enumerate(zip(kinds[1:], hosts[1:], strict=True), 2):
        servers.append(kind(directory / f"ns{number}", host, port, primary=hosts[0]))
    dns: dict[str, Any] = {"zone": ZONE, "port": port, "ttl": 2, "patience": 20, "names": NAMES}
    if isinstance(first, PowerDns):
        dns |= {"driver": "powerdns", "api": first.api, "api_key": "file:key"}
        dns |= {"servers": [first.host]}
    else:
        key = {"name": "cf", "secret": "file:key"}
        dns |= {"driver": "rfc2136", "server": first.host, "key": key}
    return servers, dns


@contextmanager
def named_site(
    directory: Path,
    kinds: Sequence[type[Server]] = (Bind, Knot),
    *,
    ttl: int = 2,
    **more: Any,
) -> Iterator[Named]:
    """The site is started, and so are the servers.  ttl is that of the zone's records."""
    servers, dns = zone_servers(directory, kinds, ttl=ttl)
    dns |= more
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        site = stack.enter_context(site_at(directory / "site"))
        yield Named(site, servers, dns)
