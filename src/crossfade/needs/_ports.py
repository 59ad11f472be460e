"""Ports: nobody but the new side itself listens where it will, and nobody but the gate where that
does; at other ports of the application the old side answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crossfade.model import Finding, Run
from crossfade.needs._machines import About
from crossfade.needs._need import Need
from crossfade.needs._reach import answered
from crossfade.ports import RelayedPort

__all__ = ["needs"]

_PATIENCE: Final = 3.0


def needs(about: About) -> list[Need]:
    """Raises Failed when the machine cannot be asked."""
    new = about.work.new
    address = new.installation.address
    taken = new.host.listener(address)
    if taken and new.service.look().running:
        taken = None  # by what we started ourselves
    claim = f"{address} is free for the new side"
    finding = Finding(claim, "free", f"taken by {taken}" if taken else "free", "host", not taken)
    fix = "edit crossfade.yaml   (name another address)"
    return [Need("port-taken", finding, fix), *_of_gate(about)]


def _of_gate(about: About) -> Iterator[Need]:
    """The other ports, at the gate and behind it.  A rehearsal is none the worse for a lack."""
    traffic = about.work.traffic
    state = traffic.look() if traffic.ports else None
    told = {port.port: port.why for port in state.ports} if state else {}
    for index, port in enumerate(traffic.ports):
        why = told.get(port)
        taken = None if why == "" else about.work.here.listener(port.listen)
        yield _free(about, port, taken, why)
        yield _answers(port, index)


def _free(about: About, port: RelayedPort, taken: str | None, why: str | None) -> Need:
    """why is why a gate that was told does not listen there: empty when it does.  That somebody
    else did then is no lack any more when nobody does now."""
    seen, lacks = "free", bool(taken)
    if why == "":
        seen = "the gate listens there"
    elif taken:
        seen = f"taken by {taken}"
    elif why and "in use" not in why:  # not an address of this machine, or a port of root's
        seen, lacks = why, True
    claim = f"{port.listen} is free for the gate"
    finding = Finding(claim, "free", seen, "this machine", not lacks)
    fix = "edit crossfade.yaml   (traffic.ports: move who listens there, and name it as old)"
    return Need("port-taken", finding, fix, stops=about.work.run is Run.CUTOVER)


def _answers(port: RelayedPort, index: int) -> Need:
    why = answered(port.old, _PATIENCE)
    claim = f"the old side answers at {port.old}, for {port.listen}"
    finding = Finding(claim, "it does", why or "it does", "TCP from this machine", not why)
    fix = f"edit crossfade.yaml   (traffic.ports.{index}.old)"
    return Need("port-unanswered", finding, fix, stops=False)
