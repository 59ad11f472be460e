"""Many cutovers in a row under load: no failed request, nothing after the drain."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.gateway.conftest import Trio
from tests.gateway.scratch import PATIENCE, App
from tests.testbed import WHOLE

from crossfade.model import Side

HOLDS = 20 if WHOLE else 8
HOLD_SECONDS = 3.0
BETWEEN = 0.4
RATE = 200


def test_holds_under_load(trio: Trio) -> None:
    """Holds of 3 s at 200 requests a second: 0 failed, 0 leaks, every body as it was sent."""
    gate, old, new = trio
    apps: dict[Side, App] = {Side.OLD: old, Side.NEW: new}
    seconds = HOLDS * (HOLD_SECONDS + BETWEEN) + 2
    root = Path(__file__).parents[2]
    address = (gate.listen.host, str(gate.listen.port))
    load = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.load", *address, str(RATE), str(seconds), "7"],
        stdout=subprocess.PIPE,
        cwd=root,
    )
    leaks: list[tuple[float, str, str]] = []
    most_waiting = 0
    try:
        side = Side.OLD
        time.sleep(1.0)
        for _ in range(HOLDS):
            began = time.monotonic()
            gate.hold(lease=20.0, at_most=40.0)
            assert gate.driver.drain(15.0).in_flight == 0
            drained = time.monotonic()
            busy = apps[side].active
            time.sleep(max(0.0, began + HOLD_SECONDS - drained))  # the length of the pause
            state = gate.driver.look()
            assert state is not None
            most_waiting = max(most_waiting, state.waiting)
            gate.driver.switch(side.other)
            gate.driver.release()
            time.sleep(BETWEEN)  # in which a leak would show
            seen = apps[side].seen + apps[side].finished
            leaks += [entry for entry in seen if entry[0] > drained]
            assert busy == 0
            assert gate.status()["served_after_drain"] == 0
            side = side.other
        out, _ = load.communicate(timeout=PATIENCE + seconds)
    finally:
        load.kill()
        load.wait()
    result = json.loads(out)
    assert result["failed"] == 0, result
    assert leaks == []
    assert result["sent"] >= RATE * seconds * 0.95
    assert result["posts"] == pytest.approx(result["sent"] * 0.4, abs=2)
    assert most_waiting > 100
    served = len(old.finished) + len(new.finished)
    assert served == result["sent"] == gate.status()["total"]
    assert (gate.status()["failed"], gate.status()["cut"]) == (0, 0)
