"""What the manifest says of ports besides the one for requests (``traffic.ports``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossfade.manifest._addresses import HOST_AND_PORT, address_or_none, clash
from crossfade.manifest._machine import PLACE, of_side
from crossfade.model import Address, Side
from crossfade.ports import RelayedPort
from crossfade.recipes._yaml import Keys, dotted

__all__ = ["relayed_complaints", "relayed_ports"]


def relayed_ports(data: Mapping[str, Any]) -> tuple[RelayedPort, ...]:
    """Those whose addresses hold; the others are complained about."""
    found = []
    for item in data.get("ports", ()):
        addresses = [_address(item, key) for key in ("listen", "old", "new")]
        if all(addresses):
            found.append(RelayedPort(*(address for address in addresses if address)))
    return tuple(found)


def _address(item: Mapping[str, Any], key: str) -> Address | None:
    return address_or_none(of_side(item[key], key))


def relayed_complaints(document: Any) -> Iterator[tuple[Keys, str]]:
    """What does not hold, by its keys."""
    data = document["traffic"]
    if "ports" not in data:
        return
    if data.get("driver", "gateway") == "haproxy":
        text = "is for the built-in gate; give HAProxy a frontend of its own for them (mode tcp)"
        yield ("traffic", "ports"), text
    ours: list[tuple[Keys, Address]] = [
        (("traffic", key), address)
        for key in ("listen", "metrics")
        if key in data and (address := address_or_none(data[key]))
    ]
    for index, item in enumerate(data["ports"]):
        place: Keys = ("traffic", "ports", index)
        at = {key: _address(item, key) for key in ("listen", "old", "new")}
        for key, address in at.items():
            if address is None:
                yield (*place, key), HOST_AND_PORT.format("0.0.0.0:8448")
        for key in Side:
            host = document[key].get("host")
            made = isinstance(host, Mapping) and "provision" in host
            if PLACE in item[key] and not made:
                text = f"has {PLACE}, which stands for a machine that host.provision makes"
                yield (*place, str(key)), text
            if at[key] and at[key] == at["listen"]:
                yield (*place, str(key)), "is where the gate listens: it would lead to itself"
        if at["old"] and at["old"] == at["new"]:
            yield (*place, "new"), "is the same address as old"
        if listen := at["listen"]:
            for other, taken in ours:
                if clash(listen, taken):
                    yield (*place, "listen"), f"is the same address as {dotted(other)}"
            ours.append(((*place, "listen"), listen))
