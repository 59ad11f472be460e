"""What the manifest's schema cannot say: addresses, places that overlap, secrets, placeholders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from crossfade.manifest._addresses import HOST_AND_PORT, clash
from crossfade.manifest._dns import dns_complaints
from crossfade.manifest._front import front_complaints
from crossfade.manifest._images import is_pinned
from crossfade.manifest._machine import PLACE, of_side
from crossfade.manifest._own import own_complaints
from crossfade.manifest._secrets import holds_userinfo, is_reference
from crossfade.manifest._spec import HostSpec, Manifest, SideSpec
from crossfade.manifest._traffic import traffic_complaints
from crossfade.model import Address
from crossfade.recipes import is_secret_name
from crossfade.recipes._load import placeholder_complaints
from crossfade.recipes._yaml import Complaint, Document, Keys, dotted

__all__ = ["rule_complaints"]

_ADDRESSES: tuple[Keys, ...] = (
    ("old", "address"),
    ("new", "address"),
    ("new", "rehearsal", "address"),
    ("traffic", "listen"),
)
_SECRET_HEADERS = frozenset(("authorization", "cookie", "proxy-authorization"))
_REFERENCE = "secrets by reference (file:, env:), never by value"

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*\Z")

Place = tuple[str, Keys, Path, HostSpec]
"""Whose it is (old, new, rehearsal), the key that says it, the real path, and its machine."""


def rule_complaints(document: Document, manifest: Manifest) -> list[Complaint]:
    """Everything that is wrong beyond the schema, in the order of the file."""
    found = [
        *_version_complaints(document),
        *_address_complaints(document),
        *_place_complaints(document, manifest),
        *_backup_complaints(document, manifest),
        *(_complaint(document, keys, text) for keys, text in _database_complaints(manifest)),
        *(_complaint(document, keys, text) for keys, text in dns_complaints(document.data)),
        *(
            _complaint(document, *one)
            for one in own_complaints(_value(document, ()), manifest.recipe)
        ),
        *(
            _complaint(document, *found)
            for found in traffic_complaints(document.data, manifest.recipe)
        ),
        *_secret_complaints(document),
        *_name_complaints(document),
        *(_complaint(document, keys, text) for keys, text in front_complaints(document)),
        *placeholder_complaints(document),
    ]
    return sorted(found, key=lambda complaint: complaint.line)


def _version_complaints(document: Document) -> Iterator[Complaint]:
    """A version that YAML reads as a number is taken as written, so it is looked at as written."""
    for keys in (("old", "version"), ("new", "version")):
        if not _VERSION.match(document.raw[keys]):
            yield _complaint(document, keys, "must be a version, such as 1.100.0")


def _address_complaints(document: Document) -> Iterator[Complaint]:
    seen: list[tuple[Keys, Address]] = []
    for keys in _ADDRESSES:
        try:
            address = Address.parse(of_side(_at(document, keys), str(keys[0])))
        except ValueError:
            yield _complaint(document, keys, HOST_AND_PORT.format("127.0.0.1:8001"))
            continue
        for other, taken in seen:
            if clash(address, taken):
                yield _complaint(document, keys, f"is the same address as {dotted(other)}")
        seen.append((keys, address))


def _database_complaints(manifest: Manifest) -> Iterator[tuple[Keys, str]]:
    """No two sides share a database, and each has an address that holds."""
    seen: dict[tuple[str, Address, str], str] = {}
    sides: dict[Keys, SideSpec] = {("old",): manifest.old, ("new",): manifest.new}
    sides[("new", "rehearsal")] = manifest.rehearsal
    for keys, side in sides.items():
        for name, endpoint in side.databases.items():
            place = (*keys, "databases", name, "url")
            if endpoint.address.port == 1 or not endpoint.address.host:
                yield place, "must have host:port with a port from 1 to 65535"
            mark = (endpoint.kind, endpoint.address, endpoint.database)
            if mark in seen:
                yield place, f"is the same database as {seen[mark]}"
            seen[mark] = ".".join(map(str, place[:-1]))


def _place_complaints(document: Document, manifest: Manifest) -> Iterator[Complaint]:
    places = [
        *_places("old", ("old",), manifest.old),
        *_places("new", ("new",), manifest.new),
        *_places("rehearsal", ("new", "rehearsal"), manifest.rehearsal),
    ]
    for one, two in combinations(places, 2):
        if one[3] != two[3]:
            continue
        relation = _relation(two[2], one[2])
        if relation and not _harmless(one, two, relation):
            yield _complaint(document, two[1], f"is {relation} {dotted(one[1])}")
    yield from _far_place_complaints(document, manifest)
    yield from _unit_place_complaints(document, manifest)
    here = [place[:3] for place in places if place[3].driver == "local"]
    state = _real(manifest.state, HostSpec())
    for _, keys, path in here:
        relation = _relation(state, path)
        if relation in ("the same directory as", "inside"):
            yield _complaint(document, ("state",), f"is {relation} {dotted(keys)}")
    mine = manifest.backup.host
    kept, beside = _real(manifest.backup.place, mine), mine.driver == "local"
    for _, keys, path in (place[:3] for place in places if place[3] == mine):
        relation = _relation(kept, path)
        fine = beside and state.is_relative_to(path)
        if relation in ("the same directory as", "inside") and not fine:
            yield _complaint(document, ("backup", "place"), f"is {relation} {dotted(keys)}")
    for name, side in (("old", manifest.old), ("new", manifest.new)):
        log = _real(side.service.log, HostSpec())
        for owner, keys, path in here:
            if owner not in (name, "rehearsal" if name == "new" else name) and _inside(log, path):
                yield _complaint(document, (name, "service", "log"), f"is inside {dotted(keys)}")


def _backup_complaints(document: Document, manifest: Manifest) -> Iterator[Complaint]:
    """The place on another machine, which outlives the upgrade."""
    data: Any = document.data
    said, host = data.get("backup", {}), manifest.backup.host
    if host.driver == "local":
        return
    place: Keys = ("backup", "host")
    if host.driver != "ssh":
        yield _complaint(document, place, "must be this machine, or one that is reached by ssh")
    elif host.provision is not None:
        text = "is a machine that an upgrade makes, and that would go with the backups on it"
        yield _complaint(document, place, text)
    if not str(said.get("place", "")).startswith("/"):
        text = "needs an absolute path on that machine as backup.place"
        yield _complaint(document, ("backup", "place") if "place" in said else place, text)


def _places(owner: str, keys: Keys, side: SideSpec) -> list[Place]:
    named: dict[str, Path] = {"data": side.data, "config": side.config}
    if owner != "rehearsal":  # its program is the new side's
        named = {"root": side.root, **named}
    return [
        (owner, (*keys, name), _real(path, side.host), side.host) for name, path in named.items()
    ]


def _far_place_complaints(document: Document, manifest: Manifest) -> Iterator[Complaint]:
    """Paths of another machine count from nowhere here."""
    sides: dict[Keys, SideSpec] = {("old",): manifest.old, ("new",): manifest.new}
    for keys, side in sides.items():
        written = _value(document, keys)
        yield from _host_complaints(document, keys, side)
        if side.host.driver == "local":
            continue
        for name in ("root", "data", "config"):
            if name in written and not str(written[name]).startswith("/"):
                text = "must be absolute: it is on another machine"
                yield _complaint(document, (*keys, name), text)
        if side.service.driver == "process":
            text = "is for programs of this machine; on others: systemd, or docker in a container"
            yield _complaint(document, (*keys, "service", "driver"), text)


def _unit_place_complaints(document: Document, manifest: Manifest) -> Iterator[Complaint]:
    """Paths that stand in a unit that we write."""
    for keys, side in ((("new",), manifest.new), (("new", "rehearsal"), manifest.rehearsal)):
        for name in ("root", "data", "config"):
            path = str(getattr(side, name))
            odd = path != path.strip() or len(path.splitlines()) != 1 or path.endswith("\\")
            if odd and side.service.driver == "systemd" and name in _value(document, keys):
                text = "has a line break, a space at its end or a backslash there: no unit takes it"
                yield _complaint(document, (*keys, name), text)


_OF_CONTAINERS = ("socket", "image", "listens", "mounts", "command", "compose", "fresh")


def _host_complaints(document: Document, keys: Keys, side: SideSpec) -> Iterator[Complaint]:
    """A mapping is for one kind of machine, and says what that kind needs."""
    written = _value(document, keys).get("host", "local")
    yield from _placeless_complaints(document, keys, side)
    if (side.service.driver == "docker") != (side.host.driver == "docker"):
        text = "must be docker in a container, and only there"
        yield _complaint(document, (*keys, "service", "driver"), text)
    if not isinstance(written, dict):
        return
    place: Keys = (*keys, "host")
    if ("ssh" in written) == ("docker" in written):
        yield _complaint(document, place, "must have either ssh or docker")
        return
    if side.host.destination == "local":
        text = "is what this machine is called: give another name"
        yield _complaint(document, (*place, side.host.driver), text)
    wrong = ("sudo", "config", "provision") if "docker" in written else _OF_CONTAINERS
    yield from (
        _complaint(document, (*place, key), f"is not for {side.host.driver}")
        for key in wrong
        if key in written
    )
    yield from _provision_complaints(document, place, written)
    if "docker" not in written:
        return
    if keys == ("new",) and not is_pinned(side.host.image):
        text = "must name the new image by digest, id or a tag that is not latest"
        yield _complaint(document, (*place, "image") if "image" in written else place, text)
    for path, source in side.host.mounts:
        if not path.startswith("/") or not source:
            text = "must be a volume's name or a directory, by an absolute path in the container"
            yield _complaint(document, (*place, "mounts", path), text)


def _provision_complaints(
    document: Document, place: Keys, written: dict[str, Any]
) -> Iterator[Complaint]:
    """A machine that is made is reached where its provisioner says, and by no other name: so what
    is removed one day is what was made."""
    given = written.get("provision")
    if given is None or "docker" in written:
        return
    if PLACE not in written["ssh"]:
        text = f"must have {PLACE} in it: the address that the provisioner gives"
        yield _complaint(document, (*place, "ssh"), text)
    if "container" not in given:
        return
    for key in ("create", "destroy"):
        if key in given:
            yield _complaint(document, (*place, "provision", key), "is not for a container")
    if not is_pinned(given["container"]["image"]):
        text = "must name the image by digest, id or a tag that is not latest"
        yield _complaint(document, (*place, "provision", "container", "image"), text)


def _placeless_complaints(document: Document, keys: Keys, side: SideSpec) -> Iterator[Complaint]:
    """The placeholder stands for nothing where no machine is made."""
    if side.host.provision is not None:
        return
    own: tuple[Keys, ...] = (keys, (*keys, "rehearsal")) if keys == ("new",) else (keys,)
    for place in own:
        written = _value(document, place)
        for name in ("address", "host"):
            if PLACE in str(written.get(name, "")):
                text = f"has {PLACE}, which stands for a machine that host.provision makes"
                yield _complaint(document, (*place, name), text)


def _harmless(one: Place, two: Place, relation: str) -> bool:
    """Within one side, data and configuration may share a directory or be nested; and the old
    side's program may stand anywhere among its own data, since it stays as it is."""
    if one[0] != two[0]:
        return False
    return one[0] == "old" or "root" not in (one[1][-1], two[1][-1])


def _relation(path: Path, other: Path) -> str:
    if path == other:
        return "the same directory as"
    if _inside(path, other):
        return "inside"
    return "around" if _inside(other, path) else ""


def _inside(path: Path, other: Path) -> bool:
    return path.is_relative_to(other)


def _real(path: Path, host: HostSpec) -> Path:
    return Path(os.path.realpath(path)) if host.driver == "local" else path


def _secret_complaints(document: Document) -> Iterator[Complaint]:
    data: Any = document.data
    for name in ("old", "new"):
        for key, value in data[name].get("service", {}).get("environment", {}).items():
            literal = is_secret_name(key) and not is_reference(value)
            if literal or holds_userinfo(value):
                keys: Keys = (name, "service", "environment", key)
                yield _complaint(document, keys, _REFERENCE)
    for index, check in enumerate(data.get("checks", ())):
        for key, value in check.get("headers", {}).items():
            secret = key.lower() in _SECRET_HEADERS or is_secret_name(key)
            if (secret and not is_reference(value)) or holds_userinfo(value):
                yield _complaint(document, ("checks", index, "headers", key), _REFERENCE)


def _name_complaints(document: Document) -> Iterator[Complaint]:
    data: Any = document.data
    seen: dict[str, int] = {}
    for index, check in enumerate(data.get("checks", ())):
        if check["name"] in seen:
            text = f"is the name of checks.{seen[check['name']]} too"
            yield _complaint(document, ("checks", index, "name"), text)
        seen.setdefault(check["name"], index)


def _complaint(document: Document, keys: Keys, text: str) -> Complaint:
    return Complaint(document.line(keys), dotted(keys), text)


def _at(document: Document, keys: Keys) -> str:
    return str(_value(document, keys))


def _value(document: Document, keys: Keys) -> Any:
    value: Any = document.data
    for key in keys:
        value = value[key]
    return value
