"""A zone at any provider that dns-lexicon reaches (an extra: ``crossfade[lexicon]``).

What of lexicon 3.25 has to be known is dealt with here:

- It guesses the zone from the public suffix list, wrongly for internal zones, and fetches that
  list from the network at first use.  Ours is told to it, and no list is fetched.
- An update needs the record's identifier, and deletes before it creates.  A new address is
  therefore created first and the old one deleted then, so that the name is never without one.
  Only a CNAME and a TTL are updated in place.
- Nothing of it compares, some providers set another TTL than was asked for, and some failures are
  silent: what was written is read back.
- It waits without end for a provider that does not answer, so it works in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as changed
from types import SimpleNamespace
from typing import Any

from crossfade.drivers.dns.authority import Authority
from crossfade.errors import CrossfadeError, Failed, UsageError
from crossfade.ports import DnsAnswer, DnsRecord, ZoneTraits

__all__ = ["LexiconZone"]

_PATIENCE = 60.0
_KEY = ("401", "403", "unauthorized", "forbidden", "authentication")


class LexiconZone:
    """The zone ``name``.  options are those of the manifest: provider (lexicon's name of it),
    options (lexicon's own for it; values may be references, which ``secret`` reads when needed),
    servers and port."""

    traits = ZoneTraits(compares=False, several=False, how="dns-lexicon")

    def __init__(self, name: str, options: Mapping[str, Any], secret: Callable[[str], str]) -> None:
        self.name = name
        self._provider = str(options["provider"])
        self._options: Mapping[str, str] = options.get("options", {})
        self._secret = secret
        given = [*([options["server"]] if "server" in options else ()), *options.get("servers", ())]
        self._authority = Authority(name, given, int(options.get("port", 53)))

    def get(self, name: str, kind: str) -> DnsRecord | None:
        """What the provider says.  Raises Failed."""
        found = self._listed(name, kind)
        if not found:
            return None
        ttl = min(int(item["ttl"] or 0) for item in found)
        return DnsRecord.of(name, kind, [item["content"] for item in found], ttl)

    def asked(self, name: str, kind: str) -> list[DnsAnswer]:
        """What each authoritative server says; see the port."""
        return self._authority.asked(name, kind)

    def allowed(self, record: DnsRecord) -> None:
        """The provider takes the key; more cannot be tried without a change."""
        self.get(record.name, record.kind)

    def replace(self, expect: DnsRecord, new: DnsRecord) -> None:
        """Compare, create, delete, read back; see the port."""
        there = self.get(new.name, new.kind)
        between = {*expect.values, *new.values}  # left by a run that was killed
        if there is None or not {*there.values} <= between or {*there.values} < {*expect.values}:
            seen = " ".join(there.values) if there else "not there"
            raise Failed(
                "dns-record-changed",
                f"{new.name} {new.kind} is {seen}, not {' '.join(expect.values)} as expected.",
                where=f"{self._provider}, zone {self.name}",
            )
        if new.kind != "CNAME":
            for value in sorted({*new.values} - {*there.values}):
                self._do("create_record", new.ttl, new.kind, new.name, value)
            for item in self._listed(new.name, new.kind):
                if DnsRecord.of(new.name, new.kind, [item["content"]], 0).values[0] in new.values:
                    continue
                self._do("delete_record", new.ttl, item["id"], new.kind, new.name)
        if self.get(new.name, new.kind) != new:
            self._update(new)
        self._read_back(new)

    def _update(self, new: DnsRecord) -> None:
        """The one value and its TTL, in place."""
        for item in self._listed(new.name, new.kind):
            self._do("update_record", new.ttl, item["id"], new.kind, new.name, new.values[0])

    def _read_back(self, new: DnsRecord) -> None:
        seen = self.get(new.name, new.kind)
        if seen == new:
            return
        where = f"{self._provider}, zone {self.name}"
        what = f"{new.name} {new.kind} does not read back as it was written."
        if seen and changed(seen, ttl=new.ttl) == new:
            what = f"{self._provider} gives {new.name} a TTL of {seen.ttl} s in place of {new.ttl}."
            where = f"{where}; a least TTL may be the reason: name it in traffic.dns.ttl"
        raise Failed("dns-not-changed", what, where=where)

    def _listed(self, name: str, kind: str) -> list[dict[str, Any]]:
        found = self._do("list_records", 60, kind, name)
        return [item for item in found if str(item["name"]).lower().rstrip(".") == name]

    def _do(self, act: str, ttl: int, *words: str) -> Any:
        """One act with a client of its own: providers remember what they have read.  In a thread,
        since lexicon would wait for ever; what comes after the patience is read back later."""
        values = {key: self._secret(value) for key, value in self._options.items()}
        box: list[Any] = []

        def work() -> None:
            try:
                with _client(self._provider, self.name, values, ttl) as operations:
                    box.append(getattr(operations, act)(*words))
            except BaseException as error:  # noqa: BLE001 - raised again by who asked
                box.append(error)

        thread = threading.Thread(target=work, daemon=True, name="lexicon")
        thread.start()
        thread.join(_PATIENCE)
        result = box[0] if box else TimeoutError(f"no answer within {_PATIENCE:g} s")
        if isinstance(result, CrossfadeError):
            raise result
        if isinstance(result, BaseException):
            raise self._failed(result, values) from None
        return result

    def _failed(self, error: BaseException, values: Mapping[str, str]) -> Failed:
        """lexicon's providers raise what they like; its words without our secrets."""
        said = str(error) or type(error).__name__
        for key, value in values.items():
            if value and value != self._options[key]:
                said = said.replace(value, "***")
        where = f"{self._provider}, zone {self.name}: {type(error).__name__}: {said[:300]}"
        if any(word in f"{type(error).__name__} {said}".lower() for word in _KEY):
            what = f"{self._provider} does not accept the key of the zone {self.name}."
            return Failed("dns-key-refused", what, where=where)
        if isinstance(error, OSError):  # requests' errors are, besides the system's
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status is not None and status < 500:
                what = f"{self._provider} does not let us change the zone {self.name}: {status}."
                return Failed("dns-read-only", what, where=where)
            what = f"{self._provider} does not answer for the zone {self.name}."
            return Failed("dns-unreachable", what, where=where)
        what = f"{self._provider} did not do what was asked of the zone {self.name}."
        return Failed("dns-not-changed", what, where=where)


@contextmanager
def _client(provider: str, zone: str, values: Mapping[str, str], ttl: int) -> Iterator[Any]:
    """lexicon's operations on just this zone.  Nothing is read from the environment or files."""
    try:
        import lexicon.client as clients
        from lexicon.config import ConfigResolver
        from lexicon.exceptions import ProviderNotAvailableError
    except ImportError:
        raise UsageError(
            "dns-lexicon-missing",
            "The driver lexicon needs the package dns-lexicon, which is not installed.",
            where="traffic.dns.driver",
            next="install crossfade[lexicon], then: crossfade plan",
        ) from None
    place: Any = clients  # its own name for the library that guesses is no part of its interface
    guess, place.tldextract = place.tldextract, _told(zone)
    try:
        resolver: Any = ConfigResolver
        config = resolver().with_dict(
            {"provider_name": provider, "domain": zone, "ttl": ttl, provider: dict(values)}
        )
        client = clients.Client(config)
    except ProviderNotAvailableError as error:
        raise UsageError(
            "dns-lexicon-missing",
            str(error),
            where="traffic.dns.provider",
            next="install it, or edit crossfade.yaml, then: crossfade plan",
        ) from None
    finally:
        place.tldextract = guess
    with client as operations:
        yield operations


def _told(zone: str) -> SimpleNamespace:
    """Stands where lexicon's client looks for the library that guesses zones."""
    first, _, rest = zone.partition(".")
    told = SimpleNamespace(domain=first, suffix=rest)
    return SimpleNamespace(TLDExtract=lambda **_: lambda _domain: told)
