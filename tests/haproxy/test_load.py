"""Holds, a reload, a killed tool and a restart under load: nothing fails, nothing leaks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.scratch import App
from tests.haproxy.scratch import Proxy
from tests.testbed import WHOLE

from crossfade.model import Address, Side
from crossfade.testing.applications import PATIENCE, beside, eventually, tunnel

RATE = 200
HOLDS = 20 if WHOLE else 6
HOLD_SECONDS = 3.0
BETWEEN = 0.5
ROOT = Path(__file__).parents[2]


class Loaded:
    """A proxy before two applications, and a load that is on its way."""

    def __init__(self, proxy: Proxy, old: App, new: App, seconds: float, rate: float) -> None:
        self.proxy, self.seconds, self.rate = proxy, seconds, rate
        self.apps = {Side.OLD: old, Side.NEW: new}
        words = (proxy.listen.host, str(proxy.listen.port), str(rate), str(seconds), "7")
        self._load = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.load", *words], stdout=subprocess.PIPE, cwd=ROOT
        )

    def hold(self, token: Path, lease: float = 20.0) -> None:
        """Hold, with new as the side to commit to."""
        self.proxy.traffic.hold(lease=lease, at_most=60.0, commit_to=Side.NEW, commit_token=token)

    def leaks(self, side: Side, drained: float) -> list[tuple[float, str, str]]:
        """What an application saw or finished after it was drained."""
        app = self.apps[side]
        return [entry for entry in [*app.seen, *app.finished] if entry[0] > drained]

    def result(self) -> dict[str, Any]:
        """What came of the load."""
        out, _ = self._load.communicate(timeout=PATIENCE + self.seconds)
        result = json.loads(out)
        assert isinstance(result, dict)
        assert result["failed"] == 0, result
        assert result["sent"] >= self.rate * self.seconds * 0.95
        served = sum(len(app.finished) for app in self.apps.values())
        assert served >= result["sent"]
        return result

    def end(self) -> None:
        """End what is left of the load."""
        self._load.kill()
        self._load.wait()


Make = Callable[..., Any]


@pytest.fixture
def loaded(tmp_path: Path) -> Make:
    """Makes a load for some seconds."""

    @contextmanager
    def make(seconds: float, rate: float = RATE, client: str = "60s") -> Iterator[Loaded]:
        with App("old") as old, App("new") as new:
            proxy = Proxy(tmp_path, old.address)
            if client != "60s":
                text = proxy.original.replace("timeout client 60s", f"timeout client {client}")
                proxy.config.write_text(text)
            try:
                proxy.fit({Side.OLD: old.address, Side.NEW: new.address})
                load = Loaded(proxy, old, new, seconds, rate)
                try:
                    time.sleep(1.0)
                    yield load
                finally:
                    load.end()
            finally:
                proxy.close()

    return make


def _download(at: Address, seconds: float) -> int:
    """Read 40 MB slowly; returns how many bytes came."""
    client = HTTPConnection(at.host, at.port, timeout=PATIENCE)
    client.request("GET", "/big?n=40000000")
    answer = client.getresponse()
    began, size = time.monotonic(), 0
    while data := answer.read(400_000):
        size += len(data)
        time.sleep(max(0.0, began + seconds * size / 40e6 - time.monotonic()))
    client.close()
    return size


def test_holds_under_load(loaded: Make, tmp_path: Path) -> None:
    """Holds of 3 s at 200 requests a second, each with a tunnel and a long download in flight:
    0 failed, 0 leaks, every body as it was sent."""
    leaks: list[tuple[float, str, str]] = []
    most_waiting = 0
    with loaded(HOLDS * (HOLD_SECONDS + BETWEEN + 2.5) + 2) as load:
        traffic, side = load.proxy.traffic, Side.OLD
        for _ in range(HOLDS):
            long, sizes = beside(lambda: _download(load.proxy.listen, 1.0))
            with tunnel(load.proxy.listen, "/upgrade") as raw:
                eventually(lambda: load.apps[side].active > 0, "the download")  # noqa: B023
                began = time.monotonic()
                load.hold(tmp_path / "token")
                drained_state = traffic.drain(15.0)
                drained, busy = time.monotonic(), load.apps[side].active
                assert (drained_state.in_flight, drained_state.tunnels) == (0, 1)
                long.join()
                assert sizes == [40_000_000]
                time.sleep(max(0.0, began + HOLD_SECONDS - time.monotonic()))
                state = traffic.look()
                assert state is not None
                most_waiting = max(most_waiting, state.waiting)
                traffic.switch(side.other)
                assert raw.recv(100) == b""
            traffic.release()
            eventually(lambda: traffic.look().waiting == 0, "all are let go")
            time.sleep(BETWEEN)  # in which a leak would show
            leaks += [one for one in load.leaks(side, drained) if "upgrade" not in one[2]]
            state = traffic.look()
            assert state is not None
            assert (state.served_after_drain, busy) == (0, 1)  # the tunnel is busy
            side = side.other
        result = load.result()
        state = traffic.look()
    assert leaks == []
    assert most_waiting > 100
    assert state is not None
    assert state.failed == 0
    assert state.total == result["sent"] + 2 * HOLDS


def test_reload_while_held(loaded: Make, tmp_path: Path) -> None:
    """A reload in the middle of a hold: what the old process holds follows, and nothing fails."""
    with loaded(9.0) as load:
        traffic = load.proxy.traffic
        load.hold(tmp_path / "token")
        traffic.drain(15.0)
        drained = time.monotonic()
        time.sleep(1.0)
        worker = load.proxy.worker()
        subprocess.run(("sh", "-c", f"kill -USR2 {load.proxy.process.pid}"), check=True)
        eventually(lambda: load.proxy.answers() and load.proxy.worker() != worker, "reloaded")
        for _ in range(4):
            traffic.renew(20.0)
            time.sleep(0.25)
        traffic.drain(15.0)
        traffic.switch(Side.NEW)
        traffic.release()
        load.result()
        assert load.leaks(Side.OLD, drained) == []
        assert len(load.apps[Side.NEW].finished) > RATE


@pytest.mark.parametrize("committed", [False, True])
def test_killed_tool(loaded: Make, tmp_path: Path, committed: bool) -> None:
    """A tool that is killed in the hold: within the lease the old side serves, or, with the token,
    the new one; no request is lost."""
    token = tmp_path / "token.committed"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from crossfade.drivers.traffic.haproxy import HaproxyTraffic\n"
        "from crossfade.model import Address, Side\n"
        "place, config, socket, token, committed = sys.argv[1:]\n"
        "traffic = HaproxyTraffic(Address('127.0.0.1', 1), Path(place), backend='notes',\n"
        "    config=Path(config), socket=Path(socket), place=Path(place))\n"
        "traffic.hold(lease=20.0, at_most=60.0, commit_to=Side.NEW, commit_token=Path(token))\n"
        "traffic.drain(15.0)\n"
        "traffic.renew(3.0)\n"
        "if committed == '1': Path(token).touch()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with loaded(9.0) as load:
        proxy = load.proxy
        words = [str(proxy.place), str(proxy.config), str(proxy.socket), str(token)]
        done = subprocess.run(
            [sys.executable, "-c", code, *words, str(int(committed))], check=False
        )
        assert done.returncode == -9
        drained = time.monotonic()
        state = proxy.traffic.look()
        assert state is not None
        assert state.held
        served = {side: len(app.finished) for side, app in load.apps.items()}
        to = Side.NEW if committed else Side.OLD
        eventually(lambda: len(load.apps[to].finished) > served[to], "somebody serves")
        assert time.monotonic() - drained < 30  # the lease is 3 s, the cap 60
        load.result()
        state = proxy.traffic.look()
        assert state is not None
        assert (state.side, state.held, state.failed) == (to, False, 0)
        if committed:
            assert load.leaks(Side.OLD, drained) == []
        else:
            assert load.apps[Side.NEW].seen == []


def test_long_hold(loaded: Make, tmp_path: Path) -> None:
    """A hold that is longer than the clients' time-out in HAProxy: no request fails of it."""
    with loaded(14.0, rate=60, client="4s") as load:
        traffic = load.proxy.traffic
        load.hold(tmp_path / "token")
        traffic.drain(15.0)
        for _ in range(10):
            traffic.renew(20.0)
            time.sleep(1.0)
        state = traffic.look()
        assert state is not None
        assert state.waiting > 500
        traffic.switch(Side.NEW)
        traffic.release()
        load.result()
