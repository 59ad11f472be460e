"""The listening TCP sockets of this machine, asked from the kernel: sock_diag(7).

The tables in /proc hold every connection, and the kernel takes milliseconds to write them; here it
sends those that listen alone.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["listening"]

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_ERROR, _DONE = 2, 3
_REQUEST_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_TCP: Final = 6
_LISTEN: Final = 1 << 10
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_WANTED = struct.Struct("=BBBBI48x")  # inet_diag_req_v2: family, protocol, -, -, states, socket
_FOUND = struct.Struct("!4xHH16s")  # the beginning of inet_diag_msg: ports, the local address
_INODE = 68  # where the inode stands in it

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def listening() -> Iterator[tuple[IPAddress, int, str]]:
    """Address, port and socket inode of each.  Raises OSError where the kernel does not tell."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(family):
            port, _, raw = _FOUND.unpack_from(message)
            (inode,) = struct.unpack_from("=I", message, _INODE)
            yield _address(family, raw), port, str(inode)


def _dump(family: int) -> Iterator[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as to:
        to.settimeout(2.0)
        wanted = _WANTED.pack(family, _TCP, 0, 0, _LISTEN)
        to.send(_HEADER.pack(_HEADER.size + len(wanted), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + wanted)
        while True:
            data = to.recv(1 << 18)
            while len(data) >= _HEADER.size:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", data, _HEADER.size)
                    raise OSError(-code, "sock_diag")
                yield data[_HEADER.size : length]
                data = data[(length + 3) & ~3 :]


def _address(family: int, raw: bytes) -> IPAddress:
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(raw[:4])
    found = ipaddress.IPv6Address(raw)
    return found.ipv4_mapped or found
