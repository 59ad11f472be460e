"""Upstream addresses in a web server's configuration: where they stand, and what they name.

Texts are latin-1, so that every byte is one character and stays what it is.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crossfade.model import Address

__all__ = ["Place", "named_in", "names", "replaced"]

_UPSTREAM = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?:[^@/?#\s]*@)?"
    r"(?P<name>(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)?(?::(?P<port>[0-9]{1,5}))?)"
    r"(?=[/?#$%*\s]|$)",
    re.IGNORECASE,
)
_PORTS = {"https": 443, "wss": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """One upstream in a file: ``text[start:end]`` is its host and port.

    scheme is empty where none is written; what is the directive; group is one for those among
    which the server chooses for each request, -1 for one alone."""

    start: int
    end: int
    text: str
    address: Address
    scheme: str
    what: str
    group: int = -1


def named_in(
    word: str, at: int, what: str, *, group: int = -1, hostless: bool = False
) -> Place | None:
    """The upstream that a word of the configuration begins with; ``at`` is where it stands.

    ``hostless``: ``:8080`` means this machine.  None for a word that is no address."""
    found = _UPSTREAM.match(word)
    if not found or not found["name"] or (not found["host"] and not hostless):
        return None
    scheme = (found["scheme"] or "").lower()
    if found["port"] is None and not scheme and not re.search(r"[.\]]|^localhost$", found["name"]):
        return None  # a plain word: the name of a group, an option
    port = int(found["port"] or _PORTS.get(scheme, 80))
    if not 1 <= port <= 65535:
        return None
    host = (found["host"] or "127.0.0.1").strip("[]")
    start, end = (at + position for position in found.span("name"))
    return Place(start, end, found["name"], Address(host, port), scheme, what, group)


def names(one: Address, other: Address) -> bool:
    """Whether two addresses are one: host names stand for what they lead to."""
    if one.port != other.port:
        return False
    return one.host.lower() == other.host.lower() or bool(_leads(one.host) & _leads(other.host))


@lru_cache(maxsize=256)
def _leads(host: str) -> frozenset[str]:
    try:
        return frozenset((str(ipaddress.ip_address(host)),))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(one[4][0]) for one in found)


def replaced(text: str, places: Iterable[Place], by: Sequence[str]) -> str:
    """The text with these words in these places, in their order (a single word goes into all of
    them), and the same everywhere else."""
    out, at = [], 0
    for number, place in enumerate(sorted(places, key=lambda place: place.start)):
        out += [text[at : place.start], by[number] if len(by) > 1 else by[0]]
        at = place.end
    return "".join((*out, text[at:]))
