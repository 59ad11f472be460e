"""Other ports than the one for requests: real connections through a real gate process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.scratch import (
    PATIENCE,
    App,
    GateProcess,
    gate_with_apps,
    receive_all,
    receive_until,
    silent,
    until,
)
from tests.testbed.echo import Echo

from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.errors import Failed
from crossfade.model import Address, Side
from crossfade.ports import RelayedPort
from crossfade.testing.free_ports import free_port


@dataclass
class Place:
    """A gate with one port besides, and who is behind that."""

    gate: GateProcess
    port: RelayedPort
    echoes: dict[Side, Echo]
    apps: tuple[App, App]
    clients: list[socket.socket] = field(default_factory=list)

    def tell(self, *ports: RelayedPort) -> dict[str, object]:
        """Say which ports the gate is to pass on."""
        return self.gate.ask(do="ports", ports=[port.as_json() for port in ports])

    def connect(self, at: Address | None = None) -> socket.socket:
        """A client at the port."""
        at = at or self.port.listen
        raw = socket.create_connection((at.host, at.port), PATIENCE)
        self.clients.append(raw)
        return raw

    def says(self, raw: socket.socket, word: bytes = b"hello\n") -> bytes:
        """What comes back for a line."""
        raw.sendall(word)
        return receive_until(raw, b"\n")

    def stands(self, of: int = 0) -> dict[str, object]:
        """How the port stands."""
        state: dict[str, object] = self.gate.status()["ports"][of]
        return state

    def switch(self, side: Side) -> None:
        """A whole switch."""
        self.gate.hold()
        self.gate.driver.drain(10)
        self.gate.driver.switch(side)
        self.gate.driver.release()


@contextmanager
def made(directory: Path, *limits: str) -> Iterator[Place]:
    """A gate that was told of a port, with an echo on each side."""
    with ExitStack() as stack:
        gate, *apps = stack.enter_context(gate_with_apps(directory, *limits))
        echoes = {side: stack.enter_context(Echo(side.value)) for side in Side}
        listen = Address("127.0.0.1", free_port())
        port = RelayedPort(listen, echoes[Side.OLD].address, echoes[Side.NEW].address)
        place = Place(gate, port, echoes, (apps[0], apps[1]))
        assert place.tell(port)["ok"]
        yield place
        for raw in place.clients:
            raw.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The same with short limits."""
    with made(tmp_path, "patience_seconds=10", "port_waiting=3") as place:
        yield place


def test_before_held_switched_released(place: Place) -> None:
    """A connection goes to the side that serves; one that comes while held waits and is led
    where traffic goes then; those to the side before are broken at the switch, not earlier."""
    early = place.connect()
    assert place.says(early) == b"old hello\n"
    place.gate.hold()
    assert place.says(early) == b"old hello\n", "open ones go on until the switch"
    waits = place.connect()
    waits.sendall(b"who\n")
    until(lambda: place.stands()["waiting"] == 1, "it waits")
    assert silent(waits, 0.2)
    assert place.echoes[Side.OLD].taken == 1
    place.gate.driver.drain(10)
    place.gate.driver.switch(Side.NEW)
    with pytest.raises(ConnectionResetError):
        early.recv(1)
    assert silent(waits, 0.1), "it is held still"
    assert place.echoes[Side.NEW].taken == 0
    place.gate.driver.release()
    assert receive_until(waits, b"\n") == b"new who\n"
    assert place.says(place.connect()) == b"new hello\n"
    state = place.gate.driver.look()
    assert state is not None
    (port,) = state.ports
    assert (port.port, port.open, port.waiting, port.taken, port.failed, port.why) == (
        *(place.port, 2, 0, 3, 0),
        "",
    )
    assert (state.tunnels, state.in_flight, state.total) == (0, 0, 0)
    samples = {
        (s.name, s.labels.get("listen")): s.value
        for family in text_string_to_metric_families(place.gate.driver.metrics())
        for s in family.samples
        if "_port_" in s.name
    }
    at = str(place.port.listen)
    prefix = "crossfade_gate_port_"
    assert samples[f"{prefix}connections_total", at] == 3
    assert (samples[f"{prefix}open", at], samples[f"{prefix}waiting", at]) == (2, 0)


def test_a_hold_that_is_given_up_breaks_nothing(place: Place) -> None:
    """The old side serves again: who was connected still is, who waited is led to it; of those
    beyond the limit nobody waits."""
    early = place.connect()
    place.says(early)
    place.gate.hold()
    waiting = [place.connect() for _ in range(3)]
    until(lambda: place.stands()["waiting"] == 3, "they wait")
    with pytest.raises(ConnectionResetError):
        place.connect().recv(1)
    leaves = waiting.pop()
    leaves.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    leaves.close()
    until(lambda: place.stands()["waiting"] == 2, "who left does not wait")
    waiting.append(place.connect())
    until(lambda: place.stands()["waiting"] == 3, "there is room again")
    place.gate.driver.release()
    assert [place.says(raw) for raw in (early, *waiting)] == [b"old hello\n"] * 4
    assert place.stands()["failed"] == 1


def test_half_closed_is_passed_on(place: Place) -> None:
    """The end of one direction leaves the other open, also of a client that ended while it waited;
    a break is passed on as a break."""
    raw = place.connect()
    raw.sendall(b"count\nabc")
    raw.shutdown(socket.SHUT_WR)
    assert receive_all(raw) == b"old count\nold abc.", "the answer to the end comes"
    place.gate.hold()
    raw = place.connect()
    raw.sendall(b"abc")
    raw.shutdown(socket.SHUT_WR)
    until(lambda: place.stands()["waiting"] == 1, "it waits")
    place.gate.driver.release()
    assert receive_all(raw) == b"old abc."
    until(lambda: place.stands()["open"] == 0, "both are over")
    raw = place.connect()
    place.says(raw)
    echo = place.echoes[Side.OLD]
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw.close()
    until(lambda: echo.broken == 1, "the side sees a break, not an end")
    with socket.create_server(("127.0.0.1", free_port())) as server:
        breaks = RelayedPort(place.port.listen, Address(*server.getsockname()), place.port.new)
        assert place.tell(breaks)["ok"]
        for _ in range(10):
            raw = place.connect()
            there = server.accept()[0]
            raw.sendall(b"a")
            there.recv(1)
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            there.close()
            with pytest.raises(ConnectionResetError):
                raw.recv(1)
        until(lambda: place.stands()["open"] == 0, "nothing is left of them")


def pushed(raw: socket.socket) -> int:
    """How many bytes go before nobody takes any more."""
    raw.settimeout(0.3)
    sent, block = 0, b"x" * 99 + b"\n"
    with suppress(TimeoutError):
        while sent < 64 << 20:
            sent += raw.send((block * 1000)[sent % len(block) :])
    raw.settimeout(PATIENCE)
    return sent


def test_slow_readers(place: Place) -> None:
    """Whoever does not read keeps the other end from sending, in bounded memory, and all arrives;
    of one that waits little is taken in."""
    raw = place.connect()
    place.says(raw)
    start = place.gate.rss()
    sent = pushed(raw)
    assert sent < 64 << 20, "it is kept from sending"
    assert place.gate.rss() - start < 4 << 20
    raw.shutdown(socket.SHUT_WR)
    out = bytearray(1 << 20)
    came = 0
    while got := raw.recv_into(out):
        came += got
    assert came == sent + len(b"old ") * (sent // 100) + (len(b"old .") if sent % 100 else 0)
    place.gate.hold()
    start = place.gate.rss()
    waits = [place.connect() for _ in range(3)]
    for raw in waits:
        assert pushed(raw) < 64 << 20
    assert place.gate.rss() - start < 1 << 20, "it waits in the kernel"


def test_waits_for_a_side_that_starts(place: Place) -> None:
    """While nobody listens there it is tried again; past the patience it is broken off.  What
    accepts and ends at once after a release is taken for a container's port."""
    new = place.echoes[Side.NEW]
    new.close()
    place.switch(Side.NEW)
    raw = place.connect()
    raw.sendall(b"who\n")
    with socket.create_server((new.address.host, new.address.port), reuse_port=False) as proxy:
        proxy.accept()[0].close()
    with Echo("late", new.address.port):
        assert receive_until(raw, b"\n") == b"late who\n"
    place.gate.kill()
    place.gate._more.append("--limit=patience_seconds=0.2")
    place.gate.start()
    with pytest.raises(ConnectionResetError):
        place.connect().recv(1)
    assert place.stands()["failed"] == 1


def test_taken_address_and_differences(place: Place) -> None:
    """What stays as it is notices nothing; an address that is taken is told, and harms nobody."""
    old, new = place.apps
    raw = place.connect()
    place.says(raw)
    assert place.tell(place.port)["ok"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        third = Address("127.0.0.1", free_port())
        busy = RelayedPort(Address(*taken.getsockname()), old.address, new.address)
        other = RelayedPort(third, place.echoes[Side.NEW].address, place.echoes[Side.OLD].address)
        answer = place.tell(place.port, busy, other)
        assert answer["error"] == "port-taken"
        assert f"{busy.listen}: " in str(answer["what"])
        assert "in use" in str(answer["what"])
        assert "in use" in str(place.stands(1)["why"])
        told = GatewayTraffic(place.gate.listen, place.gate.directory, ports=(place.port, busy))
        told.ensure({Side.OLD: old.address, Side.NEW: new.address})
        assert place.gate.get("/works")["app"] == "old"
        assert place.says(raw) == b"old hello\n"
        with pytest.raises(ConnectionRefusedError):
            place.connect(third)
    assert place.tell(place.port, busy)["ok"], "it is free now"
    moved = RelayedPort(place.port.listen, place.port.old, Address("127.0.0.1", 1))
    assert place.tell(moved)["ok"]
    assert place.says(raw) == b"old hello\n", "the side that serves has the same address"
    everywhere = RelayedPort(Address("0.0.0.0", moved.listen.port), moved.old, moved.new)
    assert place.tell(everywhere)["ok"]
    assert receive_all(raw) == b"", "its port is gone"
    assert place.says(place.connect()) == b"old hello\n"
    for bad in ([{"listen": "1"}], "8448", [moved.as_json()] * 2):
        assert place.gate.ask(do="ports", ports=bad)["error"] == "bad-command"
    assert place.says(place.connect()) == b"old hello\n"
    assert place.tell()["ok"]
    with pytest.raises(ConnectionRefusedError):
        place.connect()


def test_outlives_the_gate(place: Place) -> None:
    """A gate that is started again listens there again, held or not, and ends what is open when it
    ends; the next upgrade's names lead where the last one's did."""
    place.gate.hold()
    place.gate.kill()
    place.gate.start()
    raw = place.connect()
    raw.sendall(b"who\n")
    until(lambda: place.stands()["waiting"] == 1, "it waits")
    place.gate.driver.drain(10)
    place.gate.driver.switch(Side.NEW)
    place.gate.driver.release()
    assert receive_until(raw, b"\n") == b"new who\n"
    old, new = place.apps
    assert place.gate.ask(do="targets", old=str(new.address), new=str(old.address))["ok"]
    assert place.gate.status()["side"] == "old"
    assert place.says(raw) == b"new hello\n", "the same side by another name"
    place.gate.process.terminate()
    assert receive_all(raw) == b""
    place.gate.process.wait(PATIENCE)


def test_late_comers(place: Place) -> None:
    """Counted by the port and the address, whatever names are waited for; who is still here, is."""
    with suppress(Failed):
        place.gate.driver.count_late(time.time(), ["wiki.example.test"])
    before = time.time()
    raw = place.connect()
    place.says(raw)
    place.connect().close()
    name = f"port {place.port.listen.port}"

    def seen() -> list[tuple[str, str, int]]:
        state = place.gate.driver.look()
        assert state is not None
        return [(late.name, late.address, late.count) for late in state.late]

    until(lambda: seen() == [(name, "127.0.0.1", 2)], "both are counted")
    met = time.time()
    until(lambda: place.gate.driver.look().late[0].last > met, "it is here still")  # type: ignore[union-attr]
    state = place.gate.driver.look()
    assert state is not None
    assert before <= state.late[0].first < met


def test_idle_ones_are_broken_off(tmp_path: Path) -> None:
    """As tunnels are; and many at once come through whole."""
    with made(tmp_path, "tunnel_idle_seconds=0.5") as place:
        raw = place.connect()
        place.says(raw)
        results: list[bytes] = []

        def talk(number: int) -> None:
            mine = place.connect()
            results.extend(place.says(mine, b"%d %d\n" % (number, turn)) for turn in range(5))
            mine.close()

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wanted = sorted(b"old %d %d\n" % (n, turn) for n in range(20) for turn in range(5))
        assert sorted(results) == wanted
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
