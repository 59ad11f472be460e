"""The driver: a detached gate that is found again, and errors that explain themselves."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.conftest import Trio
from tests.gateway.scratch import App, until

from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.errors import Failed
from crossfade.model import Address, Side
from crossfade.ports import Traffic
from crossfade.testing.free_ports import free_port


@pytest.fixture
def apps() -> Iterator[dict[Side, Address]]:
    """Two applications."""
    with App("old") as old, App("new") as new:
        yield {Side.OLD: old.address, Side.NEW: new.address}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[GatewayTraffic]:
    """A driver whose gate is ended afterwards; its directory's path is longer than 108 bytes."""
    directory = tmp_path / ("d" * 70) / ("e" * 70)
    driver = GatewayTraffic(Address("127.0.0.1", free_port()), directory)
    yield driver
    driver.stop()


def test_whole_cutover_through_the_port(
    driver: GatewayTraffic, apps: dict[Side, Address], tmp_path: Path
) -> None:
    """Every verb of the port, each twice where a crash could repeat it."""
    traffic: Traffic = driver
    assert traffic.traits.hold
    assert traffic.traits.exact_drain
    assert traffic.look() is None
    for _ in range(2):
        traffic.ensure(apps)
    for _ in range(2):
        traffic.hold(
            lease=20, at_most=40, commit_to=Side.NEW, commit_token=tmp_path / "no" / "token"
        )
        traffic.renew(20)
    state = traffic.look()
    assert state is not None
    assert state.held
    assert 10 < state.lease_left <= 20
    for _ in range(2):
        assert traffic.drain(10.0).in_flight == 0
    for _ in range(2):
        traffic.switch(Side.NEW)
    for _ in range(2):
        traffic.release(pace=8)
    traffic.switch(Side.NEW)  # a crash after the release: nothing is left to do
    traffic.record(tmp_path / "record")
    traffic.record(None)
    state = traffic.look()
    assert state is not None
    assert (state.side, state.held, state.lease_left) == (Side.NEW, False, 0.0)
    assert state.targets == apps
    for _ in range(2):
        traffic.stop()
    assert traffic.look() is None


def test_gate_outlives_the_tool_and_is_found_again(
    driver: GatewayTraffic, apps: dict[Side, Address]
) -> None:
    """A tool that ends leaves the gate running, in a session of its own, with private files."""
    code = (
        "import sys; from pathlib import Path; from crossfade.model import Address, Side\n"
        "from crossfade.drivers.traffic.gateway import GatewayTraffic\n"
        "listen, directory, old, new = sys.argv[1:]\n"
        "driver = GatewayTraffic(Address.parse(listen), Path(directory))\n"
        "driver.ensure({Side.OLD: Address.parse(old), Side.NEW: Address.parse(new)})\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(driver.listen), str(driver.directory)]
        + [str(apps[side]) for side in Side],
        check=True,
        timeout=60,
        env={**os.environ, "MY_SECRET": "hunter2"},
    )
    state = driver.look()
    assert state is not None
    pid = int((driver.directory / "gate.pid").read_text())
    assert os.getsid(pid) == pid
    assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert stat.S_IMODE((driver.directory / "gate.sock").stat().st_mode) == 0o600
    for name in ("gate.state", "gate.log"):
        assert stat.S_IMODE((driver.directory / name).stat().st_mode) == 0o600
    driver.ensure(apps)
    assert int((driver.directory / "gate.pid").read_text()) == pid


def test_killed_gate_is_started_again_with_its_state(
    driver: GatewayTraffic, apps: dict[Side, Address], tmp_path: Path
) -> None:
    """After kill -9 while holding, commands say that it is unreachable, and ensure restores it."""
    driver.ensure(apps)
    driver.hold(lease=30, at_most=60, commit_to=Side.NEW, commit_token=tmp_path / "token")
    os.kill(int((driver.directory / "gate.pid").read_text()), signal.SIGKILL)
    until(lambda: driver.look() is None, "it is gone")
    with pytest.raises(Failed) as caught:
        driver.renew(30)
    assert caught.value.code == "gate-unreachable"
    driver.ensure(apps)
    driver.renew(30)
    state = driver.look()
    assert state is not None
    assert state.held


def test_gate_that_does_not_come_up_says_why(
    driver: GatewayTraffic, apps: dict[Side, Address]
) -> None:
    """A port that is taken: the error has the last lines of the log."""
    with socket.create_server((driver.listen.host, driver.listen.port)):
        with pytest.raises(Failed) as caught:
            driver.ensure(apps)
        assert caught.value.code == "gate-not-started"
        assert "address already in use" in caught.value.where
    driver.ensure(apps)


def test_damaged_state_stops_the_start(driver: GatewayTraffic, apps: dict[Side, Address]) -> None:
    """What the gate says about its state reaches the operator."""
    driver.directory.mkdir(parents=True)
    (driver.directory / "gate.state").write_text("{}")
    with pytest.raises(Failed) as caught:
        driver.ensure(apps)
    assert "is damaged" in caught.value.where
    assert "Traceback" not in caught.value.where


def test_refusals_have_codes(driver: GatewayTraffic, apps: dict[Side, Address]) -> None:
    """Each kind of refusal has a name of its own."""
    driver.ensure(apps)
    for code, command in (
        ("gate-refused", lambda: driver.switch(Side.NEW)),
        ("gate-refused", lambda: driver.drain(1.0)),
        ("gate-hold-over", lambda: driver.renew(1.0)),
        ("gate-refused", lambda: driver.record(Path("/nowhere/record"))),
    ):
        with pytest.raises(Failed) as caught:
            command()
        assert caught.value.code == code
        assert caught.value.where


def test_frozen_gate_is_an_error_and_not_a_hang(
    driver: GatewayTraffic, apps: dict[Side, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that does not answer at all: the call ends by itself."""
    monkeypatch.setattr("crossfade.drivers.traffic.gateway._ANSWER_SECONDS", 0.5)
    driver.ensure(apps)
    pid = int((driver.directory / "gate.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Failed) as caught:
            driver._ask({"do": "status"}, 0.5)
        assert caught.value.code == "gate-unreachable"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_driver_imports_without_the_gate() -> None:
    """The tool starts fast: neither uvloop nor httptools nor asyncio is loaded by the driver."""
    code = (
        "import sys, crossfade.drivers.traffic.gateway as g\n"
        "print(*sorted({'uvloop', 'httptools', 'asyncio', 'subprocess'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout.split() == []


def test_expected_token(shared: Trio) -> None:
    """Requests that bear the announced token are counted, and no others; each token anew."""
    gate = shared[0]
    assert gate.driver.expect("a1") == 0
    for token in ("a1", "b2", "A1", None):
        client = gate.client()
        client.request("GET", "/", headers={"x-Crossfade-TOKEN": token} if token else {})
        assert client.getresponse().status == 200
        client.close()
    assert gate.driver.expect("a1") == 1
    assert gate.driver.expect("b2") == 0
    with pytest.raises(Failed) as caught:
        gate.driver.expect("not a token")
    assert caught.value.code == "gate-refused"
