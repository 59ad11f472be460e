"""The doors of a holder against plain TCP servers: what is passed on, and how connections end."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from tests.services.conftest import Hold
from tests.testbed.site import eventually

from crossfade.testing.free_ports import free_ports

Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """A server that gives each connection to ``serve`` in a thread; its address."""
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", free_ports(1)[0]), backlog=300) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def echo(connection: socket.socket) -> None:
    """Send back what comes, until its end."""
    while data := connection.recv(65536):
        connection.sendall(data)


def digest_first(connection: socket.socket) -> None:
    """Read everything up to the end, and only then answer with its digest."""
    whole = hashlib.sha256()
    while data := connection.recv(65536):
        whole.update(data)
    connection.sendall(whole.hexdigest().encode())


def connect(port: int, *, buffer: int = 0) -> socket.socket:
    """A connection to a door; nothing takes longer than half a minute."""
    client = socket.socket()
    client.settimeout(30)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(("127.0.0.1", port))
    return client


def everything(connection: socket.socket) -> bytes:
    """All that comes until the end."""
    got = bytearray()
    while data := connection.recv(1 << 20):
        got += data
    return bytes(got)


def door(holding: Any, name: str = "one") -> dict[str, Any]:
    """A door's status; the holder must answer."""
    doors = holding.doors()
    assert doors is not None
    found: dict[str, Any] = doors[name]
    return found


def test_closed_door_passes_nothing(hold: Hold) -> None:
    """The target sees nobody while the door is closed; what was sent meanwhile arrives after."""
    seen = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection)
        echo(connection)

    with server(serve) as target:
        holding, ports = hold({"one": target})
        with connect(ports["one"]) as client:
            client.sendall(b"hello")
            eventually(lambda: door(holding)["waiting"] == 1)
            assert seen == []
            assert (door(holding)["bytes"], door(holding)["connections"]) == (0, 0)
            opened = holding.open("one")
            assert opened is not None
            assert opened["one"]["before"] == {"bytes": 0, "connections": 0}
            assert client.recv(100) == b"hello"
            assert len(seen) == 1
        with connect(ports["one"]) as later:
            later.sendall(b"again")
            assert later.recv(100) == b"again"


def test_one_door_opens_without_the_other(hold: Hold) -> None:
    """Opening a door lets nobody through another."""
    with server(echo) as target:
        holding, ports = hold({"one": target, "two": target})
        with connect(ports["one"]) as first, connect(ports["two"]) as second:
            second.sendall(b"second")
            first.sendall(b"first")
            holding.open("one")
            assert first.recv(100) == b"first"
            eventually(lambda: door(holding, "two")["waiting"] == 1)
            assert door(holding, "two")["connections"] == 0
            holding.open("two")
            assert second.recv(100) == b"second"


def test_half_closed(hold: Hold) -> None:
    """A client that has sent all still gets the whole answer; so does one behind a slow reader."""
    data = random.Random(1).randbytes(8_000_000)
    with server(digest_first) as target:
        holding, ports = hold({"one": target})
        holding.open("one")
        with connect(ports["one"]) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert everything(client).decode() == hashlib.sha256(data).hexdigest()
        eventually(lambda: door(holding)["open_connections"] == 0)
        assert door(holding)["bytes"] == len(data) + 64


def test_server_ends_first(hold: Hold) -> None:
    """When the server says its last words and closes, the client gets them and then the end."""
    words = random.Random(2).randbytes(12_000_000)
    with server(lambda connection: connection.sendall(words)) as target:
        holding, ports = hold({"one": target})
        holding.open("one")
        with connect(ports["one"], buffer=4096) as client:
            assert everything(client) == words
        eventually(lambda: door(holding)["open_connections"] == 0)


def test_two_hundred_connections_both_ways(hold: Hold) -> None:
    """Nobody gets a byte of anybody else's, and all of their own, both ways at once."""
    with server(echo) as target:
        holding, ports = hold({"one": target})
        failures: list[str] = []

        def talk(number: int) -> None:
            data = random.Random(number).randbytes(700_000)
            with connect(ports["one"], buffer=4096) as client:
                sending = threading.Thread(target=send, args=(client, data))
                sending.start()
                if everything(client) != data:
                    failures.append(f"connection {number}")
                sending.join()

        def send(client: socket.socket, data: bytes) -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        eventually(lambda: door(holding)["waiting"] == 200)
        holding.open("one")
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert door(holding)["accepted"] == 200
        eventually(lambda: door(holding)["open_connections"] == 0)
        assert door(holding)["bytes"] == 200 * 2 * 700_000


def test_a_connection_that_breaks_is_nobody_elses_trouble(hold: Hold) -> None:
    """A client that resets its connection in the middle does not touch the one beside it."""
    with server(echo) as target:
        holding, ports = hold({"one": target})
        holding.open("one")
        with connect(ports["one"]) as good:
            for _ in range(20):
                bad = connect(ports["one"])
                bad.sendall(b"x" * 300_000)
                bad.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                bad.close()
                good.sendall(b"still here")
                assert good.recv(100) == b"still here"
            eventually(lambda: door(holding)["open_connections"] == 1)


def test_client_gives_up_and_comes_again(hold: Hold) -> None:
    """Who hangs up while waiting is counted and never reaches the target."""
    seen = []

    def serve(connection: socket.socket) -> None:
        seen.append(1)
        echo(connection)

    with server(serve) as target:
        holding, ports = hold({"one": target})
        for count in range(1, 4):
            with connect(ports["one"]) as client:
                client.sendall(b"start-up packet")
                eventually(lambda: door(holding)["waiting"] == 1)
            eventually(lambda count=count: door(holding)["gave_up"] == count)
        with connect(ports["one"]) as client:
            eventually(lambda: door(holding)["waiting"] == 1)
            holding.open("one")
            client.sendall(b"now")
            assert client.recv(100) == b"now"
        assert seen == [1]


def test_target_that_is_down(hold: Hold) -> None:
    """Who waited is sent away; when the target is there again, later ones get through."""
    (dead,) = free_ports(1)
    holding, ports = hold({"one": f"127.0.0.1:{dead}"})
    with connect(ports["one"]) as client:
        client.sendall(b"start-up packet")
        eventually(lambda: door(holding)["waiting"] == 1)
        holding.open("one")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    assert door(holding)["failed"] == 1
    with socket.create_server(("127.0.0.1", dead)) as listener, connect(ports["one"]) as client:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"hello")
            assert client.recv(100) == b"hello"


@pytest.mark.parametrize("opened", [False, True])
def test_killed_holder(hold: Hold, opened: bool) -> None:
    """Killed while closed or open: connections end at once, later ones are refused, and what it
    left does not stand in the way of the next."""
    with server(echo) as target:
        holding, ports = hold({"one": target})
        with connect(ports["one"]) as client:
            client.sendall(b"hello")
            if opened:
                holding.open("one")
                assert client.recv(100) == b"hello"
            else:
                eventually(lambda: door(holding)["waiting"] == 1)
            os.kill(pid_of(holding), signal.SIGKILL)
            assert ends(client)
        eventually(lambda: refuses(ports["one"]))
        assert holding.doors() is None
        holding.end()
        again, ports = hold({"one": target})
        assert door(again)["state"] == "closed"


def ends(client: socket.socket) -> bool:
    """Whether the connection ends without another byte."""
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def refuses(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def pid_of(holding: Any) -> int:
    """The holder's process."""
    (pid,) = [
        int(entry)
        for entry in os.listdir("/proc")  # noqa: PTH208 - names of processes
        if entry.isdigit() and str(holding.file).encode() in words(entry)
    ]
    return pid


def words(pid: str) -> list[bytes]:
    """A process's command line."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - proc
            return file.read().split(b"\0")
    except OSError:
        return []


def test_holds_no_longer_than_allowed(hold: Hold) -> None:
    """After the longest hold whoever waits is sent away and the holder ends."""
    with server(echo) as target:
        holding, ports = hold({"one": target}, at_most=0.5)
        with connect(ports["one"]) as client:
            assert ends(client)
        eventually(lambda: holding.doors() is None)
        assert not holding.file.exists()


def test_longest_hold_spares_what_is_open(hold: Hold) -> None:
    """A migration behind an open door goes on when the other door gives up."""
    with server(echo) as target:
        holding, ports = hold({"one": target, "two": target}, at_most=1.0)
        with connect(ports["one"]) as migration, connect(ports["two"]) as waiting:
            holding.open("one")
            assert ends(waiting)
            assert door(holding, "two")["state"] == "given-up"
            migration.sendall(b"go on")
            assert migration.recv(100) == b"go on"
            holding.open("two")
            assert door(holding, "two")["state"] == "given-up"
        assert refuses(ports["two"])


def test_address_that_is_taken(hold: Hold, tmp_path: Any) -> None:
    """A door whose port somebody uses is told, and nothing stays behind."""
    from crossfade.drivers.services.holder import Plan
    from crossfade.drivers.services.holding import Holding
    from crossfade.errors import Failed

    with server(echo) as taken:
        holding = Holding(tmp_path / "taken.json")
        plan = Plan({"one": (taken, taken)}, ("A", "b"), (), (os.getpid(), ""), 5.0, 5.0)
        with pytest.raises(Failed) as caught:
            holding.begin(plan)
        assert caught.value.code == "holder-not-started"
        assert "in use" in caught.value.where
        assert not holding.file.exists()
