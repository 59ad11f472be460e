"""Our few lines put into haproxy.cfg, and taken out again, as functions of its text.

All that we add stands between two marks, and the one line that we replace stays there as a comment.
So taking it out needs nothing but the text, and gives back every byte, whatever else an operator
has changed meanwhile.

Source: HAProxy 2.6 Configuration Manual, sections 4.2 (use-server, http-request) and 5.2 (servers).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

from crossfade.drivers.traffic._haproxy_config import Config, Section, words_of
from crossfade.errors import Refused
from crossfade.model import Address, Side

__all__ = ["KINDS", "install", "installed", "remove", "retarget"]

KINDS = ("", "_ws")
"""Every side has two servers: for requests, and for those that become tunnels."""
_OWN_ARGUMENT = """inter fastinter downinter rise fall port addr cookie weight observe on-error
on-marked-down on-marked-up track slowstart id init-state check-alpn check-sni check-proto
agent-addr agent-port agent-inter agent-send error-limit"""
_NO_ARGUMENT = """check no-check backup disabled enabled check-ssl no-check-ssl check-send-proxy
no-check-send-proxy check-via-socks4 agent-check no-agent-check"""
_DROPPED = frozenset(_NO_ARGUMENT.split())
_DROPPED_WITH_ARGUMENT = frozenset(_OWN_ARGUMENT.split())
_CANNOT = {
    "cookie": "its cookies send clients to a server past the gate",
    "stick": "its stick table sends clients to a server past the gate",
    "persist": "it sends clients to a server past the gate",
    "use-server": "its own use-server rules decide before the gate",
    "server-template": "its servers are not written down",
    "dispatch": "it has no servers",
}


def installed(text: str, backend: str) -> bool:
    """Whether our lines for a backend are in it."""
    return any(line.strip() == _end(backend) for line in text.splitlines())


def install(
    text: str, backend: str, old: Address, new: Address, *, script: Path, runtime: Path
) -> str:
    """With our lines.  Raises Refused, where the backend cannot be held."""
    config = Config(text)
    section = config.backend(backend)
    number, words = _server(config, section, old)
    indent = config.lines[number][: len(config.lines[number]) - len(config.lines[number].lstrip())]
    options = _kept(words[3:])
    unsafe = "!{ method GET HEAD OPTIONS TRACE } { status 200:399 }"
    block = [
        f"{indent}#: {config.lines[number]}",
        f"{indent}http-request lua.crossfade.{backend}\n",
        f"{indent}http-response lua.crossfade-wrote.{backend} if {unsafe}\n",
    ]
    for side in Side:
        name, goes = f"crossfade_{side}", f"{{ var(txn.crossfade) -m str {side} }}"
        block.append(
            f"{indent}use-server {name}_ws if {goes} {{ method GET }} {{ hdr(Upgrade) -m found }}\n"
        )
        block.append(f"{indent}use-server {name} if {goes}\n")
    for side, address in ((Side.OLD, words[2]), (Side.NEW, str(new))):
        block += [
            f"{indent}server crossfade_{side}{kind} {address} {options}weight 0 no-check\n"
            for kind in KINDS
        ]
    lines = list(config.lines)
    lines[number : number + 1] = _marked(indent, backend, block)
    return "".join(_with_global(lines, config, backend, script, runtime))


def remove(text: str, backend: str, to: Address) -> str:
    """Without our lines: byte for byte as before, but that the server is at ``to``."""
    out: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        if stripped in (_begin(backend), _end(backend)):
            inside = stripped == _begin(backend)
        elif not inside:
            out.append(line)
        elif stripped.startswith("#: "):
            original = line[line.index("#: ") + 3 :]
            there = _same(words_of(original)[2], to)
            out.append(original if there else _aimed(original, str(to)))
    return "".join(out)


def retarget(text: str, backend: str, targets: Mapping[Side, Address]) -> str:
    """With other addresses in our servers' lines."""
    out, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.strip() in (_begin(backend), _end(backend)):
            inside = line.strip() == _begin(backend)
        words = words_of(line)
        if inside and words[:1] == ["server"]:
            side = Side(words[1].removeprefix("crossfade_").removesuffix("_ws"))
            line = _aimed(line, str(targets[side]))
        out.append(line)
    return "".join(out)


def _same(one: str, two: Address) -> bool:
    """Whether an address in the configuration is a side's address."""
    try:
        address = Address.parse(re.sub(r"^ipv[46]@", "", one))
    except ValueError:
        return False
    return address.port == two.port and bool(_ips(address.host) & _ips(two.host))


def _ips(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}


def _server(config: Config, section: Section, old: Address) -> tuple[int, list[str]]:
    """The one server line of a backend, which names the old side.  Raises Refused."""
    where = f"backend {section.name}, line "
    if config.mode(section) != "http":
        raise _cannot(
            f"its mode is {config.mode(section)}, and only HTTP has requests", where, section
        )
    servers = []
    for number, words in config.body(section):
        if words[0] == "server":
            servers.append((number, words))
        elif reason := _CANNOT.get(words[0]):
            raise Refused(
                "haproxy-cannot-hold",
                f"The backend {section.name} cannot be held: {reason}.",
                where=f"{where}{number + 1}: {' '.join(words)}",
            )
    mine = [found for found in servers if len(found[1]) > 2 and _same(found[1][2], old)]
    if not mine:
        there = ", ".join(words[2] for _, words in servers if len(words) > 2) or "no server"
        raise Refused(
            "haproxy-old-side-missing",
            f"The backend {section.name} does not lead to the old side at {old}, but to {there}.",
            where=f"{where}{section.start + 1}",
        )
    if len(servers) > 1:
        raise _cannot(
            f"it has {len(servers)} servers, and an upgrade has one old side", where, section
        )
    _must_be_only_way(config, section, mine[0][0], old)
    return mine[0]


def _must_be_only_way(config: Config, section: Section, line: int, old: Address) -> None:
    """Nothing else leads to the old side but this line.  Raises Refused."""
    for other in config.sections:
        for number, words in config.body(other):
            if number == line or words[0] != "server" or len(words) < 3:
                continue
            if _same(words[2], old):
                raise Refused(
                    "haproxy-cannot-hold",
                    f"Another way leads to the old side at {old} past the backend "
                    f"{section.name}: {other.kind} {other.name}.",
                    where=f"line {number + 1}: {' '.join(words)}",
                )


def _cannot(reason: str, where: str, section: Section) -> Refused:
    return Refused(
        "haproxy-cannot-hold",
        f"The backend {section.name} cannot be held: {reason}.",
        where=f"{where}{section.start + 1}",
    )


def _kept(options: list[str]) -> str:
    """The options of a server that our own servers keep: none of checks, weights and cookies.

    With a check the new side's server would be down for seconds after it came up."""
    kept: list[str] = []
    words = iter(options)
    for word in words:
        if word in _DROPPED_WITH_ARGUMENT:
            next(words, None)
        elif word not in _DROPPED:
            kept.append(word)
    return "".join(f"{word} " for word in kept)


def _with_global(
    lines: list[str], config: Config, backend: str, script: Path, runtime: Path
) -> list[str]:
    block = [f"    lua-load {script}\n"]
    sockets = [words for words in config.globally("stats", "socket") if len(words) > 2]
    ours = [words for words in sockets if words[2].removeprefix("unix@") == str(runtime)]
    if ours and not any("admin" in words for words in ours):
        raise Refused(
            "haproxy-socket-level",
            f"HAProxy's socket {runtime} has not the level that is needed.",
            where=" ".join(ours[0]),
            next="edit that line to have: level admin",
        )
    if not ours:
        block.append(f"    stats socket {runtime} mode 600 level admin\n")
    heads = [section.start for section in config.sections if section.kind == "global"]
    if not heads:  # in a mark of its own, the heading too
        return [*_marked("", backend, ["global\n", *block]), *lines]
    at = heads[0] + 1
    return [*lines[:at], *_marked("    ", backend, block), *lines[at:]]


def _marked(indent: str, backend: str, block: list[str]) -> list[str]:
    return [f"{indent}{_begin(backend)}\n", *block, f"{indent}{_end(backend)}\n"]


def _begin(backend: str) -> str:
    return f"# crossfade {backend}: begin (taken out by: crossfade gate remove)"


def _end(backend: str) -> str:
    return f"# crossfade {backend}: end"


def _aimed(line: str, address: str) -> str:
    return re.sub(r"^(\s*server\s+\S+\s+)\S+", lambda found: found[1] + address, line)
