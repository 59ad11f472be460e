"""Who listens: the kernel's answer and its tables say the same."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from crossfade.drivers import listeners, sockdiag
from crossfade.model import Address
from crossfade.testing.free_ports import free_ports

Where = dict[tuple[str, int], str]


@pytest.fixture
def made() -> Iterator[Where]:
    """Listeners at several kinds of address, with their sockets' inodes; and one that only has a
    connection."""
    with ExitStack() as stack:
        found: Where = {}
        for host in ("127.0.0.1", "127.0.0.9", "::1", "::"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            (port,) = free_ports(1)
            one = stack.enter_context(socket.create_server((host, port), family=family))
            found[host, one.getsockname()[1]] = str(os.fstat(one.fileno()).st_ino)
        mapped = stack.enter_context(socket.socket(socket.AF_INET6))
        mapped.bind(("::ffff:127.0.0.1", free_ports(1)[0]))
        mapped.listen()
        found["127.0.0.1", mapped.getsockname()[1]] = str(os.fstat(mapped.fileno()).st_ino)
        stack.enter_context(socket.create_connection(next(iter(found))))
        yield found


def test_both_ways_find_the_same(made: Where) -> None:
    """Every listener with its inode, and no connection."""
    wanted = {(ipaddress.ip_address(host), port, inode) for (host, port), inode in made.items()}
    asked, read = set(sockdiag.listening()), set(listeners._from_tables())
    assert wanted <= asked
    assert wanted <= read
    ours = set(made.values())
    assert {one for one in asked if one[2] in ours} == {one for one in read if one[2] in ours}


@pytest.mark.parametrize("able", [True, False], ids=["asked", "tables"])
def test_we_are_found(made: Where, monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    """By either way; a kernel that does not tell is no trouble."""

    def refuses() -> Iterator[tuple[listeners.IPAddress, int, str]]:
        raise PermissionError("no")

    if not able:
        monkeypatch.setattr(sockdiag, "listening", refuses)
    for host, port in made:
        assert listeners.listening_pids(Address(host, port)) == {os.getpid()}


def test_owner_that_closes_other_files() -> None:
    """A process is found though what else it has open is closed while we look."""
    ended = threading.Event()

    def closes() -> None:
        while not ended.is_set():
            os.close(os.open(os.devnull, os.O_RDONLY))

    before = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]  # come first in the listing
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as listening:
        for one in before:
            os.close(one)
        address = Address(*listening.getsockname())
        busy = threading.Thread(target=closes)
        busy.start()
        try:
            told = {listeners.listener(address) for _ in range(40)}
        finally:
            ended.set()
            busy.join()
    assert len(told) == 1
    assert f"pid {os.getpid()} " in str(told)
