"""Addresses of the manifest: whether they hold, and which are one."""

from __future__ import annotations

from contextlib import suppress

from crossfade.model import Address

__all__ = ["HOST_AND_PORT", "address_or_none", "clash"]

HOST_AND_PORT = "must be host:port with a port from 1 to 65535, such as {}"
_HOSTS = {"localhost": "127.0.0.1", "::1": "127.0.0.1", "0.0.0.0": "*", "::": "*"}  # noqa: S104


def address_or_none(text: str) -> Address | None:
    """None for one that does not hold, which is complained about."""
    with suppress(ValueError):
        return Address.parse(text)
    return None


def clash(one: Address, two: Address) -> bool:
    """Whether two programs of a machine cannot listen at both."""
    hosts = {_HOSTS.get(address.host, address.host) for address in (one, two)}
    return one.port == two.port and (len(hosts) == 1 or "*" in hosts)
