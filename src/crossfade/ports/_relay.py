"""Ports besides the one for requests, whose connections the gate passes on as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crossfade.model import Address, Side

__all__ = ["PortState", "RelayedPort"]


@dataclass(frozen=True, slots=True)
class RelayedPort:
    """Where the gate listens for it, and the address of each side."""

    listen: Address
    old: Address
    new: Address

    def to(self, side: Side) -> Address:
        """The address of a side."""
        return self.old if side is Side.OLD else self.new

    def renamed(self) -> RelayedPort:
        """With the sides' names exchanged: the new side of one upgrade is the old one of the
        next."""
        return replace(self, old=self.new, new=self.old)

    def as_json(self) -> dict[str, str]:
        """It as plain data."""
        return {"listen": str(self.listen), "old": str(self.old), "new": str(self.new)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RelayedPort:
        """It from that.  Raises ValueError, KeyError."""
        return cls(*(Address.parse(str(data[key])) for key in ("listen", "old", "new")))


@dataclass(frozen=True, slots=True)
class PortState:
    """How one of them stands: connections that are open and that wait, those taken in since the
    gate began to listen there, and of these the ones that led nowhere.  why is why the gate does
    not listen there, empty when it does."""

    port: RelayedPort
    open: int
    waiting: int
    taken: int
    failed: int
    why: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PortState:
        """From the gate's own words."""
        counts = {key: int(data[key]) for key in ("open", "waiting", "taken", "failed")}
        return cls(RelayedPort.from_json(data), **counts, why=str(data["why"]))
