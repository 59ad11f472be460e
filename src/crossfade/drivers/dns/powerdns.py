"""A zone behind PowerDNS's HTTP API (doc.powerdns.com/authoritative/http-api).

The API replaces a record in one act but compares nothing, so it is read just before and after.
Where the API cannot be reached over a private network, use https.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from crossfade.drivers.dns.authority import Authority
from crossfade.errors import Failed
from crossfade.ports import DnsAnswer, DnsRecord, ZoneTraits

__all__ = ["PowerDnsZone"]

_PATIENCE = 10.0
_KEY = {401, 403}
_FOLLOWS = {"Slave", "Secondary", "Consumer"}


class PowerDnsZone:
    """The zone ``name``.  options are those of the manifest: api (its address, such as
    http://127.0.0.1:8081), api_key, which ``secret`` reads when needed, servers and port."""

    traits = ZoneTraits(compares=False, several=True, how="PowerDNS's API")

    def __init__(self, name: str, options: Mapping[str, Any], secret: Callable[[str], str]) -> None:
        self.name = name
        self._api = str(options["api"]).rstrip("/")
        self._key = str(options["api_key"])
        self._secret = secret
        given = [*([options["server"]] if "server" in options else ()), *options.get("servers", ())]
        self._authority = Authority(name, given, int(options.get("port", 53)))

    def get(self, name: str, kind: str) -> DnsRecord | None:
        """What the API says.  Raises Failed."""
        return _record(self._look(name, kind), name, kind)

    def _look(self, name: str, kind: str) -> Any:
        return self._ask("GET", f"?rrset_name={quote(name)}.&rrset_type={kind}")

    def asked(self, name: str, kind: str) -> list[DnsAnswer]:
        """What each authoritative server says; see the port."""
        return self._authority.asked(name, kind)

    def allowed(self, record: DnsRecord) -> None:
        """The API takes the key, and the zone is not one that only follows another server."""
        self._must_be_ours(self._look(record.name, record.kind))

    def _must_be_ours(self, found: Any) -> None:
        """The API would change a zone that only follows, and the next transfer undo it."""
        if found["kind"] in _FOLLOWS:
            primaries = ", ".join(found["masters"])
            what = f"PowerDNS only follows the zone {self.name}: it is changed at {primaries}."
            raise Failed("dns-read-only", what, where=f"{self._api}, zone {self.name}")

    def replace(self, expect: DnsRecord, new: DnsRecord) -> None:
        """Compare, replace, read back; see the port."""
        found = self._look(new.name, new.kind)
        there = _record(found, new.name, new.kind)
        if there == new:
            return
        self._must_be_ours(found)
        if there is None or there.values not in (expect.values, new.values):
            seen = " ".join(there.values) if there else "not there"
            raise Failed(
                "dns-record-changed",
                f"{new.name} {new.kind} is {seen}, not {' '.join(expect.values)} as expected.",
                where=f"{self._api}, zone {self.name}",
            )
        dot = "." if new.kind == "CNAME" else ""
        rrset = {
            "name": f"{new.name}.",
            "type": new.kind,
            "ttl": new.ttl,
            "changetype": "REPLACE",
            "records": [{"content": value + dot, "disabled": False} for value in new.values],
        }
        self._ask("PATCH", "", {"rrsets": [rrset]})
        if self.get(new.name, new.kind) != new:
            what = f"{new.name} {new.kind} does not read back as it was written."
            raise Failed("dns-not-changed", what, where=f"{self._api}, zone {self.name}")

    def _ask(self, method: str, query: str, body: object = None) -> Any:
        url = urlsplit(self._api)
        path = f"{url.path}/api/v1/servers/localhost/zones/{quote(self.name)}.{query}"
        made = HTTPSConnection if url.scheme == "https" else HTTPConnection
        connection = made(url.hostname or "", url.port, timeout=_PATIENCE)
        where = f"{method} {url.scheme}://{url.netloc}{path}"
        text = None if body is None else json.dumps(body)
        headers = {"X-API-Key": self._secret(self._key), "Content-Type": "application/json"}
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            what = f"The API of the zone {self.name} does not answer: {said}."
            raise Failed("dns-unreachable", what, where=where) from None
        finally:
            connection.close()
        if answer.status < 300:
            return json.loads(data) if data else {}
        raise self._refusal(answer.status, data, where)

    def _refusal(self, status: int, data: bytes, where: str) -> Failed:
        said = data.decode(errors="replace").strip()[:300]
        where = f"{where}: {status} {said}"
        if status in _KEY:
            what = f"The API of the zone {self.name} does not accept the key."
            return Failed("dns-key-refused", what, where=where)
        if status >= 500:
            what = f"The API of the zone {self.name} fails: {status}."
            return Failed("dns-unreachable", what, where=where)
        what = f"The API does not let us change the zone {self.name}: {status}."
        return Failed("dns-read-only", what, where=where)


def _record(found: Any, name: str, kind: str) -> DnsRecord | None:
    for rrset in found["rrsets"]:
        if rrset["name"].lower() == f"{name}." and rrset["type"] == kind:
            on = [item["content"] for item in rrset["records"] if not item["disabled"]]
            if on:
                return DnsRecord.of(name, kind, on, int(rrset["ttl"]))
    return None
