"""The web server before the gate: what its drivers implement, and what they remember by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from crossfade.model import Finding, Side
from crossfade.ports._drivers import Doing

__all__ = ["BY_HAND", "Front", "FrontMemory", "FrontPlan"]

BY_HAND: Final = "gate install"
"""Who asked for an insertion when an operator did; else it is an attempt's label."""


@dataclass(frozen=True, slots=True)
class FrontPlan:
    """What would be changed in a web server's configuration.

    places are "file:line" of every upstream that changes; difference is a unified diff without
    context (passwords in addresses masked), empty when nothing is to be changed; warnings are what
    stays as it is and may be meant otherwise."""

    places: tuple[str, ...]
    difference: str
    warnings: tuple[str, ...] = ()


class FrontMemory(Protocol):
    """What a front's driver has written down, durably, before it changed anything."""

    def last(self) -> Mapping[str, Any]:
        """What was noted last; empty when nothing was."""

    def note(self, what: Mapping[str, Any]) -> None:
        """Make it durable.  Raises JournalError."""


class Front(Protocol):
    """The web server that keeps TLS and names, and passes requests on: to the old side, while an
    upgrade lasts to the gate, afterwards to the new side.  On the machine that runs Crossfade.

    What changes is a reload: requests that are under way end where they began."""

    name: str
    """Its kind and file, for people."""

    def plan(self) -> FrontPlan:
        """What ``insert`` would change.  Changes nothing.

        Raises Failed when it cannot be inserted: the configuration does not hold, does not name
        the old side, names it in a way that the gate cannot stand in for, or cannot be written."""

    def plan_out(self, to: Side) -> FrontPlan:
        """What ``take_out`` would change.  Changes nothing."""

    def insert(self, on: Doing, by: str) -> list[Finding]:
        """Point it at the gate, which runs, and see that requests come by there.  Fine when it was
        done, or half done.  ``by`` is who asked for it, remembered for ``inserted_by``.

        Raises Failed after it has put everything back."""

    def take_out(self, on: Doing, to: Side) -> list[Finding]:
        """Old: the files become, byte for byte, what they are without us, whatever somebody else
        changed meanwhile.  New: they then differ from that by the new side's address alone.  Fine
        when it was done.  Raises Failed after it has put everything back."""

    def renew(self) -> None:
        """The machine was started again: put back what did not outlast that.  Raises Failed."""

    def inserted_by(self) -> str:
        """Who asked for the insertion that stands; empty when none does."""
