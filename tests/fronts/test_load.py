"""The gate put between a web server and its application, used and taken out again, under load."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.fronts.place import Download, place_at, web_socket
from tests.gateway.scratch import PATIENCE, receive_until, silent, until
from tests.testbed.fronts import KINDS, beyond_reloads

from crossfade.model import Side

RATE = 200
SECONDS = 120  # at most


def loaded(address: tuple[str, str]) -> subprocess.Popen[bytes]:
    """The load on an address, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.load", *address, str(RATE), str(SECONDS), "7"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_out_under_load(tmp_path: Path, kind: str) -> None:
    """Insert, hold 3 s, drain, switch, release, lead to the new side: no request that goes through
    fails, the old side gets none after the drain, and a long download comes whole."""
    with place_at(kind, tmp_path) as place, ExitStack() as opened:
        gate, old, server = place.gate, place.old, place.server
        address = (server.address.host, str(server.address.port))
        load = loaded(address)
        try:
            until(lambda: len(old.seen) > RATE, "the load has begun")
            before = Download(server, 16 << 20, 4.0)
            early = opened.enter_context(web_socket(server))
            findings = place.front().insert(place.on, "cutover-1")
            assert all(finding.holds for finding in findings), findings
            assert before.ended() == before.size
            if kind != "caddy":  # which ends tunnels when it reloads, up to 2.6
                early.sendall(b"still here")
                receive_until(early, b"still here")
            tunnel = opened.enter_context(web_socket(server))
            assert gate.status()["tunnels"] == 1
            during = Download(server, 16 << 20, 2.0)
            began = time.monotonic()
            gate.hold(lease=20.0, at_most=40.0)
            assert gate.driver.drain(20.0).in_flight == 0
            drained = time.monotonic()
            assert during.ended() == during.size
            until(lambda: time.monotonic() - began > 3.0, "the pause has lasted")
            gate.driver.switch(Side.NEW)
            gate.driver.release()
            assert not silent(tunnel, PATIENCE), "tunnels are cut at the switch"
            findings = place.front().take_out(place.on, Side.NEW)
            assert all(finding.holds for finding in findings), findings
            total = gate.status()["total"]
            until(lambda: len(place.new.seen) > 4 * RATE, "the new side serves")
            load.terminate()
            out, _ = load.communicate(timeout=PATIENCE)
        finally:
            load.kill()
            load.wait()
        result = json.loads(out)
        print(f"{kind}: {result}")  # noqa: T201
        assert beyond_reloads(result["failures"], kind, reloads=2) == [], result
        assert result["sent"] > 10 * RATE
        assert result["posts"] == pytest.approx(result["sent"] * 0.4, abs=2)
        late = [one for one in old.seen + old.finished if one[0] > drained]
        assert [one for one in late if one[2] != "/upgrade"] == []
        status = gate.status()
        assert (status["served_after_drain"], status["failed"], status["cut"]) == (0, 0, 0)
        assert total > RATE
        assert gate.status()["total"] - total < RATE / 2, "the gate is out of the way"


@pytest.mark.parametrize(
    ("kind", "loses"),
    [
        ("apache", "at each of its reloads, logrotate's too, Apache httpd breaks off kept"),
        ("caddy", "Caddy closes idle kept connections when it is reloaded"),
        ("nginx", "nginx closes idle kept connections when it is reloaded"),
    ],
)
def test_led_to_the_gate_at_a_quiet_hour(tmp_path: Path, kind: str, loses: str) -> None:
    """A reload may cost a request, and the plan says so; a pause after that reload, and the switch,
    lose nothing at all."""
    with place_at(kind, tmp_path, threads=4000) as place:
        before = place.front().plan().warnings
        warning = before[-1]
        assert warning.startswith(loses)
        assert warning.endswith("and none in the cutover: crossfade gate install")
        place.front().insert(place.on, "by hand")
        assert place.front().plan().warnings == before[:-1]
        load = loaded((place.server.address.host, str(place.server.address.port)))
        try:
            until(lambda: len(place.old.seen) > RATE, "the load has begun")
            assert all(finding.holds for finding in place.front().insert(place.on, "cutover-1"))
            assert place.front().inserted_by() == "by hand"
            place.gate.hold(lease=20.0, at_most=40.0)
            assert place.gate.driver.drain(20.0).in_flight == 0
            place.gate.driver.switch(Side.NEW)
            place.gate.driver.release()
            until(lambda: len(place.new.seen) > 2 * RATE, "the new side serves")
            load.terminate()
            result = json.loads(load.communicate(timeout=PATIENCE)[0])
        finally:
            load.kill()
            load.wait()
        assert result["failures"] == []
        assert result["sent"] > 3 * RATE
