"""Names in the DNS: what drivers of a zone implement, and what steps use."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crossfade.model import Finding, Problem, Side

__all__ = ["DnsAnswer", "DnsRecord", "Names", "Zone", "ZoneTraits"]

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}")


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """All values of one name and kind (A, AAAA or CNAME), and their TTL in seconds.

    Names are absolute, in lower case, without the last dot; values are sorted and in their one
    form, so that equal records are equal."""

    name: str
    kind: str
    values: tuple[str, ...]
    ttl: int

    @classmethod
    def of(cls, name: str, kind: str, values: Sequence[str], ttl: int) -> DnsRecord:
        """A record from words of people or servers.  Raises ValueError with what is wrong."""
        plain = name.lower().removesuffix(".")
        if not _NAME.fullmatch(plain):
            raise ValueError(f"is not a name: {name!r}")
        if not values or (kind == "CNAME" and len(values) > 1):
            raise ValueError(f"has {len(values)} values, which a {kind} record cannot have")
        return cls(plain, kind, tuple(sorted({_value(kind, value) for value in values})), ttl)

    @property
    def words(self) -> str:
        """The record for people."""
        return f"{self.name} {self.kind} {' '.join(self.values)}"


def _value(kind: str, text: str) -> str:
    if kind == "CNAME":
        plain = text.lower().removesuffix(".")
        if not _NAME.fullmatch(plain):
            raise ValueError(f"is not a name: {text!r}")
        return plain
    version = {"A": 4, "AAAA": 6}[kind]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise ValueError(f"is not an IPv{version} address: {text!r}")
    return str(address)


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What one authoritative server says: the record (None: there is none), the zone's serial, or
    why it did not say."""

    server: str
    record: DnsRecord | None
    serial: int | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ZoneTraits:
    """What a way to change a zone can do.

    compares: the server itself compares with the old value and changes in one act; else we read
    just before, and read back.  several: a name may have several values.  how is for people."""

    compares: bool
    several: bool
    how: str


class Zone(Protocol):
    """One zone of the DNS, at whoever may change it."""

    name: str
    traits: ZoneTraits

    def get(self, name: str, kind: str) -> DnsRecord | None:
        """The record where it would be changed; None when there is none.  Raises Failed."""

    def replace(self, expect: DnsRecord, new: DnsRecord) -> None:
        """Change the values from ``expect``'s to ``new``'s, and the TTL to ``new``'s.  With equal
        values only the TTL changes.  Fine when it is so already.

        Raises Failed: ``dns-record-changed`` when neither values are there, ``dns-key-refused``,
        ``dns-read-only``, ``dns-unreachable``, ``dns-not-changed``.  What of it was done is then
        found out by ``get``."""

    def allowed(self, record: DnsRecord) -> None:
        """Try, as far as that can be tried without changing anything, whether we would be let
        change the record, which is as given.  Raises Failed like ``replace``."""

    def asked(self, name: str, kind: str) -> list[DnsAnswer]:
        """What each authoritative server of the zone says now.  Raises Failed when nobody knows
        which those are."""


class Names(Protocol):
    """The site's names in the DNS, which lead to the old side's gate, and later past it."""

    def actions(self) -> tuple[str, ...]:
        """What will be changed and waited for, in words."""

    def problems(self) -> tuple[Problem, ...]:
        """What keeps the names from being switched.  Asks the servers, changes nothing."""

    def point(self, side: Side) -> list[Finding]:
        """Let every name lead to ``side``'s address, by comparing and setting.  Fine when it does.
        Raises Failed; some names may have been switched then, and the journal knows which."""

    def pointed(self) -> Side:
        """Where the names lead, by the journal: the new side as soon as one of them was to."""

    def wait(self, *, patience: float | None = None) -> list[Finding]:
        """Wait until every authoritative server says so and the TTL that they had before has
        passed.  May be called again at any time.  Raises Failed for a server that does not follow
        within the patience (seconds)."""

    def complete(self, side: Side) -> bool:
        """Whether every name was seen to lead there, by the journal."""

    def past_the_gate(self) -> bool:
        """Whether users may have come to the new side past the gate since the last cutover, so
        that the gate's count of writes is not all of them."""

    def lower(self) -> float:
        """Lower the TTLs, and wait until every server says so.  Until when caches may have the
        TTL of before (wall clock).  Raises Failed."""

    def late_problems(self) -> tuple[Problem, ...]:
        """What of those who still come to the old address speaks against retiring."""

    def restore_ttl(self) -> list[Finding]:
        """Put the TTLs back that the names had before.  Fine when there is nothing to do."""

    def state(self) -> Mapping[str, Any]:
        """How the names stand, by the journal alone, as plain data."""
