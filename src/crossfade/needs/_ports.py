"""Ports: nobody but the new side itself listens where it will."""

from __future__ import annotations

from crossfade.model import Finding
from crossfade.needs._machines import About
from crossfade.needs._need import Need

__all__ = ["needs"]


def needs(about: About) -> list[Need]:
    """Raises Failed when the machine cannot be asked."""
    new = about.work.new
    address = new.installation.address
    taken = new.host.listener(address)
    if taken and new.service.look().running:
        taken = None  # by what we started ourselves
    claim = f"{address} is free for the new side"
    finding = Finding(claim, "free", f"taken by {taken}" if taken else "free", "host", not taken)
    return [Need("port-taken", finding, "edit crossfade.yaml   (name another address)")]
