"""What the carrier needs of a strategy, and of the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from crossfade.model import Finding
from crossfade.ports import Doing, WayBack

__all__ = ["Back", "Way"]


class Way(Protocol):
    """One strategy's way from the old side to the new one; methods as in ``ports.Carrier``."""

    def back_up(self, on: Doing) -> list[Finding]:
        """Step backup."""

    def restore(self, on: Doing) -> list[Finding]:
        """Step restore."""

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The last changes and the proof."""


class Back(Protocol):
    """The reverse feed."""

    def possible(self) -> str:
        """Why it cannot be, in words; empty when it can."""

    def prepare(self) -> list[Finding]:
        """Before the commit point: every write to the new side from now on is kept."""

    def start(self) -> list[Finding]:
        """After the commit: the old side follows."""

    def state(self) -> WayBack:
        """What going back costs now."""

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """The last of the new side's writes to the old one; or what stays behind as files."""

    def standing(self) -> list[str]:
        """What of it stands on either server, in words."""

    def let_go(self) -> list[str]:
        """Remove it from both servers, from any state; what was removed, in words."""
