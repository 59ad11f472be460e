"""A host that is reached without a link that could be cut."""

from __future__ import annotations

__all__ = ["Linkless"]


class Linkless:
    """What ``ports.Host`` asks about the way to a host."""

    def connect(self) -> None:
        """Nothing to do: what is missing is named when it is used."""

    def give_up_at(self, moment: float | None) -> None:
        """Nothing to do."""
