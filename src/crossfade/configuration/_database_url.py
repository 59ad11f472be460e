"""Make addresses of the old side's database in a text those of the new side's.

Only what is the old side's is replaced, in its place: driver, options and all other characters
stay.  An address is the old side's when all of its hosts and its database's name are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from crossfade.configuration._database_forms import Found, addresses
from crossfade.model import Address

__all__ = ["LOOPBACK", "Database", "file_of", "moved", "moved_file", "named"]

_PORTS = {"postgres": 5432, "mysql": 3306}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_FILE = re.compile(
    r"\b(?:(?:jdbc:)?(?:sqlite3?|spatialite)(?:\+\w+)?:///|(?:jdbc:)?sqlite3?:(?!//)"
    r"|file:(?://)?(?=/))(?P<path>[^?;\n\"']+)"
)

_WITH_PORTS = re.compile(r"(?:(?:\[[^\]]*\]|[^:,]*):[0-9]+,?)+")

Replacement = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Database:
    """The database of one side on a server: kind is postgres or mysql, addresses all the places
    where the application reaches it."""

    kind: str
    addresses: tuple[Address, ...]
    name: str
    user: str
    password: str = field(default="", repr=False)

    @property
    def port(self) -> int:
        """The port of an address that names none."""
        return _PORTS[self.kind]


def moved(text: str, old: Database, new: Database) -> str | None:
    """``text`` with every address of the old side's database made the new side's; None where there
    is none."""
    ours = [found for found in addresses(text, old.kind) if not found.fixed and _all_of(found, old)]
    if not ours:
        return None
    replacements = [each for found in ours for each in _replacements(text, found, old, new)]
    for start, end, piece in sorted(set(replacements), reverse=True):
        text = text[:start] + piece + text[end:]
    return text


def named(text: str, database: Database) -> bool:
    """Whether an address in ``text`` leads to this database: by one of its hosts, or by a socket
    of this machine, where the database is on it; also in a form that nobody knows."""
    if any(
        found.said("name") == database.name
        and (any(_is(host, database) for host in found.hosts) or _by_socket(found, database))
        for found in addresses(text, database.kind)
    ):
        return True
    return any(_unknown_form(address, database.name).search(text) for address in database.addresses)


def file_of(text: str) -> str:
    """The path in the address of a database in a file; any other text as it is."""
    found = _FILE.match(text)
    return found["path"] if found else text


def moved_file(text: str, move: Callable[[str], str | None]) -> str | None:
    """``text`` with the path in the address of a database in a file moved; None without such an
    address, or where ``move`` gives None: the path stays."""
    found = _FILE.match(text)
    if found is None or found["path"].startswith(":"):
        return None
    path = move(found["path"])
    return None if path is None else text[: found.start("path")] + path + text[found.end("path") :]


def _unknown_form(address: Address, name: str) -> re.Pattern[str]:
    host, port = (re.escape(part) for part in str(address).rsplit(":", 1))
    behind = rf"/{re.escape(name)}(?![\w-])"
    return re.compile(rf"(?:@{host}(?::{port})?|(?<![\w.-]){host}:{port}){behind}", re.IGNORECASE)


def _is(host: tuple[str, int | None], database: Database) -> bool:
    name, port = host
    return any(
        _alike(name, address.host) and (port or database.port) == address.port
        for address in database.addresses
    )


def _alike(one: str, two: str) -> bool:
    one, two = one.lower(), two.lower()
    return one == two or (one in LOOPBACK and two in LOOPBACK)


def _all_of(found: Found, database: Database) -> bool:
    return (
        found.said("name") == database.name
        and bool(found.hosts)
        and all(_is(host, database) for host in found.hosts)
    )


def _by_socket(found: Found, database: Database) -> bool:
    said = found.said("port") or ""
    port = int(said) if said.isdigit() else database.port
    near = any(_alike(one.host, "localhost") and one.port == port for one in database.addresses)
    return near and all(not host or host.startswith("/") for host, _ in found.hosts)


def _replacements(text: str, found: Found, old: Database, new: Database) -> list[Replacement]:
    """The spans that change, and what is to stand there."""
    result = []
    for kind, before, after in (
        ("name", old.name, new.name),
        ("user", old.user, new.user),
        ("password", old.password, new.password),
    ):
        result += [
            (part.start, part.end, part.write(after))
            for part in found.parts.get(kind, [])
            if before and part.value == before != after
        ]
    if old.addresses != new.addresses:
        if found.listed is not None and found.listed.value:
            result += _listed(text, found, new)
        else:
            result += _of_keys(text, found, new)
    return result


def _listed(text: str, found: Found, new: Database) -> list[Replacement]:
    """Hosts that stand in one piece, each with its port."""
    assert found.listed  # noqa: S101 - asked before
    bare = all(port is None for _, port in found.hosts)
    one = len(new.addresses) == 1
    if one and bare and new.addresses[0].port == new.port:
        host = new.addresses[0].host
        hosts = f"[{host}]" if ":" in host else host
    else:
        hosts = ",".join(map(str, new.addresses))
    if one or found.form != "alchemy":
        return [(found.listed.start, found.listed.end, hosts)]
    keys = "&".join(f"host={address}" for address in new.addresses)
    sign = "&" if "?" in text[found.start : found.end] else "?"
    return [(found.listed.start, found.listed.end, ""), (found.end, found.end, sign + keys)]


def _of_keys(text: str, found: Found, new: Database) -> list[Replacement]:
    """Hosts that are the values of keys."""
    first, *more = found.parts["host"]
    with_ports = _WITH_PORTS.fullmatch(first.value)
    if with_ports or more:  # SQLAlchemy's: a key for each host
        hosts = "&host=".join(map(str, new.addresses))
        gone = [(text.rindex("&", 0, part.start), part.end, "") for part in more]
        return [(first.start, first.end, hosts), *gone]
    hosts = ",".join(address.host for address in new.addresses)
    ports = ",".join(str(address.port) for address in new.addresses)
    result = [(first.start, first.end, first.write(hosts) if "," not in hosts else hosts)]
    if "port" in found.parts:
        part = found.parts["port"][0]
        return [*result, (part.start, part.end, ports)]
    if any(address.port != new.port for address in new.addresses):
        between = " " if found.form == "pairs" and ";" not in text else "&"
        between = ";" if found.form == "pairs" and ";" in text else between
        result = [(first.start, first.end, f"{result[0][2]}{between}port={ports}")]
    return result
