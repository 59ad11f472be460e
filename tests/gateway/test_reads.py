"""Reads that a hold lets pass; what the gate measures, and how it hands that out."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.conftest import Trio
from tests.gateway.scratch import GateProcess, in_background, receive_until, silent, until

from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.errors import Failed
from crossfade.gateway.pause import Counters, GateState
from crossfade.gateway.statefile import StateFile
from crossfade.model import Address, Side
from crossfade.ports import Measured
from crossfade.testing.free_ports import free_port

UPGRADE = (
    b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def hold(gate: GateProcess, *, reads: bool) -> None:
    """Hold, for half a minute at most."""
    token = gate.directory / "token"
    gate.driver.hold(lease=30.0, at_most=60.0, commit_to=Side.NEW, commit_token=token, reads=reads)


def test_reads_pass_until_they_are_ended(trio: Trio) -> None:
    """Safe requests go to the old side, all others wait; after the second drain all of them do, and
    whoever reads then reads the new side."""
    gate, old, _ = trio
    long, before = in_background(lambda: gate.get("/long?sleep=0.6", "POST", b"x"))
    until(lambda: old.active == 1, "a write is in flight")
    hold(gate, reads=True)
    assert gate.get("/read")["app"] == "old"
    assert gate.driver.drain(20.0).in_flight == 0
    long.join()
    assert before[0]["app"] == "old"

    waiting = [
        in_background(lambda: gate.get("/write", "POST", b"x")),
        in_background(lambda: gate.get("/delete", "DELETE")),
        in_background(lambda: gate.get("/body", "GET", b"a GET with a body")),
    ]
    until(lambda: gate.status()["waiting"] == 3, "they wait")
    for method in ("GET", "OPTIONS"):
        assert gate.get("/read", method)["app"] == "old"
    client = gate.client()
    client.request("HEAD", "/read")
    assert client.getresponse().status == 200
    client.close()
    with gate.connect() as raw:
        raw.sendall(UPGRADE)
        until(lambda: gate.status()["waiting"] == 4, "an upgrade is no read")
        assert silent(raw, 0.1)

        slow, seen = in_background(lambda: gate.get("/slow?sleep=0.6"))
        until(lambda: gate.status()["passing"] == 1, "a read is in flight")
        with pytest.raises(Failed, match="reads still go on"):
            gate.driver.switch(Side.NEW)
        hold(gate, reads=False)
        waiting.append(in_background(lambda: gate.get("/late")))
        until(lambda: gate.status()["waiting"] == 5, "reads wait as well")
        assert gate.driver.drain(20.0).in_flight == 0
        slow.join()
        assert seen[0]["app"] == "old"
        count = len(old.seen)
        gate.driver.switch(Side.NEW)
        gate.driver.release()
        assert b"101 Switching" in receive_until(raw, b"hello ")
    for thread, results in waiting:
        thread.join()
        assert results[0]["app"] == "new", "a reader never sees an older state again"
    assert len(old.seen) == count
    state = gate.driver.look()
    assert state is not None
    assert (state.served_after_drain, state.failed, state.passing) == (0, 0, 0)
    assert ("POST", "/write") not in [(m, p) for _, m, p in old.seen]


def test_going_back_and_a_restart_keep_what_was_decided(trio: Trio) -> None:
    """A gate that is killed while reads pass lets them pass again; released, all go to old."""
    gate, _, _ = trio
    hold(gate, reads=True)
    gate.driver.drain(20.0)
    gate.kill()
    gate.start()
    assert gate.get("/read")["app"] == "old"
    write, results = in_background(lambda: gate.get("/write", "POST", b"x"))
    until(lambda: gate.status()["waiting"] == 1, "it waits")
    hold(gate, reads=False)
    hold(gate, reads=True)
    assert gate.status()["reads_pass"] is False, "reads that were ended do not begin again"
    gate.driver.release()
    write.join()
    assert results[0]["app"] == "old"
    assert gate.status()["served_after_drain"] == 0


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus' own parser reads."""
    assert text.endswith("\n")
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_what_is_measured(trio: Trio) -> None:
    """Errors and times of each side, compared at the switch; as text for Prometheus, on the control
    socket and at an address."""
    gate, _, _ = trio
    for code in (200, 204, 404, 500, 503):
        client = gate.client()
        client.request("GET", f"/status?code={code}")
        client.getresponse().read()
        client.close()
    gate.get("/slow?sleep=0.2&secret=4711")
    hold(gate, reads=False)
    held, _ = in_background(lambda: gate.get("/held"))
    until(lambda: gate.status()["waiting"] == 1, "it waits")
    gate.driver.drain(20.0)
    gate.driver.switch(Side.NEW)
    gate.driver.release()
    held.join()
    gate.get("/after", "POST", b"x")
    state = gate.driver.look()
    assert state is not None
    before, since = state.before_switch, state.since_switch
    assert before is not None
    assert since is not None
    assert (before.requests, before.errors, before.timed) == (6, 2, 6)
    assert 0.15 <= before.within(1.0) <= 5
    assert (since.requests, since.errors, since.timed) == (2, 0, 1), "who had waited is not timed"

    text = gate.driver.metrics()
    assert "4711" not in text
    found = samples(text)
    assert found["crossfade_gate_requests_total", (("side", "old"), ("status", "5xx"))] == 2
    assert found["crossfade_gate_requests_total", (("side", "new"), ("status", "2xx"))] == 2
    assert found["crossfade_gate_serves", (("side", "new"),)] == 1
    assert found["crossfade_gate_answer_seconds_bucket", (("le", "+Inf"), ("side", "old"))] == 6
    assert found["crossfade_gate_answer_seconds_count", (("side", "old"),)] == 6
    assert found["crossfade_gate_writes_since_switch", ()] == 1
    kinds = {f.name: f.type for f in text_string_to_metric_families(text)}
    assert kinds["crossfade_gate_answer_seconds"] == "histogram"
    assert kinds["crossfade_gate_requests"] == "counter"

    at = Address("127.0.0.1", free_port())
    sides = dict.fromkeys(Side, Address("127.0.0.1", 1)) | dict(state.targets)
    told = GatewayTraffic(gate.listen, gate.directory, metrics=at)
    told.ensure(sides)
    told.ensure(sides)
    with urlopen(f"http://{at}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert samples(answer.read().decode()).keys() == found.keys()
    for line, status in (("GET / HTTP/1.1", b" 404 "), ("POST /metrics HTTP/1.1", b" 405 ")):
        with socket.create_connection((at.host, at.port)) as raw:
            raw.sendall(f"{line}\r\nHost: a\r\n\r\n".encode())
            assert status in receive_until(raw, b"\r\n")
    assert over_the_socket(gate.directory / "gate.sock").startswith("HTTP/1.1 200 OK\r\n")
    gate.driver.ensure(sides)
    look = gate.driver.look()
    assert look is not None
    assert look.metrics is None, "not asked for, so nowhere"


def over_the_socket(path: Path) -> str:
    """The same by HTTP over the control socket."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(path))
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: gate\r\n\r\n")
        return raw.makefile("rb").read().decode()


def test_an_address_that_is_taken_harms_nobody(trio: Trio) -> None:
    """The gate goes on without, and says so."""
    gate, old, new = trio
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        at = Address(*taken.getsockname())
        told = GatewayTraffic(gate.listen, gate.directory, metrics=at)
        told.ensure({Side.OLD: old.address, Side.NEW: new.address})
        state = told.look()
    assert state is not None
    assert state.metrics is None
    assert gate.get("/works")["app"] == "old"


def test_quantiles() -> None:
    """Interpolated within a bucket, as Prometheus does."""
    times = [0] * len(Measured().times)
    times[5] = 10  # from 7.5 to 10 ms
    times[-1] = 10  # above 30 s
    measured = Measured(20, 0, tuple(times), 5)
    assert measured.client_error_rate == 0.25
    assert measured.within(0.25) == pytest.approx(0.00875)
    assert measured.within(0.5) == pytest.approx(0.01)
    assert measured.within(0.95) == 30
    assert Measured().within(0.95) == 0
    assert Measured.from_json(json.loads(json.dumps(measured.as_json()))) == measured
    assert measured.since(measured) == Measured()


def test_a_state_from_an_older_gate(tmp_path: Path) -> None:
    """A hold that was written before there were reads that pass lets none pass."""
    state = GateState(targets=dict.fromkeys(Side, Address("127.0.0.1", 1)))
    held = state.held(5, 10, Side.NEW, "/token", reads=True)
    file = StateFile(tmp_path / "gate.state")
    file.save_now(held, Counters())
    assert file.load() == (held, Counters())
    text = (tmp_path / "gate.state").read_text()
    assert '"reads": true' in text
    (tmp_path / "gate.state").write_text(text.replace(',\n  "reads": true', ""))
    loaded = file.load()
    assert loaded is not None
    assert held.hold is not None
    assert loaded[0] == replace(held, hold=replace(held.hold, reads=False))
