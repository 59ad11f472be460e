"""Where a web server may lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crossfade.model import Address, Side

__all__ = ["Way"]


@dataclass(frozen=True, slots=True)
class Way:
    """Both sides and the gate, by the addresses that the server reaches them at; expect(token)
    counts the requests with that token that came by the gate.  schemes are http or https, as the
    old side and the gate are asked.  farewell(true) makes the gate ask its clients to leave, and
    says how many connections there are still."""

    sides: Mapping[Side, Address]
    gate: Address
    expect: Callable[[str], int]
    schemes: tuple[str, str] = ("http", "http")
    farewell: Callable[[bool], int] = lambda on: 0

    @property
    def old(self) -> Address:
        """The old side's."""
        return self.sides[Side.OLD]
