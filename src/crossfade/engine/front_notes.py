"""The journal's record of a web server that was pointed at the gate.

It is read across all upgrades of a state directory: the server stays when an upgrade has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from crossfade.engine.journal import SqliteJournal

__all__ = ["FrontNotes"]

_KIND: Final = "front"


class FrontNotes:
    """``ports.FrontMemory`` in the journal, for the server with this configuration file."""

    def __init__(self, journal: SqliteJournal, file: Path) -> None:
        self._journal = journal
        self._name = str(file)

    def last(self) -> Mapping[str, Any]:
        """What was noted last; empty when nothing was."""
        found: Mapping[str, Any] = {}
        for entry in self._journal.everywhere(_KIND):
            if entry["name"] == self._name:
                found = cast(Mapping[str, Any], entry["payload"])
        return found

    def note(self, what: Mapping[str, Any]) -> None:
        """Add an entry; it is on disk when this returns."""
        self._journal.append("front", self._name, _KIND, what)
