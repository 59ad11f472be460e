"""The machine that is made for a side: ``{machine}`` in the manifest stands for its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossfade.manifest._spec import HostSpec, Manifest, SideSpec
from crossfade.model import Address, Side
from crossfade.ports import RelayedPort

__all__ = ["PLACE", "marked", "of_side", "with_machine"]

PLACE = "{machine}"
"""What stands for the address of a side's machine, as the manifest has it."""
_OLD = "{old-machine}"
_KEYS = ("address", "ssh", "url", "reached_at")


def of_side(text: str, side: str) -> str:
    """A text whose placeholder is that of one side: two sides have two machines."""
    return text.replace(PLACE, _OLD) if side == Side.OLD else text


def marked(data: Mapping[str, Any], side: str) -> dict[str, Any]:
    """A side of the manifest with its own placeholder, where one may stand."""
    made = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            value = marked(value, side)
        elif key in _KEYS and isinstance(value, str):
            value = of_side(value, side)
        made[key] = value
    return made


def with_machine(
    manifest: Manifest, side: Side, name: str, address: str, config: Path | None
) -> Manifest:
    """The manifest with the address of a side's machine in place of the placeholder.

    config is an ssh configuration that knows the machine's key, None for what the side has."""

    if "ports" in manifest.traffic.options:
        place = of_side(PLACE, side)
        ports = [_moved(port, side, place, address) for port in manifest.traffic.options["ports"]]
        options = {**manifest.traffic.options, "ports": tuple(ports)}
        manifest = replace(manifest, traffic=replace(manifest.traffic, options=options))

    def filled(spec: SideSpec) -> SideSpec:
        return _filled(spec, of_side(PLACE, side), name, address, config)

    if side is Side.OLD:
        return replace(manifest, old=filled(manifest.old))
    return replace(manifest, new=filled(manifest.new), rehearsal=filled(manifest.rehearsal))


def _filled(spec: SideSpec, place: str, name: str, address: str, config: Path | None) -> SideSpec:
    def at(given: Address) -> Address:
        return replace(given, host=given.host.replace(place, address))

    databases = {
        key: replace(
            there,
            address=at(there.address),
            reached_at=at(there.reached_at) if there.reached_at else None,
        )
        for key, there in spec.databases.items()
    }
    host = replace(
        spec.host,
        destination=_destination(spec.host, place, address),
        machine=name,
        config=config or spec.host.config,
    )
    return replace(spec, host=host, address=at(spec.address), databases=databases)


def _destination(host: HostSpec, place: str, address: str) -> str:
    """What one types after ssh; in an address of the form ssh:// IPv6 stands in brackets."""
    if host.destination.startswith("ssh://") and ":" in address:
        address = f"[{address}]"
    return host.destination.replace(place, address)


def _moved(port: RelayedPort, side: Side, place: str, address: str) -> RelayedPort:
    """With the address of a side's machine in place of what stands for it."""
    there = port.to(side)
    filled = replace(there, host=there.host.replace(place, address))
    return replace(port, old=filled) if side is Side.OLD else replace(port, new=filled)
