"""Slow and silent clients and applications meet a limit; being held never counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.conftest import Trio
from tests.gateway.scratch import gate_with_apps, receive_all, receive_until, until

from crossfade.gateway.limits import Limits
from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_port


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """A gate with limits of about a second."""
    limits = ["head_seconds=1", "idle_seconds=1", "body_stall_seconds=1", "answer_stall_seconds=1"]
    limits += ["upstream_stall_seconds=2.5", "half_closed_seconds=1", "tunnel_idle_seconds=1"]
    limits += ["linger_seconds=0.5", "patience_seconds=1"]
    with gate_with_apps(tmp_path_factory.mktemp("gate"), *limits) as trio:
        yield trio


def test_head_that_does_not_come(hasty: Trio) -> None:
    """A head once begun has to be complete in time, however steadily bytes drip."""
    gate, _, _ = hasty
    with gate.connect() as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        try:
            for _ in range(300):
                raw.sendall(b"X")
                time.sleep(0.02)
        except OSError:
            pass
        answer = receive_all(raw)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


def test_idle_connections_are_closed_quietly(hasty: Trio) -> None:
    """Before a first request, and between two."""
    gate, _, _ = hasty
    with gate.connect() as raw:
        assert receive_all(raw) == b""
    with gate.connect() as raw:
        raw.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        receive_until(raw, b"}")
        assert receive_all(raw) == b""


def test_body_that_stalls(hasty: Trio) -> None:
    """A request whose body stops coming is ended on both sides."""
    gate, old, _ = hasty
    cut = old.cut
    raw = gate.talk(b"POST /stall HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome")
    assert raw.startswith(b"HTTP/1.1 408 ")
    until(lambda: old.cut == cut + 1, "the application sees the cut")
    assert gate.status()["in_flight"] == 0


def test_application_that_does_not_answer(hasty: Trio) -> None:
    """504 after the limit."""
    gate, _, _ = hasty
    raw = gate.talk(b"GET /x?sleep=6 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 504 ")


def test_half_closed_client_waits_only_so_long(hasty: Trio) -> None:
    """A client that has closed its half is not kept for ever: it may be gone."""
    gate, _, _ = hasty
    assert gate.talk(b"GET /x?sleep=2.4 HTTP/1.1\r\nHost: a\r\n\r\n", close=True) == b""
    assert gate.status()["in_flight"] == 0


def test_reader_that_stalls(hasty: Trio) -> None:
    """A client that does not read its answer loses it, and the request is over."""
    gate, _, _ = hasty
    with gate.connect() as raw:
        raw.sendall(b"GET /big?n=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: gate.status()["in_flight"] == 1, "it is in flight")
        until(lambda: gate.status()["in_flight"] == 0, "it is cut")


def test_idle_tunnel_is_cut(hasty: Trio) -> None:
    """Nothing through a tunnel for its limit: it ends."""
    gate, _, _ = hasty
    with gate.connect() as raw:
        raw.sendall(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        receive_until(raw, b"hello ")
        assert receive_all(raw) == b""


def test_time_held_counts_against_no_limit(tmp_path: Path) -> None:
    """With limits of a second, requests held for three are served."""
    limits = ["head_seconds=1", "idle_seconds=1", "body_stall_seconds=1", "answer_stall_seconds=1"]
    limits += ["upstream_stall_seconds=1", "half_closed_seconds=1", "patience_seconds=1"]
    with gate_with_apps(tmp_path, *limits) as (gate, _, _):
        gate.hold()
        with gate.connect() as get, gate.connect() as half, gate.connect() as post:
            get.sendall(b"GET /get HTTP/1.1\r\nHost: a\r\n\r\n")
            half.sendall(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
            half.shutdown(1)
            post.sendall(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            until(lambda: gate.status()["oldest_waiting"] > 3, "all are held for long")
            assert gate.status()["waiting"] == 3
            gate.driver.release()
            receive_until(get, b"}")
            receive_until(half, b"}")
            until(lambda: gate.status()["in_flight"] == 1, "the post is on its way")
            post.sendall(b"cd")
            assert b'"length": 4' in receive_until(post, b"}")
        assert gate.status()["failed"] == 0


def test_502_after_the_patience(hasty: Trio) -> None:
    """An application that does not come back in time is a 502, made by the gate."""
    gate, _, new = hasty
    state = gate.driver.look()
    assert state is not None
    nobody = Address("127.0.0.1", free_port())
    gate.driver.ensure({Side.OLD: nobody, Side.NEW: new.address})
    before = gate.status()["failed"]
    raw = gate.talk(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 502 ")
    assert gate.status()["failed"] == before + 1
    gate.driver.ensure(state.targets)


def test_limits_by_name() -> None:
    """A limit is changed by its name; nonsense is told."""
    assert Limits().changed(["backlog=5"]).backlog == 5
    for bad in ("nothing=1", "backlog=x", "backlog=0", "head_seconds=-1", "backlog"):
        with pytest.raises(ValueError, match="limit"):
            Limits().changed([bad])
