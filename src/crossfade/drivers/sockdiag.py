"""TCP sockets of this machine, asked from the kernel: sock_diag(7); and their end.

The tables in /proc hold every connection, and the kernel takes milliseconds to write them; here it
sends those that listen alone.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Connection", "connected", "end", "listening"]

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
_ESTABLISHED: Final = 1 << 1
_DESTROY: Final = 21  # SOCK_DESTROY, with CONFIG_INET_DIAG_DESTROY and CAP_NET_ADMIN
_REQUEST: Final = 0x1  # NLM_F_REQUEST
_REQUEST_ACK: Final = 0x5  # NLM_F_REQUEST | NLM_F_ACK
_INFO: Final = 2  # INET_DIAG_INFO, whose bit is 1 << (INET_DIAG_INFO - 1)
_ID = slice(4, 52)  # inet_diag_sockid in inet_diag_msg
_QUEUES = struct.Struct("=56xII")  # bytes that the program has not read, and that are not sent
# tcp_info: unacknowledged, ms since data went and came, how many segments of data came and went
_SEEN = struct.Struct("=24xI16xI4xI96xII")
_ATTRIBUTE = struct.Struct("=HH")
_BODY = 72  # the length of inet_diag_msg, behind which the attributes stand

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Connection:
    """An established connection as this end has it.

    pending is how many bytes are not read, not sent or not acknowledged; sent and received are how
    long ago data last went and came, in seconds, by a clock that ticks every few milliseconds;
    came and went how many segments with data did; key tells it apart from all others."""

    here: IPAddress
    port: int
    there: IPAddress
    their_port: int
    pending: int
    sent: float
    received: float
    came: int
    went: int
    family: int
    key: bytes


def connected(port: int) -> Iterator[Connection]:
    """Every established connection whose end here has this port.  Raises OSError where the kernel
    does not tell."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(family, _ESTABLISHED, 1 << (_INFO - 1)):
            ours, theirs = struct.unpack_from("!HH", message, 4)
            info = _attribute(message, _INFO)
            if ours != port or len(info) < _SEEN.size:
                continue
            unread, unsent = _QUEUES.unpack_from(message)
            unacknowledged, sent, received, came, went = _SEEN.unpack_from(info)
            yield Connection(
                _address(family, message[8:24]),
                ours,
                _address(family, message[24:40]),
                theirs,
                unread + unsent + unacknowledged,
                sent / 1000,
                received / 1000,
                came,
                went,
                family,
                message[_ID],
            )


def end(connection: Connection) -> bool:
    """Reset a connection, at both ends, unless data has come since it was seen.  Whether it was
    ended.  Raises OSError where the kernel cannot (EOPNOTSUPP), or we may not (EPERM)."""
    seen, destroy = (
        _HEADER.pack(_HEADER.size + _WANTED.size, kind, flags, 1, 0)
        + struct.pack("=BBBBI", connection.family, _TCP, more, 0, _ESTABLISHED)
        + connection.key
        for kind, flags, more in (
            (_BY_FAMILY, _REQUEST, 1 << (_INFO - 1)),
            (_DESTROY, _REQUEST_ACK, 0),
        )
    )
    with _talk() as to:
        # What comes between these two calls is lost, so nothing else is done between them.
        to.send(seen)
        info = _attribute(to.recv(1 << 12)[_HEADER.size :], _INFO)
        if len(info) < _SEEN.size or _SEEN.unpack_from(info)[3] != connection.came:
            return False  # it has ended by itself, or goes on
        to.send(destroy)
        (code,) = struct.unpack_from("=i", to.recv(1 << 12), _HEADER.size)
    if code in (0, -2):  # -ENOENT: it has ended by itself
        return bool(code == 0)
    raise OSError(-code, "sock_diag")


def _attribute(message: bytes, wanted: int) -> bytes:
    at = _BODY
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == wanted or length < _ATTRIBUTE.size:
            return message[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return b""


def listening() -> Iterator[tuple[IPAddress, int, str]]:
    """Address, port and socket inode of each.  Raises OSError where the kernel does not tell."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(family, _LISTEN):
            port, _, raw = _FOUND.unpack_from(message)
            (inode,) = struct.unpack_from("=I", message, _INODE)
            yield _address(family, raw), port, str(inode)


def _talk() -> socket.socket:
    to = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
    to.settimeout(2.0)
    return to


def _dump(family: int, states: int, more: int = 0) -> Iterator[bytes]:
    with _talk() as to:
        wanted = _WANTED.pack(family, _TCP, more, 0, states)
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
