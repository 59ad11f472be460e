"""Doors that send PostgreSQL's clients on: the program speaks with its database directly."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from tests.services.conftest import Hold, Make
from tests.services.test_held import MIGRATION, PROGRAM, Case, state, told
from tests.services.test_relay import pid_of
from tests.testbed.site import eventually

from crossfade.drivers.services.relay import Loop
from crossfade.drivers.services.sending_on import SendingDoor
from crossfade.testing.free_ports import free_ports
from crossfade.testing.servers import PostgresServer

__all__ = ["state"]

# one connection that stays, and a new one again and again
AGAIN = """
import os, time, psycopg
def connect():
    return psycopg.connect(os.environ["DSN"], password=os.environ["PASSWORD"])
stays = connect()
while True:
    with connect() as one:
        value = one.execute("select value from state").fetchone()[0]
    print("read", value, stays.execute("select 1").fetchone()[0], flush=True)
    time.sleep(0.05)
"""
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)
CANCEL = struct.pack("!IIII", 16, 80877102, 1, 2)
_NAMES = b"user\0app\0database\0app\0\0"
STARTUP = struct.pack("!II", 8 + len(_NAMES), 3 << 16) + _NAMES


@pytest.fixture
def case(program: Make, postgres: PostgresServer) -> Callable[..., Case]:
    """Makes cases whose program gets lists of hosts."""
    return lambda text=PROGRAM, **given: Case(program, postgres, text, **{"lists": "", **given})


@pytest.mark.parametrize("count", [1, 20])
def test_the_program_goes_on_to_its_database(case: Callable[..., Case], count: int) -> None:
    """The server sees nobody before the opening, and afterwards nothing goes through the holder."""
    one = case(environment={"COUNT": str(count)})
    one.service.prepare()
    assert told(one.service, f"waits with {count} connections")
    assert one.newcomers() == 0
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh") == count)
    assert told(one.service, "connections that reached")
    assert one.newcomers() >= count
    door = (one.holder().doors() or {})["server"]
    assert (door["sent_on"], door["connections"], door["bytes"]) == (count, 0, 0)


def test_the_holder_is_not_missed(case: Callable[..., Case]) -> None:
    """Later connections are sent on as well; without the holder they pass it by, and what stands
    goes on."""
    one = case(AGAIN)
    one.service.prepare()
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh 1") > 3)
    pid = pid_of(one.holder())
    os.kill(pid, signal.SIGKILL)
    before = one.logged("read fresh 1")
    eventually(lambda: one.logged("read fresh 1") > before + 3)
    assert one.service.look().running


def test_a_migration_is_sent_on(case: Callable[..., Case]) -> None:
    """First it, and the program only after its end."""
    one = case(migration=MIGRATION)
    one.service.prepare()
    assert one.newcomers() == 0
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh migrated") == 1)
    doors = one.holder().doors() or {}
    assert [doors[name]["sent_on"] for name in ("migration", "server")] == [1, 1]


def test_who_insists_on_encryption_is_started_plainly(case: Callable[..., Case]) -> None:
    """That shows before the pause."""
    one = case(lists="sslmode=require")
    one.service.prepare()
    assert told(one.service, "a plain start instead: it ended")
    assert one.logged("server does not support SSL") > 0
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh") == 1)


def test_what_a_door_takes(hold: Hold, postgres: PostgresServer) -> None:
    """Who has sent a whole startup message waits, in whatever portions it came; nobody else."""
    holding, ports = hold({"a": str(postgres.address)}, sends_on=("a",))

    def come(*portions: bytes) -> socket.socket:
        client = opened.enter_context(socket.create_connection(("127.0.0.1", ports["a"]), 5))
        for portion in portions:
            client.sendall(portion)
            if portion in (SSL_REQUEST, GSS_REQUEST):
                assert client.recv(1) == b"N"
        return client

    def waiting() -> int:
        return int((holding.doors() or {})["a"]["waiting"])

    with ExitStack() as opened:
        slow = come(STARTUP[:11])
        whole = [come(STARTUP), come(SSL_REQUEST, STARTUP), come(GSS_REQUEST, SSL_REQUEST, STARTUP)]
        eventually(lambda: waiting() == 3)
        for nonsense in (CANCEL, b"GET / HTTP/1.1\r\n\r\n", struct.pack("!II", 1 << 20, 3 << 16)):
            assert come(nonsense).recv(100) == b"", "sent away"
        assert waiting() == 3
        slow.sendall(STARTUP[11:])
        eventually(lambda: waiting() == 4)
        silent = come()
        whole.pop().close()
        eventually(lambda: waiting() == 3)
        holding.open("a")
        for client in (slow, *whole):
            assert b"C57P03\0" in client.recv(1000)
            assert client.recv(1) == b""
        silent.sendall(STARTUP)
        assert b"C57P03\0" in silent.recv(1000)
        door = (holding.doors() or {})["a"]
        assert (door["waiting"], door["sent_on"], door["connections"]) == (0, 4, 0)


def test_one_that_goes_keeps_nobody_waiting(postgres: PostgresServer) -> None:
    """A connection that was reset in the very moment of the opening: the others are sent on."""
    loop = Loop()
    (port,) = free_ports(1)
    at = f"127.0.0.1:{port}"
    door = SendingDoor(loop, lambda what: what(), "a", at, str(postgres.address))
    clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(3)]
    for client in clients:
        client.sendall(STARTUP)
    while len(door.waiting) < 3:
        loop.turn(5.0)
    clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    clients[0].close()
    door.open()
    loop.turn(0.0)
    for client in clients[1:]:
        with client:
            assert b"C57P03\0" in client.recv(1000)
    loop.close(door.listener)
    loop.turn(0.0)
