"""What a copy knows from the pass before: a small file beside the target.

For every entry that a pass left equal, the index holds the source's and the target's key (inode,
size, modification and change time).  When both keys are still the same, nothing was done to either
entry since, and the next pass need not look at it.

An entry is recorded only when its change time was at least ``SETTLED`` before the source was
looked at.  A younger one may change again within the same tick of the file system's clock, which
no key would show; so the next pass compares its bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crossfade.drivers.files.entries import Entry

__all__ = ["SETTLED", "Index", "index_path", "settled"]

SETTLED: Final = 2_000_000_000
"""Nanoseconds: two seconds, the coarsest time stamp of a file system in use."""

_VERSION: Final = 1

Keys = tuple[int, ...]


def settled(entry: Entry, looked_at: int) -> bool:
    """Whether an entry, as it was seen at ``looked_at`` (ns), can only change with its key."""
    return entry.ctime <= looked_at - SETTLED


def index_path(target: Path) -> Path:
    """Where the index of a target lies: beside it, hidden."""
    return target.with_name(f".{target.name}.crossfade-index")


class Index:
    """The keys of both sides by entry name.  An index that cannot be read counts as none."""

    def __init__(self, source: Path, target: Path) -> None:
        self._path = index_path(target)
        self._source = os.fsdecode(source)
        found = self._read()
        self.present = found is not None
        """Whether an earlier pass of ours from this source to this target was completed."""
        self._keys: dict[str, Keys] = found or {}

    def _read(self) -> dict[str, Keys] | None:
        try:
            data = json.loads(self._path.read_bytes())
            if data["version"] != _VERSION or data["source"] != self._source:
                return None
            return {name: tuple(keys) for name, keys in data["entries"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def unchanged(self, name: str, source: Entry, target: Entry) -> bool:
        """Whether neither side of an entry was touched since it was recorded as equal."""
        return self._keys.get(name) == source.key + target.key

    def replace(self, equal: Mapping[str, tuple[Entry, Entry]]) -> None:
        """Record all entries that are equal now, durably.  Raises OSError."""
        keys: dict[str, Keys] = {name: one.key + two.key for name, (one, two) in equal.items()}
        if keys == self._keys and self._path.exists():
            return
        data = {"version": _VERSION, "source": self._source, "entries": keys}
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(json.dumps(data, separators=(",", ":")).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._keys = keys
