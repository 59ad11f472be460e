"""Reading /proc: which processes there are, what belongs together, and who listens where.

Formats are those of proc(5).  A process that ends while we look is simply not there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

__all__ = [
    "alive",
    "command_of",
    "descendants",
    "group_of",
    "listening_inodes",
    "pids",
    "pids_of_sockets",
    "start_time",
    "with_mark",
]

PROC = Path("/proc")


def pids() -> Iterator[int]:
    """All process ids that we can see."""
    for name in os.listdir(PROC):  # noqa: PTH208 - no Path object for each of a thousand names
        if name.isdigit():
            yield int(name)


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX"


def start_time(pid: int) -> str:
    """Start time in clock ticks since boot; empty when it is gone."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] not in "ZX" else ""


def group_of(pid: int) -> int | None:
    """Its process group."""
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def command_of(pid: int) -> tuple[str, ...]:
    """Its command line; empty when we may not see it."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def descendants(roots: Iterable[int]) -> set[int]:
    """The processes given and all their children's children."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid not in found:
            found.add(pid)
            queue.extend(children.get(pid, ()))
    return {pid for pid in found if alive(pid)}


def with_mark(name: str, value: str) -> set[int]:
    """Living processes whose environment has ``name=value``: also those that left their group."""
    wanted = f"{name}={value}".encode()
    found = set()
    for pid in pids():
        try:
            environment = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and alive(pid):
            found.add(pid)
    return found


def listening_inodes(host: str, port: int) -> set[str]:
    """Socket inodes that listen on this address; a wildcard listener counts."""
    wanted = {_hex(address) for address in _addresses(host)} | {"00000000", "0" * 32}
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, hexport = fields[1].partition(":")
            if fields[3] == "0A" and int(hexport, 16) == port and address in wanted:
                found.add(fields[9])
    return found


def _addresses(host: str) -> set[str]:
    """The IP addresses of a host; a numeric one is not looked up, which takes long."""
    with suppress(ValueError):
        return {str(ip_address(host))}
    return {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}


def _hex(text: str) -> str:
    """An IP address as /proc/net/tcp writes it: 32-bit words in the machine's byte order."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    words = [packed[i : i + 4][::-1] for i in range(0, len(packed), 4)]
    return b"".join(words).hex().upper()


def pids_of_sockets(inodes: set[str]) -> set[int]:
    """Processes that have one of these sockets open, as far as we may look."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found: set[int] = set()
    if not wanted:
        return found
    for pid in pids():
        try:
            links = os.listdir(PROC / str(pid) / "fd")  # noqa: PTH208 - as above
        except OSError:
            continue
        for link in links:
            try:
                if os.readlink(PROC / str(pid) / "fd" / link) in wanted:  # noqa: PTH115 - speed
                    found.add(pid)
                    break
            except OSError:
                continue
    return found
