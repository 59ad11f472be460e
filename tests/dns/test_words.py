"""Servers, serials and times as people write and read them."""

from __future__ import annotations

import pytest

from crossfade.drivers.dns.authority import addresses
from crossfade.model import Address
from crossfade.naming import duration, moment
from crossfade.ports import DnsRecord


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("192.0.2.53", Address("192.0.2.53", 5300)),
        ("192.0.2.53:54", Address("192.0.2.53", 54)),
        ("2001:db8::53", Address("2001:db8::53", 5300)),
        ("[2001:db8::53]", Address("2001:db8::53", 5300)),
        ("[2001:db8::53]:54", Address("2001:db8::53", 54)),
    ],
)
def test_servers(told: str, address: Address) -> None:
    """With a port or without, of either family."""
    assert addresses(told, 5300) == [address]


def test_times() -> None:
    """Two parts at most, and UTC."""
    assert [duration(s) for s in (0, 40, 86400, 172800, 7500, 90061)] == [
        *("0 s", "40 s", "1 day", "2 days", "2 h 5 min", "25 h 1 min"),
    ]
    assert moment(86400) == "1970-01-02 00:00:00 UTC"


def test_records_have_one_form() -> None:
    """Equal records are equal, however they were written; what is no record is refused."""
    one = DnsRecord.of("WWW.Example.org.", "AAAA", ["2001:DB8::0:1", "2001:db8::2"], 60)
    assert one == DnsRecord.of("www.example.org", "AAAA", ["2001:db8::2", "2001:db8:0::1"], 60)
    for name, kind, values in (
        ("no spaces.example.org", "A", ["192.0.2.1"]),
        ("localhost", "A", ["192.0.2.1"]),
        ("www.example.org", "A", []),
        ("www.example.org", "A", ["2001:db8::1"]),
        ("www.example.org", "CNAME", ["a.example.org", "b.example.org"]),
        ("www.example.org", "CNAME", ["192.0.2.1 x"]),
    ):
        with pytest.raises(ValueError, match=r"^(is|has) "):
            DnsRecord.of(name, kind, values, 60)
