"""Where a text holds the address of a database on a server, and what each piece of it says.

Forms: URLs (also behind ``jdbc:``, and with a driver's name), with one host or several, in the
authority or in the query; lists of ``key=value`` as libpq, PDO and .NET have them; Go's form for
MySQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

__all__ = ["Found", "Part", "addresses"]

KINDS = {
    "postgres": ("postgres", "postgresql", "postgis", "pgsql", "psql", "ecto"),
    "mysql": ("mysql", "mysql2", "mariadb", "ecto"),
}
"""The names of schemes of each kind of server."""

_URL = re.compile(
    r"\b(?:(?:jdbc|r2dbc):)?(?P<kind>[a-z][a-z0-9]*)(?P<driver>(?:[+:][\w.]+)*)://"
    r"(?P<authority>[^/?#\s\"<>`]*)"
    r"(?:/(?P<name>[^?#;&|\s\"'<>`,)\]}]*))?(?:\?(?P<query>[^#\s\"'<>`]*))?",
    re.IGNORECASE,
)
_GO = re.compile(
    r"(?:(?P<user>[^\s:@/\"'=(]*)(?::(?P<password>[^\s\"']*))?@)?"
    r"tcp\((?P<hosts>[^()\s]*)\)/(?P<name>[^\s?\"'`,)\]}]*)"
)
_KEYS = {
    "host": "host",
    "server": "host",
    "data source": "host",
    "hostaddr": "hostaddr",
    "port": "port",
    "dbname": "name",
    "database": "name",
    "initial catalog": "name",
    "username": "user",
    "user id": "user",
    "user": "user",
    "uid": "user",
    "password": "password",
    "pwd": "password",
}
_PAIR = re.compile(
    rf"(?<![\w.-])(?P<key>{'|'.join(_KEYS)})[ \t]*=[ \t]*"
    r"(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>[^\s;'\"&]*))",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<plain>[^\[\]:()]*))(?::(?P<port>[0-9]*))?")

_BRACKETS = re.compile(r"\(host=([^()]*)\)(?:\(port=([0-9]*)\))?")
"""Connector/J's form of a host."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an address: its span, what it says, and how another value is written there."""

    start: int
    end: int
    value: str
    write: Callable[[str], str] = str


@dataclass(slots=True)
class Found:
    """An address in a text.

    form is url, alchemy (a URL that names a driver of Python's), go or pairs.  hosts are the hosts
    and ports that it names, a port None where it is left to its default; listed is the piece that
    they stand in, unless they are the values of keys.  A key of ``parts`` is host, hostaddr, port,
    name, user or password.  fixed says that it must not be rewritten.
    """

    form: str
    start: int
    end: int
    parts: dict[str, list[Part]] = field(default_factory=dict)
    listed: Part | None = None
    hosts: list[tuple[str, int | None]] = field(default_factory=list)
    fixed: bool = False

    def add(self, kind: str, part: Part) -> None:
        """Note a piece."""
        self.parts.setdefault(kind, []).append(part)

    def said(self, kind: str) -> str | None:
        """What its first piece of that kind says."""
        return self.parts[kind][0].value if kind in self.parts else None


def addresses(text: str, kind: str) -> list[Found]:
    """Every address of a database of that kind (postgres, mysql) in the text."""
    found = [_url(match) for match in _URL.finditer(text) if match["kind"].lower() in KINDS[kind]]
    if kind == "mysql":
        found += map(_go, _GO.finditer(text))
    if not found and "=" in text:
        found += _pairs(text)
    return found


def _quoted(value: str) -> str:
    return quote(value, safe="")


def _url(match: re.Match[str]) -> Found:
    form = "alchemy" if match["driver"].startswith("+") else "url"
    found = Found(form, match.start(), match.end())
    authority, at = match["authority"], match.start("authority")
    userinfo, sign, hosts = authority.rpartition("@")
    if sign:
        user, colon, password = userinfo.partition(":")
        found.add("user", Part(at, at + len(user), unquote(user), _quoted))
        if colon:
            start = at + len(user) + 1
            part = Part(start, at + len(userinfo), unquote(password), _quoted)
            found.add("password", part)
    begin = match.end("authority") - len(hosts)
    found.listed = Part(begin, match.end("authority"), hosts)
    if match["name"]:
        part = Part(match.start("name"), match.end("name"), unquote(match["name"]), _quoted)
        found.add("name", part)
    for pair in re.finditer(r"([^=&]+)=([^&]*)", match["query"] or ""):
        word = _KEYS.get(pair[1].lower())
        if word:
            start = match.start("query") + pair.start(2)
            part = Part(start, start + len(pair[2]), unquote(pair[2]), _quoted)
            found.add(word, part)
    if hosts:
        _list(found, hosts)
    else:
        _hosts_of_keys(found)
    return found


def _go(match: re.Match[str]) -> Found:
    found = Found("go", match.start(), match.end())
    for kind in ("user", "password", "name"):
        if match[kind] is not None:
            found.add(kind, Part(*match.span(kind), match[kind]))
    found.listed = Part(*match.span("hosts"), match["hosts"])
    _list(found, match["hosts"])
    return found


def _pairs(text: str) -> Iterator[Found]:
    matches = list(_PAIR.finditer(text))
    if not matches:
        return
    found = Found("pairs", matches[0].start(), matches[-1].end())
    for match in matches:
        word = _KEYS[match["key"].lower()]
        if match["quoted"] is not None:
            value = re.sub(r"\\(.)", r"\1", match["quoted"])
            part = Part(match.start("quoted") - 1, match.end("quoted") + 1, value, _in_quotes)
        else:
            part = Part(*match.span("plain"), match["plain"], _in_pairs)
        found.add(word, part)
    found.fixed = any(len(parts) > 1 for parts in found.parts.values())
    _hosts_of_keys(found)
    yield found


def _in_quotes(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _in_pairs(value: str) -> str:
    return value if re.fullmatch(r"[^\s;'\"\\]+", value) else _in_quotes(value)


def _list(found: Found, hosts: str) -> None:
    """Hosts that stand in one piece, each perhaps with a port."""
    for one in hosts.split(","):
        match = _HOST.fullmatch(one)
        if match is None:
            found.fixed = True
            found.hosts += [(host, int(port or 0) or None) for host, port in _BRACKETS.findall(one)]
            continue
        host = match["six"] or unquote(match["plain"])
        found.hosts.append((host, int(match["port"]) if match["port"] else None))


def _hosts_of_keys(found: Found) -> None:
    """Hosts that are the values of keys: a list of them, or one with its port in each key."""
    found.fixed = found.fixed or "hostaddr" in found.parts
    parts = found.parts.get("host", []) + found.parts.get("hostaddr", [])
    hosts = [host for part in parts for host in part.value.split(",")]
    ports = (found.said("port") or "").split(",")
    for index, text in enumerate(hosts):
        match = _HOST.fullmatch(text)
        port = ports[index] if index < len(ports) else ports[-1]
        if match is None:  # an IPv6 address without brackets, in a key of its own
            found.hosts.append((text, int(port) if port.isdigit() else None))
        else:
            port = match["port"] or port
            host = match["six"] or match["plain"]
            found.hosts.append((host, int(port) if port.isdigit() else None))
