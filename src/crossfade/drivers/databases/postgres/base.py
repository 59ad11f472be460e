"""What the strategy ``stream`` needs of the copying of a database's snapshot."""

from __future__ import annotations

from typing import Protocol

from crossfade.model import Digest
from crossfade.ports import Doing

__all__ = ["Base"]


class Base(Protocol):
    """Copies one snapshot of the old database to the new one."""

    def prepare(self, on: Doing) -> None:
        """The new database stands, is ours and has every table of the old one, but no rows."""

    def copy(self, snapshot: str, on: Doing) -> None:
        """All rows of the snapshot, without indexes and constraints."""

    def finish(self, on: Doing) -> None:
        """Indexes, constraints, triggers and all else that comes after the rows."""

    def digest_old(self, snapshot: str) -> tuple[Digest, str]:
        """All rows of the old side at the snapshot, and its schema's fingerprint then."""

    def digest_new(self) -> Digest:
        """All rows of the new side now."""

    def analyze(self, on: Doing) -> None:
        """Statistics and a warm cache on the new side."""
