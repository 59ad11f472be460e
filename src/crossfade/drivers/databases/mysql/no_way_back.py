"""Going back where no reverse feed is possible: what stays behind is written to files first."""

from __future__ import annotations

from pathlib import Path

from crossfade.drivers.databases.mysql import behind, kept_fence
from crossfade.model import Endpoint, Finding
from crossfade.ports import Doing, WayBack

__all__ = ["NoWayBack"]


class NoWayBack:
    """Implements ``ways.Back`` without a feed; why is the reason, in words."""

    def __init__(self, name: str, old: Endpoint, new: Endpoint, why: str) -> None:
        self.name, self.old, self.new, self.why = name, old, new, why

    def possible(self) -> str:
        """Why it cannot be."""
        return self.why

    def prepare(self) -> list[Finding]:
        """Nothing to prepare."""
        return []

    def start(self) -> list[Finding]:
        """Nothing to start."""
        return []

    def state(self) -> WayBack:
        """Every write stays behind."""
        words = f"writes to database {self.name} since the switch stay behind: {self.why}"
        return WayBack(lossless=False, words=words)

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """Write to files what only the new side has; lift the fence of the old one."""
        with on.timed(f"export {self.name}"):
            counts = behind.export(self.old, self.new, to, self.old.bookkeeping)
        kept_fence.drop_triggers(self.old)
        count = sum(counts.values())
        seen = ", ".join(f"{n} of {table}" for table, n in sorted(counts.items())) or "none"
        claim = f"rows that only the new side of database {self.name} has are kept as files"
        return [Finding(claim, "all", seen, str(to), True)], count

    def standing(self) -> list[str]:
        """Nothing."""
        return []

    def let_go(self) -> list[str]:
        """Nothing to remove but the kept fence."""
        count = kept_fence.drop_triggers(self.old)
        return [f"{count} triggers of the fence"] if count else []
