"""What the journal knows of the names: the entries of kind ``dns``.

lowering, lowered      a name's TTL: before the act with the TTL that it had, and after it
lowered-everywhere     every authoritative server says so
pointing, pointed      a name: before the act with the TTL that it had, and after it
published              every authoritative server says so
followed               the TTL of before has passed since then
restored               a name's TTL is as it was at first
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from crossfade.model import Run, Side
from crossfade.ports import DnsRecord, Journal

__all__ = ["Record"]

_KIND = "dns"


class Record:
    """Reads and writes those entries."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def note(self, what: str, record: DnsRecord | None = None, **more: object) -> None:
        """Add an entry, of one name or of all."""
        about = {} if record is None else {"record": record.name, "type": record.kind}
        self._journal.append(_KIND, what, _KIND, {**about, **more})

    def side_of(self, record: DnsRecord) -> Side:
        """Where a name leads: the new side as soon as it was to, the old one when it does."""
        led = Side.OLD
        for entry in self._of(record):
            side = entry["payload"].get("side")
            if (entry["name"], side) in (("pointing", "new"), ("pointed", "old")):
                led = Side(side)
        return led

    def done(self, record: DnsRecord, side: Side) -> bool:
        """Whether the name was seen to lead to this side, and was not sent elsewhere since."""
        acts = [e for e in self._of(record) if e["name"] in ("pointing", "pointed")]
        return bool(acts) and acts[-1]["name"] == "pointed" and acts[-1]["payload"]["side"] == side

    def untouched(self, record: DnsRecord) -> bool:
        """Whether the name was never pointed anywhere."""
        return not any(e["name"] == "pointing" for e in self._of(record))

    def first_ttl(self, record: DnsRecord) -> int | None:
        """The TTL that the name had before we changed anything, unless that was put back."""
        found: int | None = None
        for entry in self._of(record):
            if entry["name"] == "restored":
                found = None
            elif entry["name"] in ("lowering", "pointing") and found is None:
                found = int(entry["payload"]["ttl"])
        return found

    def was_lowered(self, record: DnsRecord) -> bool:
        """Whether we have lowered the name's TTL and not put it back."""
        acts = [e["name"] for e in self._of(record) if e["name"] in ("lowering", "restored")]
        return acts[-1:] == ["lowering"]

    def passed(self, what: str) -> float | None:
        """When something was reached, unless names were sent elsewhere, or lowered, since."""
        undone_by = {"lowered-everywhere": ("lowering",), "published": ("pointing",)}
        undone_by["followed"] = undone_by["published"]
        found: float | None = None
        for entry in self._entries():
            if entry["name"] == what:
                found = float(entry["at"])
            elif entry["name"] in undone_by[what]:
                found = None
        return found

    def followed_by(self) -> float | None:
        """Until when caches may lead elsewhere; None while not every server says so.

        Besides the TTL that a name had when it was pointed, one from before a lowering counts
        that was not waited out."""
        published = self.passed("published")
        if published is None:
            return None
        lowered = self.passed("lowered-everywhere") or published
        return max(published + self._ttl_when_pointed(), lowered + self._ttl_when_lowered())

    def _ttl_when_pointed(self) -> int:
        found: dict[tuple[str, str], int] = {}
        for entry in self._entries():
            if entry["name"] == "pointing" and entry["payload"].get("changes", True):
                payload = entry["payload"]
                found[payload["record"], payload["type"]] = int(payload["ttl"])
        return max(found.values(), default=0)

    def cached_until(self) -> float | None:
        """Until when caches may have a record with a TTL from before the lowering; None when
        nothing was lowered, or not everywhere yet."""
        lowered = self.passed("lowered-everywhere")
        return None if lowered is None else lowered + self._ttl_when_lowered()

    def _ttl_when_lowered(self) -> int:
        longest = 0
        for entry in self._entries():
            if entry["name"] == "restored":
                longest = 0
            elif entry["name"] == "lowering":
                longest = max(longest, int(entry["payload"]["ttl"]))
        return longest

    def past_the_gate(self) -> bool:
        """Whether, since the last cutover began, users may have come to the new side past the gate,
        which then has not counted all of their writes."""
        began = 0
        for entry in self._journal.entries(kind="run-began"):
            payload: Any = entry["payload"]
            if payload["run"] == Run.CUTOVER:
                began = int(str(entry["seq"]))
        return any(
            entry["name"] == "pointing" and entry["payload"]["side"] == "new"
            for entry in self._entries()
            if int(entry["seq"]) > began
        )

    def _of(self, record: DnsRecord) -> list[Mapping[str, Any]]:
        return [
            entry
            for entry in self._entries()
            if (entry["payload"].get("record"), entry["payload"].get("type"))
            == (record.name, record.kind)
        ]

    def _entries(self) -> list[Mapping[str, Any]]:
        return list(self._journal.entries(kind=_KIND))

    @staticmethod
    def now() -> float:
        """The wall clock, which the journal's entries have too."""
        return time.time()
