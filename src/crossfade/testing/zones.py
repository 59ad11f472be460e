"""The contract of ``crossfade.ports.Zone``, as tests for authors of drivers.

Write a class that keeps the promises of ``ZoneSite`` with real name servers, then inherit the
tests:

    class TestMyZone(ZoneContract):
        @pytest.fixture
        def site(self, tmp_path: Path) -> Iterator[ZoneSite]:
            ...
"""

# ruff: noqa: S101 - tests assert
from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from crossfade.errors import Failed
from crossfade.ports import DnsRecord, Zone

__all__ = ["ADDRESS", "ALIAS", "SEVERAL", "SIX", "ZoneContract", "ZoneSite", "eventually"]

ADDRESS = DnsRecord.of("www.example.test", "A", ["192.0.2.10"], 3600)
SIX = DnsRecord.of("www.example.test", "AAAA", ["2001:db8::10"], 3600)
ALIAS = DnsRecord.of("app.example.test", "CNAME", ["old.example.test"], 3600)
SEVERAL = DnsRecord.of("many.example.test", "A", ["192.0.2.10", "192.0.2.11"], 3600)
"""What is in the zone ``example.test`` when a test begins; www has a TXT record as well, and alias
is a CNAME for it."""
_NEW = {
    ADDRESS: DnsRecord.of("www.example.test", "A", ["192.0.2.20"], 60),
    SIX: DnsRecord.of("www.example.test", "AAAA", ["2001:DB8:0::20"], 60),
    ALIAS: DnsRecord.of("app.example.test", "CNAME", ["New.example.test."], 60),
}
_PATIENCE = 30.0


class ZoneSite(Protocol):
    """The zone at real servers: whoever takes the changes, and at least one more that follows."""

    zone: Zone
    secret: str

    def keyless(self) -> Zone:
        """The same zone, with a key that is not the right one."""

    def closed(self) -> Zone:
        """A zone with the same content that does not let us change it."""

    def stop(self) -> None:
        """End whoever takes the changes."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` is true; fails with ``what`` instead of hanging."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


class ZoneContract:
    """What every driver for a zone must do.  Subclasses provide the fixture ``site``."""

    closed_code = "dns-read-only"
    """What a zone says that does not let us change it."""

    def test_gets_what_is_there(self, site: ZoneSite) -> None:
        """Values in their one form and the TTL; nothing where there is nothing."""
        for record in (ADDRESS, SIX, ALIAS, SEVERAL):
            assert site.zone.get(record.name, record.kind) == record
        assert site.zone.get("www.example.test", "CNAME") is None
        assert site.zone.get("alias.example.test", "A") is None, "that is www's, behind a CNAME"
        assert site.zone.get("nobody.example.test", "A") is None

    def test_replaces_and_every_server_says_so(self, site: ZoneSite) -> None:
        """There and back, for each kind; every authoritative server follows, with a serial."""
        for old, new in _NEW.items():
            for expect, wanted in ((old, new), (new, old)):
                site.zone.replace(expect, wanted)
                assert site.zone.get(old.name, old.kind) == wanted
                eventually(lambda w=wanted: _all_say(site.zone, w), f"{wanted.words} everywhere")  # type: ignore[misc]
        assert len(site.zone.asked(*_key(ADDRESS))) >= 2

    def test_leaves_everything_else_alone(self, site: ZoneSite) -> None:
        """The other records of the name, and of the zone, are as before."""
        site.zone.replace(ADDRESS, _NEW[ADDRESS])
        for record in (SIX, ALIAS, SEVERAL):
            assert site.zone.get(record.name, record.kind) == record

    def test_again_changes_nothing(self, site: ZoneSite) -> None:
        """What is so already is fine, from either expectation, and the serial stays."""
        site.zone.replace(ADDRESS, _NEW[ADDRESS])
        eventually(lambda: _all_say(site.zone, _NEW[ADDRESS]), "the change everywhere")
        before = _serials(site.zone)
        site.zone.replace(ADDRESS, _NEW[ADDRESS])
        site.zone.replace(_NEW[ADDRESS], _NEW[ADDRESS])
        assert _serials(site.zone) == before

    def test_ttl_alone(self, site: ZoneSite) -> None:
        """With equal values only the TTL changes; and it may be finished later."""
        for ttl in (60, 3600):
            for old in (ADDRESS, ALIAS):
                wanted = DnsRecord(old.name, old.kind, old.values, ttl)
                site.zone.replace(old, wanted)
                assert site.zone.get(old.name, old.kind) == wanted
        half = DnsRecord(ADDRESS.name, ADDRESS.kind, _NEW[ADDRESS].values, 3600)
        site.zone.replace(ADDRESS, half)
        site.zone.replace(ADDRESS, _NEW[ADDRESS])
        assert site.zone.get(*_key(ADDRESS)) == _NEW[ADDRESS]

    def test_changed_by_someone_else(self, site: ZoneSite) -> None:
        """Neither the old nor the new value is there: nothing is changed, and both are told."""
        other = DnsRecord.of(ADDRESS.name, "A", ["192.0.2.99"], 3600)
        site.zone.replace(ADDRESS, other)
        for expect in (ADDRESS, DnsRecord.of("nobody.example.test", "A", ["192.0.2.1"], 60)):
            new = DnsRecord(expect.name, expect.kind, _NEW[ADDRESS].values, 60)
            error = _failed("dns-record-changed", lambda e=expect, n=new: site.zone.replace(e, n))  # type: ignore[misc]
            assert expect.name in error.what
        assert site.zone.get(*_key(ADDRESS)) == other
        assert site.zone.get("nobody.example.test", "A") is None

    def test_one_of_two_at_once_wins(self, site: ZoneSite) -> None:
        """Where the server compares, one of two who switch at the same moment is refused."""
        wanted = [DnsRecord.of(ADDRESS.name, "A", [f"192.0.2.{n}"], 60) for n in range(20, 28)]

        def attempt(new: DnsRecord) -> str:
            try:
                site.zone.replace(ADDRESS, new)
            except Failed as error:
                return error.code
            return "done"

        if site.zone.traits.compares:
            with ThreadPoolExecutor(len(wanted)) as pool:
                found = sorted(pool.map(attempt, wanted))
            assert found == ["dns-record-changed"] * (len(wanted) - 1) + ["done"]
        else:
            assert attempt(wanted[0]) == "done"
            assert attempt(wanted[1]) == "dns-record-changed"

    def test_wrong_key(self, site: ZoneSite) -> None:
        """Refused as such; nothing is changed and no secret is told."""
        zone = site.keyless()
        error = _failed("dns-key-refused", lambda: zone.replace(ADDRESS, _NEW[ADDRESS]))
        assert site.zone.get(*_key(ADDRESS)) == ADDRESS
        assert site.secret not in error.what + error.where

    def test_read_only(self, site: ZoneSite) -> None:
        """A zone that may not be changed says so, and is as before."""
        zone = site.closed()
        assert zone.get(*_key(ADDRESS)) == ADDRESS
        _failed(self.closed_code, lambda: zone.replace(ADDRESS, _NEW[ADDRESS]))
        assert zone.get(*_key(ADDRESS)) == ADDRESS

    def test_nobody_answers(self, site: ZoneSite) -> None:
        """Whoever takes the changes is down: told within a quarter of a minute."""
        site.stop()
        began = time.monotonic()
        error = _failed("dns-unreachable", lambda: site.zone.replace(ADDRESS, _NEW[ADDRESS]))
        assert time.monotonic() - began < 15
        assert site.secret not in error.what + error.where


def _key(record: DnsRecord) -> tuple[str, str]:
    return record.name, record.kind


def _all_say(zone: Zone, record: DnsRecord) -> bool:
    answers = zone.asked(record.name, record.kind)
    return all(answer.record == record and answer.serial is not None for answer in answers)


def _serials(zone: Zone) -> dict[str, int | None]:
    return {answer.server: answer.serial for answer in zone.asked(ADDRESS.name, ADDRESS.kind)}


def _failed(code: str, do: Callable[[], None]) -> Failed:
    with pytest.raises(Failed) as caught:
        do()
    assert caught.value.code == code, (caught.value.code, caught.value.what, caught.value.where)
    return caught.value
