"""Who listens at a TCP address, from the kernel's own tables: this machine's, or those read from
another one."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from crossfade.drivers import sockdiag
from crossfade.model import Address

__all__ = ["IPAddress", "inodes_at", "ip_of", "listener", "listening_pids", "sockets"]

_LISTEN: Final = "0A"
_PROC: Final = Path("/proc")
_TABLES: Final = ("net/tcp", "net/tcp6")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def listener(address: Address) -> str | None:
    """``pid 12 (python)``, ``somebody`` when we may not see who, or None when the port is free.

    A listener on all addresses counts.  A host name stands for all its addresses.
    """
    inodes = _inodes(address)
    if not inodes:
        return None
    for pid in sorted(_owners(inodes)):
        try:
            return f"pid {pid} ({(_PROC / str(pid) / 'comm').read_text().strip()})"
        except OSError:
            continue
    return "somebody"


def listening_pids(address: Address) -> set[int]:
    """The processes that listen there, as far as we may see."""
    inodes = _inodes(address)
    return _owners(inodes) if inodes else set()


def _inodes(address: Address) -> set[str]:
    """The sockets of this machine that listen at an address, or everywhere."""
    return inodes_at(address.port, _addresses(address.host), _listening())


def inodes_at(
    port: int, wanted: Collection[IPAddress], found: Iterable[tuple[IPAddress, int, str]]
) -> set[str]:
    """Which of the sockets found are in the way of a listener at the addresses wanted."""
    everywhere = any(one.is_unspecified for one in wanted)
    return {
        inode
        for at, its_port, inode in found
        if its_port == port and (everywhere or at in wanted or _covers(at, wanted))
    }


def _covers(at: IPAddress, wanted: Collection[IPAddress]) -> bool:
    """Whether a wildcard listener takes connections for one of the addresses.

    One on ``::`` takes IPv4 connections as well, unless the program forbade it, which the tables
    do not show: to be told of a port that is free is better than to collide.
    """
    return at.is_unspecified and (at.version == 6 or any(one.version == 4 for one in wanted))


def _addresses(host: str) -> set[IPAddress]:
    try:
        return {ipaddress.ip_address(host)}
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found}


def _listening() -> list[tuple[IPAddress, int, str]]:
    """Every listening TCP socket of this machine."""
    try:
        return list(sockdiag.listening())
    except OSError:  # a kernel without it, or somebody who forbids it
        return list(_from_tables())


def _from_tables() -> Iterator[tuple[IPAddress, int, str]]:
    for table in _TABLES:
        with contextlib.suppress(OSError):
            yield from sockets((_PROC / table).read_text("ascii"))


def sockets(
    table: str, byteorder: Literal["little", "big"] = sys.byteorder
) -> Iterator[tuple[IPAddress, int, str]]:
    """Address, port and socket inode of every listening socket of a kernel's table, which is
    written in its machine's byte order."""
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            host, _, port = fields[1].partition(":")
            yield ip_of(host, byteorder), int(port, 16), fields[9]


def ip_of(text: str, byteorder: str) -> IPAddress:
    """An address as the kernel prints it: 32-bit words in the machine's byte order, in hex."""
    raw = bytes.fromhex(text)
    if byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    found = ipaddress.ip_address(raw)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped
    return found


def _owners(inodes: set[str]) -> set[int]:
    """The processes that hold one of these sockets, as far as we may see."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = set()
    for process in _PROC.iterdir():
        if process.name.isdigit() and not wanted.isdisjoint(_open_files(process)):
            found.add(int(process.name))
    return found


def _open_files(process: Path) -> Iterator[str]:
    """What a process has open, as far as we may see.  What it closes meanwhile is passed over."""
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(descriptor.readlink())
