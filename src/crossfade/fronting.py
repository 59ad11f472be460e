"""What stands in front of both sides: the web server before the gate joined with manifest, gate and
journal, and the gate told which side is where."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from crossfade.drivers import driver
from crossfade.engine.front_notes import FrontNotes
from crossfade.engine.journal import SqliteJournal
from crossfade.errors import Refused
from crossfade.manifest import Manifest
from crossfade.model import Address, Side
from crossfade.ports import Front, Host, Traffic

if TYPE_CHECKING:
    from crossfade.drivers.traffic.gateway import GatewayTraffic

__all__ = ["front_of", "introduce"]

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a listener everywhere is asked at


def front_of(
    manifest: Manifest, journal: SqliteJournal, host: Host, traffic: Traffic
) -> Front | None:
    """The front that the manifest names, on the machine that runs us; None when it names none."""
    spec = manifest.traffic.front
    if spec is None:
        return None
    from crossfade.drivers.fronts.way import Way

    listen, tls = manifest.traffic.listen, manifest.traffic.tls
    gate = cast("GatewayTraffic", traffic)  # the manifest's rules allow no other
    way = Way(
        {Side.OLD: manifest.old.address, Side.NEW: manifest.new.address},
        Address(_ANYWHERE.get(listen.host, listen.host), listen.port),
        gate.expect,
        (
            "https" if tls and Side.OLD in tls.sides else "http",
            "https" if tls else "http",
        ),
        gate.farewell,
    )
    made: Front = driver("fronts", spec.driver)(
        spec, way, host, manifest.state / "front", FrontNotes(journal, spec.file)
    )
    return made


def introduce(manifest: Manifest, traffic: Traffic) -> None:
    """Tell a gate that runs which address is which side's in this upgrade.  Raises
    Refused(gate-serves-elsewhere) where that would take users from the address they are at."""
    state = traffic.look()
    if state is None:
        return
    serves = state.targets[state.side]
    sides = {Side.OLD: manifest.old.address, Side.NEW: manifest.new.address}
    if serves not in sides.values():
        raise Refused(
            "gate-serves-elsewhere",
            f"The gate at {traffic.listen} sends users to {serves}, and the manifest knows only"
            f" {sides[Side.OLD]} and {sides[Side.NEW]}.",
            where=f"{manifest.path}, old.address and new.address",
            now=f"{serves} serves, as before.",
            next="crossfade gate start  # if users are to follow the application there",
        )
    traffic.ensure(sides)
