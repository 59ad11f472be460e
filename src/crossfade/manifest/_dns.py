"""What the manifest says of names in the DNS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossfade.manifest._secrets import is_reference
from crossfade.manifest._spec import DnsSpec, NameSpec
from crossfade.ports import DnsRecord
from crossfade.recipes import is_secret_name
from crossfade.recipes._yaml import Keys

__all__ = ["dns_complaints", "dns_spec"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OURS = ("driver", "zone", "names", "ttl", "patience", "stragglers")
_NEEDED = {
    "rfc2136": ("server", "key"),
    "powerdns": ("api", "api_key"),
    "lexicon": ("provider", "options"),
}
_PLACE: Keys = ("traffic", "dns")


def dns_spec(data: Mapping[str, Any]) -> DnsSpec:
    """The values; what does not hold is complained about by ``dns_complaints``."""
    stragglers = str(data.get("stragglers", "24h"))
    return DnsSpec(
        driver=data["driver"],
        zone=_plain(data["zone"]),
        names=tuple(_name(item) for item in data["names"]),
        options={key: value for key, value in data.items() if key not in _OURS},
        ttl=data.get("ttl", 60),
        patience=float(data.get("patience", 300)),
        stragglers=float(int(stragglers[:-1]) * _UNITS[stragglers[-1]]),
    )


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _name(item: Mapping[str, Any]) -> NameSpec:
    kind = item.get("type", "A")
    old, new = (_values(item, kind, key) for key in ("old", "new"))
    return NameSpec(_plain(item["name"]), kind, old, new)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _values(item: Mapping[str, Any], kind: str, key: str) -> tuple[str, ...]:
    try:
        return DnsRecord.of(item["name"], kind, _listed(item[key]), 0).values
    except ValueError:
        return tuple(_listed(item[key]))


def dns_complaints(document: Any) -> Iterator[tuple[Keys, str]]:
    """What is wrong with ``traffic.dns``, by its keys."""
    data = document["traffic"].get("dns")
    if data is None:
        return
    driver = data["driver"]
    for needed in _NEEDED.get(driver, ()):
        if needed not in data:
            yield (*_PLACE, "driver"), f"{driver} needs {needed}"
    others = {key for keys in _NEEDED.values() for key in keys} - {"server"}
    for key in sorted(others - {*_NEEDED.get(driver, others)}):
        if key in data:
            yield (*_PLACE, key), f"is not for {driver}"
    for key, value in data.get("options", {}).items():
        if is_secret_name(key) and not is_reference(value):
            text = "secrets by reference (file:, env:), never by value"
            yield (*_PLACE, "options", key), text
    yield from _name_complaints(data, driver)


def _name_complaints(data: Any, driver: str) -> Iterator[tuple[Keys, str]]:
    zone, seen = _plain(data["zone"]), dict[tuple[str, str], int]()
    for index, item in enumerate(data["names"]):
        place: Keys = (*_PLACE, "names", index)
        name, kind = _plain(item["name"]), item.get("type", "A")
        if name != zone and not name.endswith(f".{zone}"):
            yield (*place, "name"), f"is not in the zone {zone}"
        if (name, kind) in seen:
            yield (*place, "name"), f"is traffic.dns.names.{seen[name, kind]} too"
        if kind == "CNAME" and name == zone:
            yield (*place, "type"), "a zone's own name cannot be a CNAME"
        seen.setdefault((name, kind), index)
        for key in ("old", "new"):
            try:
                DnsRecord.of(name, kind, _listed(item[key]), 0)
            except ValueError as error:
                yield (*place, key), str(error)
            if driver == "lexicon" and len(_listed(item[key])) > 1:
                yield (*place, key), "must be one value: lexicon changes no more at once"
        if _values(item, kind, "old") == _values(item, kind, "new"):
            yield (*place, "new"), "is the same as old"
