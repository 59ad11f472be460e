"""What the detectors write down, until it is put together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from crossfade.finding._far import Entry
from crossfade.finding._inventory import Base, Evidence, Found, Kind

__all__ = ["Book"]

_ORDER = tuple(Kind)
_FILES = (Kind.MODIFIED, Kind.ADDED, Kind.OVERLAY, Kind.ASSET, Kind.PERIPHERY, Kind.HINT)


@dataclass
class Book:
    """Findings by name, each with all its evidence, and what the coverage says."""

    found: dict[tuple[str, bool], Found] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    """Files that are as they were shipped: whatever else is said of them, they are no findings."""
    entries: dict[str, Entry] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """What was read of found files, as text."""
    unreadable: set[str] = field(default_factory=set)
    without_base: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    unparsed: dict[str, str] = field(default_factory=dict)
    ran: dict[str, str] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    looked: int = 0
    compared: int = 0

    def note(
        self,
        name: str,
        kind: Kind,
        component: str,
        detector: str,
        detail: str,
        *,
        base: Base | None = None,
        **more: str | None,
    ) -> None:
        """Write a finding down; of two kinds for one name the one that says more stays."""
        evidence = Evidence(detector, detail)
        value = kind in (Kind.ENVIRONMENT, Kind.ARGUMENT)
        new = Found(name, kind, component, (evidence,), base=base, **more)  # type: ignore[arg-type]
        old = self.found.get((name, value))
        if old is not None:
            if evidence in old.evidence:
                return
            if _ORDER.index(old.kind) <= _ORDER.index(kind):
                new = replace(old, base=old.base or base)
            new = replace(new, evidence=(*old.evidence, evidence), base=new.base or old.base)
        self.found[name, value] = new

    def trouble(self, detector: str, words: str) -> None:
        """A detector that could not run, or not wholly."""
        before = self.ran.get(detector, "ran")
        if words not in before:
            self.ran[detector] = words if before == "ran" else f"{before}; {words}"

    def files(self) -> list[str]:
        """The found files that may be there, in their order."""
        return sorted(
            name
            for (name, value), one in self.found.items()
            if not value and one.kind in _FILES and name not in self.unchanged
        )

    def seen(self, entry: Entry) -> None:
        """Remember how a file stands; one that we may not read is said to be so."""
        self.entries[entry.path] = entry
        if entry.shut:
            self.unreadable.add(entry.path)
