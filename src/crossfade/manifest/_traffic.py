"""What the manifest says of the gate, for the kinds of gate that we know."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossfade.manifest._addresses import HOST_AND_PORT, address_or_none
from crossfade.manifest._dns import dns_spec
from crossfade.manifest._front import front_spec
from crossfade.manifest._relayed import relayed_complaints, relayed_ports
from crossfade.manifest._spec import TrafficSpec
from crossfade.manifest._tls import tls_complaints, tls_spec
from crossfade.model import Address
from crossfade.recipes import Recipe
from crossfade.recipes._yaml import Keys

__all__ = ["traffic_complaints", "traffic_spec"]

_PATHS = ("config", "socket", "place")
_OF_HAPROXY = ("backend", *_PATHS, "reload", "hold")
_REFUSED = {
    "maxconn-frontend": "HAProxy 2.6 dies of it (haproxy/haproxy#2726), and keep-alive goes on",
    "maxconn-server": "one request at a time still passes, and 0 means no limit",
    "queue": "requests time out in a queue that does not wake up",
    "maint": "it answers 503 at once",
    "drain": "it answers 503 at once",
    "addr": "connections that are kept stay on the old side",
    "closed-port": "connections that are kept stay on the old side",
}
"""Ways to hold requests in HAProxy that were measured to lose, to leak or to crash."""


def traffic_spec(data: Mapping[str, Any], base: Path, listen: Address) -> TrafficSpec:
    """The gate and what stands around it, its paths absolute."""
    options = {key: value for key, value in data.items() if key in _OF_HAPROXY and key != "hold"}
    for key in _PATHS:
        if key in options:
            options[key] = Path(os.path.normpath(base / options[key]))
    if "reload" in options:
        options["reload"] = tuple(options["reload"])
    if "metrics" in data:
        options["metrics"] = address_or_none(data["metrics"])
    if "ports" in data:
        options["ports"] = relayed_ports(data)
    return TrafficSpec(
        data.get("driver", "gateway"),
        listen,
        options,
        tls=tls_spec(data["tls"], base) if "tls" in data else None,
        front=front_spec(data["front"], base) if "front" in data else None,
        dns=dns_spec(data["dns"]) if "dns" in data else None,
        reads_in_pause=data.get("reads_in_pause", False),
        names=tuple(data["names"]) if "names" in data else None,
    )


def traffic_complaints(document: Any, recipe: Recipe) -> Iterator[tuple[Keys, str]]:
    """What does not hold, each with its keys."""
    data = document["traffic"]
    yield from _gateway_complaints(data, recipe)
    yield from relayed_complaints(document)
    kind = data.get("driver", "gateway")
    if kind == "gateway":
        for key in _OF_HAPROXY:
            if key in data:
                yield ("traffic", key), "is for the driver haproxy"
    if "tls" in data:
        yield from tls_complaints(data, kind)
    if kind != "haproxy":
        return
    if data.get("reads_in_pause"):
        text = "is for the built-in gate: HAProxy counts reads and writes in flight as one number"
        yield ("traffic", "reads_in_pause"), text
    if "metrics" in data:
        yield ("traffic", "metrics"), "is for the built-in gate; HAProxy has an exporter of its own"
    if "backend" not in data:
        yield ("traffic",), "must name the backend of HAProxy that leads to the old side"
    hold = data.get("hold", "lua")
    if hold != "lua":
        reason = _REFUSED.get(hold, "there is no such way")
        yield ("traffic", "hold"), f"must be lua: {reason}"


def _gateway_complaints(data: Mapping[str, Any], recipe: Recipe) -> Iterator[tuple[Keys, str]]:
    if data.get("reads_in_pause") and recipe.writes_on_reads:
        text = f"cannot be: {recipe.title} writes on reads ({recipe.writes_on_reads})"
        yield ("traffic", "reads_in_pause"), text
    if "metrics" in data:
        if address_or_none(data["metrics"]) is None:
            yield ("traffic", "metrics"), HOST_AND_PORT.format("127.0.0.1:9100")
        elif data["metrics"] == data["listen"]:
            yield ("traffic", "metrics"), "is the same address as traffic.listen"
