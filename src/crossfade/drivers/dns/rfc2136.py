"""A zone that takes dynamic updates: RFC 2136, signed by a key of RFC 8945 (TSIG).

The prerequisite "RRset exists (value dependent)" (RFC 2136, 2.4.2) makes the server itself compare
all values of the record with the old ones and change them in one act.  Tried with BIND 9.18 and
Knot DNS 3.2.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update

from crossfade.drivers.dns.authority import Authority, addresses, ask_record
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import DnsAnswer, DnsRecord, ZoneTraits

__all__ = ["Rfc2136Zone"]

_PATIENCE = 10.0
_READ_ONLY = {dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.NOTAUTH}
_CHANGED = {dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN}


class Rfc2136Zone:
    """The zone ``name``.  options are those of the manifest: server (which takes the updates),
    servers, port, and key with name, algorithm and secret, which ``secret`` reads when needed."""

    traits = ZoneTraits(compares=True, several=True, how="RFC 2136")

    def __init__(self, name: str, options: Mapping[str, Any], secret: Callable[[str], str]) -> None:
        self.name = name
        self._port = int(options.get("port", 53))
        self._server = str(options["server"])
        self._key: Mapping[str, str] = options["key"]
        self._secret = secret
        given = [self._server, *options.get("servers", ())]
        self._authority = Authority(name, given, self._port)

    def get(self, name: str, kind: str) -> DnsRecord | None:
        """What the server that takes the updates says.  Raises Failed."""
        return ask_record(self._primary(), name, kind)

    def asked(self, name: str, kind: str) -> list[DnsAnswer]:
        """What each authoritative server says; see the port."""
        return self._authority.asked(name, kind)

    def allowed(self, record: DnsRecord) -> None:
        """An update with the prerequisite alone: it tries the key and the right to update."""
        update = dns.update.UpdateMessage(f"{self.name}.", keyring=self._keyring())
        name = dns.name.from_text(f"{record.name}.")
        update.present(name, record.kind, *_texts(record))
        self._send(update, record, record)

    def replace(self, expect: DnsRecord, new: DnsRecord) -> None:
        """Compare and set in one act; see the port."""
        there = self.get(new.name, new.kind)
        if there == new:
            return
        if there is not None and there.values == new.values:
            expect = there  # switched already; only the TTL is missing
        update = dns.update.UpdateMessage(f"{self.name}.", keyring=self._keyring())
        name = dns.name.from_text(f"{new.name}.")
        update.present(name, expect.kind, *_texts(expect))
        update.replace(name, new.ttl, new.kind, *_texts(new))
        self._send(update, expect, new)

    def _send(self, update: dns.update.UpdateMessage, expect: DnsRecord, new: DnsRecord) -> None:
        server = self._primary()
        where = f"{new.name} {new.kind}, update of {self.name} at {server}"
        try:
            answer = dns.query.tcp(update, server.host, _PATIENCE, server.port)
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.message.UnknownTSIGKey) as error:
            said = str(error)
            if isinstance(error, dns.tsig.PeerBadKey):  # Knot says so of a key without rights, too
                said = "it does not know it, or gives it no right to change the zone"
            raise self._refused(server, where, said) from None
        except (OSError, EOFError, dns.exception.DNSException) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            what = f"The name server {server} does not take the update: {said}."
            raise Failed("dns-unreachable", what, where=where) from None
        code = answer.rcode()
        if code == dns.rcode.NOERROR:
            return
        said = dns.rcode.to_text(code)
        if code in _CHANGED:
            now = self.get(new.name, new.kind)
            seen = " ".join(now.values) if now else "not there"
            raise Failed(
                "dns-record-changed",
                f"{new.name} {new.kind} is {seen}, not {' '.join(expect.values)} as expected.",
                where=f"{where}: {said}",
            )
        if code == dns.rcode.NOTAUTH and not answer.had_tsig:
            raise self._refused(server, where, said)
        if code in _READ_ONLY:
            what = f"The name server {server} does not let us change {new.name}: {said}."
            raise Failed("dns-read-only", what, where=where)
        raise Failed("dns-not-changed", f"The name server {server} answers {said}.", where=where)

    def _refused(self, server: Address, where: str, said: str) -> Failed:
        name = self._key["name"]
        what = f"The name server {server} does not accept the key {name}: {said}."
        return Failed("dns-key-refused", what, where=where)

    def _primary(self) -> Address:
        return addresses(self._server, self._port)[0]

    def _keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        name = dns.name.from_text(self._key["name"])
        algorithm = self._key.get("algorithm", "hmac-sha256")
        try:
            return {name: dns.tsig.Key(name, self._secret(self._key["secret"]), f"{algorithm}.")}
        except binascii.Error:
            raise Failed(
                "dns-key-refused",
                f"The secret of the key {self._key['name']} is not in base64.",
                where="traffic.dns.key.secret",
            ) from None


def _texts(record: DnsRecord) -> list[str]:
    dot = "." if record.kind == "CNAME" else ""
    return [f"{value}{dot}" for value in record.values]
