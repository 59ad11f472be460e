"""Late comers are counted by name and address, through a restart, and never without bounds."""

from __future__ import annotations

import time

import pytest
from tests.gateway.conftest import Trio
from tests.gateway.scratch import until

from crossfade.errors import Failed
from crossfade.gateway.late import MOST
from crossfade.ports import Late


def come(trio: Trio, host: str, *headers: str) -> None:
    """One request on a connection of its own."""
    gate, _, _ = trio
    lines = "".join(f"{line}\r\n" for line in headers)
    answer = gate.talk(
        f"GET / HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 "), answer


def seen(trio: Trio) -> dict[tuple[str, str], int]:
    """Who came, with the count."""
    state = trio[0].driver.look()
    assert state is not None
    return {(late.name, late.address): late.count for late in state.late}


def test_counted_by_name_and_address(trio: Trio) -> None:
    """From the moment on that is told; a proxy here is believed about its client, no other is."""
    gate, _, _ = trio
    come(trio, "early.test")
    assert seen(trio) == {}
    since = time.time()
    gate.driver.count_late(since)
    for host in ("Wiki.example.test", "wiki.example.test:8000", "other.test", "[2001:db8::1]:80"):
        come(trio, host)
    come(trio, "wiki.example.test", "X-Forwarded-For: 198.51.100.7, 203.0.113.9")
    come(trio, "wiki.example.test", "X-Forwarded-For: not an address")
    assert seen(trio) == {
        ("wiki.example.test", "127.0.0.1"): 3,
        ("other.test", "127.0.0.1"): 1,
        ("[2001:db8::1]", "127.0.0.1"): 1,
        ("wiki.example.test", "203.0.113.9"): 1,
    }
    state = gate.driver.look()
    assert state is not None
    assert state.late_since == since
    assert all(since <= late.first <= late.last <= time.time() for late in state.late)
    assert isinstance(state.late[0], Late)
    gate.driver.count_late(None)
    come(trio, "wiki.example.test")
    assert seen(trio) == {}


def test_other_names_count_as_one(trio: Trio) -> None:
    """Whoever tries every address that there is asks for names of nobody."""
    gate, _, _ = trio
    gate.driver.count_late(time.time(), ["Wiki.example.test"])
    for host in ("wiki.example.test:80", "192.0.2.10", "scanner.test", "wiki.example.test"):
        come(trio, host)
    expected = {("wiki.example.test", "127.0.0.1"): 2, (Late.OTHER, "-"): 2}
    assert seen(trio) == expected
    kept = gate.directory / "gate.state.late"
    until(lambda: b"127.0.0.1" in kept.read_bytes(), "it is kept")
    gate.kill()
    gate.start()
    come(trio, "scanner.test")
    assert seen(trio) == expected | {(Late.OTHER, "-"): 3}


def test_outlives_the_gate(trio: Trio) -> None:
    """The table is on disk within a few seconds; a damaged one is not guessed at."""
    gate, _, _ = trio
    since = time.time()
    gate.driver.count_late(since)
    come(trio, "wiki.example.test")
    kept = gate.directory / "gate.state.late"
    until(lambda: b"wiki" in kept.read_bytes(), "it is kept")
    assert kept.stat().st_mode & 0o777 == 0o600
    gate.kill()
    gate.start()
    come(trio, "wiki.example.test")
    assert seen(trio) == {("wiki.example.test", "127.0.0.1"): 2}
    state = gate.driver.look()
    assert state is not None
    assert state.late_since == since
    gate.kill()
    kept.write_text("{")
    gate.start()
    state = gate.driver.look()
    assert state is not None
    assert (state.late_since, state.late) == (0.0, ())


def test_bounded(trio: Trio) -> None:
    """Whoever invents names cannot fill the memory."""
    gate, _, _ = trio
    gate.driver.count_late(time.time())
    asked = "".join(
        f"HEAD /{n} HTTP/1.1\r\nHost: h{n}.test\r\n\r\n" for n in range(MOST + 200)
    ).encode()
    gate.talk(asked + b"GET / HTTP/1.1\r\nHost: end.test\r\nConnection: close\r\n\r\n")
    state = gate.driver.look()
    assert state is not None
    assert state.late[0].name == "others"
    assert state.late[0].count == 201
    assert len(state.late) <= 100


def test_refused_in_words(trio: Trio) -> None:
    """A moment that is none is refused."""
    with pytest.raises(Failed):
        trio[0].driver.count_late(-1.0)
