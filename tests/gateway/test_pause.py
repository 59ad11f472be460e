"""Hold, drain, switch, release; the lease; what survives a restart."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.gateway.conftest import Trio
from tests.gateway.scratch import (
    App,
    GateProcess,
    gate_command,
    in_background,
    receive_all,
    receive_until,
    silent,
    until,
)

from crossfade.errors import Failed
from crossfade.gateway.client import ClientConnection
from crossfade.gateway.gate import Gate
from crossfade.gateway.limits import Limits
from crossfade.gateway.pause import Counters, GateState
from crossfade.gateway.upstream import UpstreamConnection
from crossfade.model import Address, Side


def test_cutover_moves_everything_and_leaks_nothing(trio: Trio) -> None:
    """Held requests, also on connections that are open already, all go to the new side."""
    gate, old, new = trio
    opened = [gate.client() for _ in range(5)]
    for client in opened:
        client.request("GET", "/before")
        assert json.load(client.getresponse())["app"] == "old"
    gate.hold()
    assert gate.driver.drain(10.0).in_flight == 0
    seen = len(old.seen)
    for number, client in enumerate(opened):
        client.request("POST", f"/held?{number}", b"x" * 1000)
    fresh = [in_background(lambda: gate.get("/fresh")) for _ in range(5)]
    until(lambda: gate.status()["waiting"] == 10, "all wait")
    assert len(old.seen) == seen
    gate.driver.switch(Side.NEW)
    assert new.seen == []
    gate.driver.release()
    for client in opened:
        assert json.load(client.getresponse())["app"] == "new"
        client.close()
    for thread, results in fresh:
        thread.join()
        assert results[0]["app"] == "new"
    state = gate.driver.look()
    assert state is not None
    assert (state.side, state.held, state.waiting, state.failed) == (Side.NEW, False, 0, 0)
    assert (state.served_after_drain, state.writes_since_switch) == (0, 5)
    assert (state.total, len(old.seen)) == (15, seen)


def test_drain_waits_for_the_last_byte(trio: Trio) -> None:
    """A request in flight keeps the drain waiting; too long is an error with the numbers."""
    gate, old, _ = trio
    thread, results = in_background(lambda: gate.get("/slow?sleep=1.5"))
    until(lambda: old.active == 1, "it is in flight")
    gate.hold()
    answer = gate.ask(do="drain", timeout=0.3)
    assert answer["error"] == "drain-timeout"
    assert (answer["in_flight"], answer["waiting"], answer["tunnels"]) == (1, 0, 0)
    with pytest.raises(Failed) as caught:
        gate.driver.drain(0.1)
    assert caught.value.code == "gate-drain-timeout"
    gate.driver.drain(30.0)
    assert old.active == 0
    thread.join()
    assert results[0]["app"] == "old"


class Pipe:
    """What a connection writes to, for the one fault that a correct gate does not show."""

    def __init__(self) -> None:
        self.written = b""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: None

    def get_extra_info(self, name: str) -> Pipe | None:
        """Its own socket, from nowhere."""
        return self if name == "socket" else None

    def is_closing(self) -> bool:
        """Open."""
        return False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data


@pytest.mark.parametrize(("leads_to", "leaks"), [(Side.OLD, 1), (Side.NEW, 0)])
def test_requests_after_the_drain_are_counted(leads_to: Side, leaks: int) -> None:
    """A request that is written to the drained side, by whatever fault, is seen by the counter."""

    async def send() -> tuple[bytes, int]:
        targets = dict.fromkeys(Side, Address("127.0.0.1", 1))
        state = GateState(side=Side.NEW, targets=targets, epoch=1, drained=Side.OLD)
        gate = Gate(state, Counters(), Limits())
        pipe = Pipe()
        upstream = UpstreamConnection(gate, leads_to, 0)
        upstream.connection_made(cast("asyncio.Transport", pipe))
        gate.pool.put(upstream)  # a connection that the switch should have closed
        client = ClientConnection(gate)
        client.connection_made(cast("asyncio.Transport", Pipe()))
        client.data_received(b"GET /leak HTTP/1.1\r\nHost: a\r\n\r\n")
        return pipe.written, gate.counters.served_after_drain

    written, counted = asyncio.run(send())
    assert written.startswith(b"GET /leak ")
    assert counted == leaks


def test_going_back_is_no_leak(trio: Trio) -> None:
    """A side that gets its traffic back by a release is not the drained one any more."""
    gate, _, _ = trio
    gate.hold()
    gate.driver.drain(10.0)
    gate.driver.release()
    gate.get("/back")
    assert gate.status()["served_after_drain"] == 0


def test_commands_out_of_order_are_refused(trio: Trio) -> None:
    """No switch, drain or renewal without a hold; nonsense is an error, not a guess."""
    gate, _, _ = trio
    assert gate.ask(do="switch", side="new")["error"] == "not-held"
    assert gate.ask(do="drain", timeout=1)["error"] == "not-held"
    assert gate.ask(do="renew", lease=5)["error"] == "hold-over"
    assert gate.ask(do="release", pace=64)["ok"]
    for bad in (
        {"do": "dance"},
        {"do": "hold"},
        {"do": "hold", "lease": -1, "at_most": 5, "commit_to": "new", "commit_token": "/t"},
        {"do": "hold", "lease": 1, "at_most": 5, "commit_to": "up", "commit_token": "/t"},
        {"do": "hold", "lease": 1, "at_most": 5, "commit_to": "new", "commit_token": "t"},
        {"do": "targets", "old": "nowhere", "new": "nowhere"},
        {"do": "release", "pace": 0},
        {"nothing": 1},
    ):
        assert gate.ask(**bad)["error"] == "bad-command", bad
    assert gate.status()["side"] == "old"


def test_lease_that_runs_out_releases_to_old(trio: Trio) -> None:
    """Without a token the side stays; nobody waits longer than the lease; renewing is too late."""
    gate, _, new = trio
    gate.hold(lease=3.0)
    gate.driver.drain(10.0)
    started = time.monotonic()
    assert gate.get("/held", "POST", b"x")["app"] == "old"
    assert 0.3 < time.monotonic() - started < 30
    assert new.seen == []
    with pytest.raises(Failed) as caught:
        gate.driver.renew(5.0)
    assert caught.value.code == "gate-hold-over"
    assert gate.status()["epoch"] == 0


def test_port_that_is_open_before_the_application(trio: Trio) -> None:
    """What forwards a container's port accepts and breaks off until the application listens: when
    the hold ends by itself, a request that was held waits for the application."""
    gate, old, _ = trio
    gate.hold(lease=3.0)
    gate.driver.drain(10.0)
    old.close()
    with socket.create_server(("127.0.0.1", old.address.port)) as forwarding:
        forwarding.settimeout(30)
        request, results = in_background(lambda: gate.get("/held", "POST", b"x"))
        for patience in (0.0, 0.5, 1.0):  # seconds until it finds that nobody listens
            with forwarding.accept()[0]:
                time.sleep(patience)
    with App("old", old.address.port) as app:
        request.join()
        assert [one["app"] for one in results] == ["old"]
        assert [path for _, method, path in app.seen if method == "POST"] == ["/held"]


def test_lease_that_runs_out_after_the_commit_goes_to_new(trio: Trio, tmp_path: Path) -> None:
    """With the token the gate switches by itself."""
    gate, old, _ = trio
    token = tmp_path / "committed"
    gate.hold(lease=3.0, token=token)
    gate.driver.drain(10.0)
    token.write_text("")
    assert gate.get("/held")["app"] == "new"
    status = gate.status()
    assert (status["side"], status["epoch"], status["served_after_drain"]) == ("new", 1, 0)
    assert old.seen == []


def test_renewals_keep_the_hold_until_the_cap(trio: Trio) -> None:
    """A renewed lease holds on, but no hold outlasts its cap, also when held again."""
    gate, _, _ = trio
    gate.hold(lease=3.0, at_most=8.0)
    started = time.monotonic()
    while time.monotonic() - started < 5.0:
        gate.driver.renew(3.0)
        gate.hold(lease=3.0, at_most=100.0)
        assert gate.status()["held"]
        assert gate.status()["cap_left"] <= 8.0
        time.sleep(0.1)
    gate.driver.renew(60.0)
    until(lambda: not gate.status()["held"], "the cap ends it")
    assert 7.5 < time.monotonic() - started < 30


def test_hold_again_takes_the_new_token(trio: Trio, tmp_path: Path) -> None:
    """Holding while held is fine: lease and token are those of the last call."""
    gate, _, _ = trio
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("")
    gate.hold(lease=20.0, token=first)
    gate.hold(lease=1.0, token=second)
    until(lambda: not gate.status()["held"], "the lease ends")
    assert gate.status()["side"] == "old"


def test_state_survives_a_kill_while_holding(trio: Trio) -> None:
    """After kill -9 in the middle of a hold the gate holds again, with all it knew."""
    gate, old, _ = trio
    gate.get("/one", "POST", b"x")
    gate.hold(lease=30.0)
    gate.driver.drain(10.0)
    gate.driver.switch(Side.NEW)
    gate.kill()
    assert gate.driver.look() is None
    gate.start()
    status = gate.status()
    assert (status["side"], status["held"], status["drained"]) == ("new", True, True)
    assert (status["epoch"], status["total"]) == (1, 1)
    assert 1 < status["lease_left"] <= 30
    thread, results = in_background(lambda: gate.get("/held"))
    until(lambda: gate.status()["waiting"] == 1, "it waits")
    gate.driver.release()
    thread.join()
    assert results[0]["app"] == "new"
    assert len(old.seen) == 1


@pytest.mark.parametrize("committed", [False, True])
def test_lease_that_ran_out_while_the_gate_was_dead(
    trio: Trio, tmp_path: Path, committed: bool
) -> None:
    """A gate that starts after the end of its lease decides at once, by the token."""
    gate, _, _ = trio
    token = tmp_path / "committed"
    gate.hold(lease=3.0, token=token)
    gate.driver.drain(10.0)
    gate.kill()
    if committed:
        token.write_text("")
    time.sleep(3.1)  # the lease runs out while nobody is there to see it
    gate.start()
    assert gate.get("/now")["app"] == ("new" if committed else "old")
    assert not gate.status()["held"]


def test_release_keeps_the_pace_and_the_order(trio: Trio) -> None:
    """At most so many in flight until none waits; newcomers queue behind."""
    gate, old, new = trio
    gate.hold()
    gate.driver.drain(10.0)
    gate.driver.switch(Side.NEW)
    waiting = []
    for number in range(30):
        path = f"/n{number}?sleep=0.05"
        waiting.append(in_background(lambda path=path: gate.get(path)))  # type: ignore[misc]
        until(lambda: gate.status()["waiting"] == number + 1, "it waits")  # noqa: B023
    gate.driver.release(pace=3)
    late = gate.get("/late")
    for thread, results in waiting:
        thread.join()
        assert results[0]["app"] == "new"
    assert late["app"] == "new"
    assert new.peak <= 3
    order = [path for _, _, path in sorted(new.seen)]
    positions = [order.index(f"/n{number}?sleep=0.05") for number in range(30)]
    assert all(abs(position - number) <= 3 for number, position in enumerate(positions))
    assert order.index("/late") >= 28
    assert old.seen == []


def test_long_polls_do_not_block_the_release(trio: Trio) -> None:
    """Answers that take long use up the pace only for a moment."""
    gate, _, _ = trio
    gate.hold()
    polls = [in_background(lambda: gate.get("/poll?sleep=4")) for _ in range(4)]
    until(lambda: gate.status()["waiting"] == 4, "they wait")
    thread, results = in_background(lambda: gate.get("/quick"))
    until(lambda: gate.status()["waiting"] == 5, "it waits too")
    gate.driver.release(pace=2)
    thread.join()
    assert results[0]["app"] == "old"
    assert gate.status()["in_flight"] == 4
    for poll, _ in polls:
        poll.join()


def test_tunnels_are_cut_at_the_switch(trio: Trio) -> None:
    """A tunnel does not keep the drain waiting, lives while held, and ends at the switch."""
    gate, _, _ = trio
    with gate.connect() as raw:
        raw.sendall(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        receive_until(raw, b"hello ")
        gate.hold()
        state = gate.driver.drain(10.0)
        assert (state.in_flight, state.tunnels) == (0, 1)
        raw.sendall(b"still here")
        receive_until(raw, b"still here")
        gate.driver.switch(Side.NEW)
        assert receive_all(raw) == b""
    assert gate.status()["tunnels"] == 0


def test_held_upload_with_expect_does_not_deadlock(trio: Trio) -> None:
    """A client that waits for "100 Continue" gets it after the release, and not before."""
    gate, _, _ = trio
    gate.hold()
    with gate.connect() as raw:
        raw.sendall(
            b"PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        until(lambda: gate.status()["waiting"] == 1, "it waits")
        assert silent(raw, 0.3)
        gate.driver.switch(Side.NEW)
        gate.driver.release()
        assert receive_until(raw, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hello")
        assert b'"app": "new"' in receive_until(raw, b"}")


def test_client_that_leaves_while_held_is_forgotten(trio: Trio) -> None:
    """A request whose client is gone before the release is never sent on."""
    gate, old, _ = trio
    gate.hold()
    raw = gate.connect()
    raw.sendall(b"POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    until(lambda: gate.status()["waiting"] == 1, "it waits")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw.close()
    until(lambda: gate.status()["waiting"] == 0, "it is forgotten")
    gate.driver.release()
    gate.get("/other")
    assert [path for _, _, path in old.seen] == ["/other"]


def test_request_that_could_not_connect_waits_again(trio: Trio) -> None:
    """What the old side refused, and got nothing of, goes to the new side after the switch."""
    gate, old, new = trio
    old.close()
    thread, results = in_background(lambda: gate.get("/stuck", "POST", b"x"))
    until(lambda: gate.status()["in_flight"] == 1, "it tries to connect")
    gate.hold()
    assert gate.driver.drain(10.0).waiting == 1
    gate.driver.switch(Side.NEW)
    gate.driver.release()
    thread.join()
    assert results[0]["app"] == "new"
    assert len(new.seen) == 1
    with App("old", old.address.port):
        pass


def test_record_has_a_line_for_every_request(trio: Trio, tmp_path: Path) -> None:
    """Six columns, no secrets, mode 0600, appended, and held time apart from the total."""
    gate, _, _ = trio
    record = tmp_path / "record.csv"
    before = time.time()
    gate.driver.record(record)
    assert record.read_bytes() == b""
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    gate.get("/secret?token=hunter2")
    until(lambda: record.read_text().count("\n") == 1, "it is flushed by itself")
    gate.hold()
    thread, _ = in_background(lambda: gate.get("/held", "POST", b"x"))
    until(lambda: gate.status()["waiting"] == 1, "it waits")
    time.sleep(0.3)  # a measurable time of being held
    gate.driver.switch(Side.NEW)
    gate.driver.release()
    thread.join()
    gate.driver.record(None)
    gate.get("/unrecorded")
    first, second = (line.split(",") for line in record.read_text().splitlines())
    assert before - 1 < float(first[0]) < time.time() + 1
    assert len(first[0].partition(".")[2]) == 3
    assert first[1:4] == ["GET", "200", "old"]
    assert second[1:4] == ["POST", "200", "new"]
    assert float(second[5]) >= 300 > float(first[5])
    assert float(second[4]) >= float(second[5])
    assert "hunter2" not in record.read_text() + gate.log()
    gate.driver.record(record)
    gate.get("/again")
    gate.driver.record(None)
    assert record.read_text().count("\n") == 3


def test_record_goes_on_after_a_restart(trio: Trio, tmp_path: Path) -> None:
    """The record is part of the state."""
    gate, _, _ = trio
    gate.driver.record(tmp_path / "record.csv")
    gate.kill()
    gate.start()
    gate.get("/x")
    gate.driver.record(None)
    assert (tmp_path / "record.csv").read_text().count("\n") == 1
    assert gate.ask(do="record", path="/nowhere/x")["error"] == "record-refused"


def test_targets_may_change_and_the_side_stays(trio: Trio) -> None:
    """New addresses are used from the next request on, also where connections were pooled."""
    gate, _, new = trio
    assert gate.get("/x")["app"] == "old"
    with App("moved") as moved:
        gate.driver.ensure({Side.OLD: moved.address, Side.NEW: new.address})
        assert gate.get("/x")["app"] == "moved"
    assert gate.status()["side"] == "old"


def test_termination_finishes_what_is_in_flight(trio: Trio) -> None:
    """SIGTERM: requests in flight are answered, held ones hear so, counters are kept."""
    gate, old, _ = trio
    thread, results = in_background(lambda: gate.get("/last?sleep=0.5"))
    until(lambda: old.active == 1, "it is in flight")
    gate.hold()
    with gate.connect() as raw:
        raw.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: gate.status()["waiting"] == 1, "it waits")
        gate.process.terminate()
        assert receive_all(raw).startswith(b"HTTP/1.1 503 ")
    thread.join()
    assert results[0]["app"] == "old"
    assert gate.process.wait(30) == 0
    assert not (gate.directory / "gate.sock").exists()
    gate.start()
    status = gate.status()
    assert (status["total"], status["failed"], status["held"]) == (2, 1, True)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"version": 1}', b'{"version": 99}', b"[]", b"\xff", b'"old"']
)
def test_damaged_state_is_never_guessed_at(tmp_path: Path, damage: bytes) -> None:
    """The gate refuses to start, says why, and leaves the file as it is."""
    state = tmp_path / "gate.state"
    state.write_bytes(damage)
    ended = subprocess.run(
        gate_command(Address("127.0.0.1", 20000), tmp_path),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 4
    assert b"is damaged" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert state.read_bytes() == damage


def test_state_with_a_field_missing_is_damaged(trio: Trio) -> None:
    """Each part of a real state file is needed, but for what older gates have not written."""
    gate, _, _ = trio
    gate.hold()
    gate.kill()
    path = gate.directory / "gate.state"
    whole = json.loads(path.read_text())
    for name in whole.keys() - {"ports"}:
        path.write_text(json.dumps({key: whole[key] for key in whole if key != name}))
        with pytest.raises(AssertionError):
            start_briefly(gate)
    path.write_text(json.dumps({key: whole[key] for key in whole if key != "ports"}))
    gate.start()
    assert gate.status()["held"]


def start_briefly(gate: GateProcess) -> None:
    """Start the gate again; an AssertionError when it refuses."""
    ended = subprocess.run(
        gate_command(gate.listen, gate.directory),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_a_second_gate_does_not_take_the_state(trio: Trio) -> None:
    """One state, one gate."""
    gate, _, _ = trio
    with pytest.raises(AssertionError, match="another gate already uses"):
        start_briefly(gate)
    assert gate.driver.look() is not None


def test_state_that_cannot_be_written_is_not_acknowledged(trio: Trio) -> None:
    """When the disk refuses, the command fails and nothing is changed."""
    gate, _, _ = trio
    (gate.directory / "gate.state.new").mkdir()  # stands where the new file would be written
    assert (
        gate.ask(do="hold", lease=5, at_most=5, commit_to="new", commit_token="/nowhere")["error"]
        == "state-not-written"
    )
    assert not gate.status()["held"]
    (gate.directory / "gate.state.new").rmdir()
    gate.hold()
    assert gate.status()["held"]


def test_control_socket_is_private_from_the_first_moment(tmp_path: Path) -> None:
    """At no moment of the start has the socket wider rights than 0600."""
    modes: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                modes.add(stat.S_IMODE((tmp_path / "gate.sock").stat().st_mode))
            except FileNotFoundError:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    with App("old") as old:
        gate = GateProcess(tmp_path, old.address, old.address)
        done.set()
        watcher.join()
        gate.close()
    assert modes == {0o600}
