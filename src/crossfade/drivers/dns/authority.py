"""The authoritative servers of a zone: which they are, and what each of them says.

No resolver is asked for what the zone says, since it may answer from its cache.  The servers are
those of the zone's NS records and those that the manifest names.  An address that this machine has
no way to is left out when the same server has another one.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import DnsAnswer, DnsRecord

__all__ = ["Authority", "addresses", "ask_record"]

PATIENCE = 3.0
"""Seconds that a server gets for one answer."""
_ASK = 3
"""How often a server is asked: over UDP a question may get lost."""
_NO_WAY = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH}
T = TypeVar("T")


class _NoWay(Exception):
    """This machine has no route to the address."""


class _Silent(Exception):
    """The server gave no answer that counts: one sentence without an end."""


def addresses(server: str, port: int) -> list[Address]:
    """The addresses of ``host`` or ``host:port``.  Raises Failed."""
    there = _parsed(server, port)
    try:
        found = socket.getaddrinfo(there.host, there.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise Failed(
            "dns-unreachable",
            f"The name server {server} is unknown: {error.strerror or error}.",
            where="traffic.dns.server, traffic.dns.servers",
        ) from None
    return list(dict.fromkeys(Address(str(info[4][0]), there.port) for info in found))


def _parsed(server: str, port: int) -> Address:
    """``host``, ``host:port``, an IPv6 address, or one in brackets, with a port or without."""
    plain = server.strip("[]")
    with suppress(ValueError):
        ipaddress.IPv6Address(plain)
        return Address(plain, port)
    with suppress(ValueError):
        return Address.parse(server)
    return Address(server, port)


def ask_record(server: Address, name: str, kind: str) -> DnsRecord | None:
    """What one server says with authority.  Raises Failed ``dns-unreachable``."""
    try:
        return _record(server, name, kind)
    except (_NoWay, _Silent) as error:
        raise Failed(
            "dns-unreachable",
            f"The name server {server} does not tell {name}: {error}.",
            where=f"{name} {kind}, asked at {server}",
        ) from None


class Authority:
    """The servers of ``zone``.  given are ``host`` or ``host:port``; port is for those without,
    and for the zone's own."""

    def __init__(self, zone: str, given: Sequence[str], port: int) -> None:
        self._zone = zone
        self._given = tuple(given)
        self._port = port

    def asked(self, name: str, kind: str) -> list[DnsAnswer]:
        """What each server says of a record, asked all at once."""
        servers = self.servers()
        with ThreadPoolExecutor(max_workers=min(16, len(servers))) as pool:
            told = list(pool.map(lambda s: self._answer(s, servers[s], name, kind), servers))
        return [answer for answer in told if answer is not None]

    def servers(self) -> dict[Address, str]:
        """Every address to ask, with the server's name; raises Failed when none is known."""
        found: dict[Address, str] = {}
        for server in self._given:
            found |= dict.fromkeys(addresses(server, self._port), server)
        for host in self._hosts(list(found)):
            for address in self._of_host(host, list(found)):
                found.setdefault(address, host)
        if not found:
            raise Failed(
                "dns-unreachable",
                f"Nobody tells the name servers of the zone {self._zone}.",
                where="traffic.dns.zone; traffic.dns.servers may name them",
            )
        return found

    def _hosts(self, known: Sequence[Address]) -> list[str]:
        """The names in the zone's NS records: from the servers that we know, else a resolver's."""
        for server in known:
            with suppress(_NoWay, _Silent):
                return _values(server, self._zone, "NS")
        with suppress(dns.exception.DNSException, OSError):
            answer = dns.resolver.resolve(f"{self._zone}.", "NS", lifetime=PATIENCE * 2)
            return [str(item).rstrip(".").lower() for item in answer]
        return []

    def _of_host(self, host: str, known: Sequence[Address]) -> list[Address]:
        """The addresses of a name server: from the zone itself if it lies there, else a resolver's;
        nothing is made of one that nobody knows, but ``_answer`` tells it."""
        values: list[str] = []
        if host.endswith(f".{self._zone}"):
            for server in known:
                with suppress(_NoWay, _Silent):
                    values = [*_values(server, host, "A"), *_values(server, host, "AAAA")]
                    break
        if values:
            return [Address(value, self._port) for value in values]
        with suppress(Failed):
            return addresses(host, self._port)
        return [Address(host, self._port)]

    def _answer(self, server: Address, called: str, name: str, kind: str) -> DnsAnswer | None:
        shown = str(server) if called in (server.host, str(server)) else f"{called} ({server})"
        try:
            record = _record(server, name, kind)
            return DnsAnswer(shown, record, _serial(server, self._zone))
        except _NoWay as error:
            others = [a for a, n in self.servers().items() if n == called and a != server]
            return None if others else DnsAnswer(shown, None, None, str(error))
        except _Silent as error:
            return DnsAnswer(shown, None, None, str(error))


def _record(server: Address, name: str, kind: str) -> DnsRecord | None:
    answer = _exchange(server, name, kind)
    for rrset in answer.answer:  # behind a CNAME there may be records of other names
        asked = str(rrset.name).lower() == f"{name}."
        if asked and rrset.rdtype == dns.rdatatype.from_text(kind):
            values = [str(item) for item in rrset]
            return DnsRecord.of(str(rrset.name), kind, values, int(rrset.ttl))
    return None


def _values(server: Address, name: str, kind: str) -> list[str]:
    answer = _exchange(server, name, kind)
    wanted = dns.rdatatype.from_text(kind)
    return sorted(
        str(item).rstrip(".").lower()
        for rrset in answer.answer
        if rrset.rdtype == wanted
        for item in rrset
    )


def _serial(server: Address, zone: str) -> int | None:
    for rrset in _exchange(server, zone, "SOA").answer:
        if rrset.rdtype == dns.rdatatype.SOA:
            return int(rrset[0].serial)
    return None


def _exchange(server: Address, name: str, kind: str) -> dns.message.Message:
    """Ask one question of one server.  Raises _NoWay, _Silent."""
    question = dns.message.make_query(f"{name}.", kind)
    question.flags &= ~dns.flags.RD
    answer = _patiently(lambda: _over_udp(question, server))
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _Silent(f"it answers {dns.rcode.to_text(answer.rcode())}")
    if not answer.flags & dns.flags.AA:
        raise _Silent("it answers without authority over the zone")
    return answer


def _over_udp(question: dns.message.Message, server: Address) -> dns.message.Message:
    host = server.host
    with suppress(OSError):
        host = str(socket.getaddrinfo(host, server.port)[0][4][0])
    answer, _ = dns.query.udp_with_fallback(question, host, PATIENCE, server.port)
    return answer


def _patiently(do: Callable[[], T]) -> T:
    for left in reversed(range(_ASK)):
        try:
            return do()
        except dns.exception.Timeout:
            if not left:
                raise _Silent("it does not answer") from None
        except OSError as error:
            if error.errno in _NO_WAY:
                raise _NoWay(error.strerror) from None
            if not left:
                raise _Silent(f"it does not answer: {error.strerror or error}") from None
        except (dns.exception.DNSException, ValueError) as error:
            raise _Silent(f"its answer cannot be read: {error}") from None
    raise AssertionError  # the last turn returns or raises
