"""The dead-man's switch: it fires when nobody renews, and exactly one side gets the token."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.testbed.site import eventually

from crossfade.drivers.hosts.deadman import LocalDeadMan
from crossfade.errors import Failed

ARM = """
import sys, time
from pathlib import Path
from crossfade.drivers.hosts.deadman import LocalDeadMan
LocalDeadMan(Path(sys.argv[1])).arm([("touch", sys.argv[2]), ("touch", sys.argv[3])], 1.0)
print("armed", flush=True)
time.sleep(600)
"""


def test_fires_when_nobody_renews(tmp_path: Path) -> None:
    """Without renewal the revival's commands run in order, and we cannot commit any more."""
    # armed by another process, because firing kills the runner that armed it
    first, second = tmp_path / "first", tmp_path / "second"
    argv = (sys.executable, "-c", ARM, str(tmp_path / "d"), str(first), str(second))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"armed\n"
        switch = LocalDeadMan(tmp_path / "d")
        assert switch.state() == "armed"
        eventually(second.exists)
        assert first.exists()
        assert runner.wait(10) == -signal.SIGKILL, "a frozen runner must never wake up again"
    assert switch.state() == "fired"
    assert switch.commit() is False
    assert switch.stand_down() is False
    assert switch.renew(1.0) is False


def test_renewed_it_does_not_fire(tmp_path: Path) -> None:
    """As long as somebody renews nothing happens; standing down ends it."""
    switch = LocalDeadMan(tmp_path / "d")
    switch.arm([("touch", str(tmp_path / "fired"))], 3.0)
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        assert switch.renew(3.0) is True
        time.sleep(0.1)
    assert switch.stand_down() is True
    assert switch.stand_down() is True, "asked again, the answer is the same"
    assert switch.commit() is False
    assert switch.state() == "stood-down"
    assert not (tmp_path / "fired").exists()


def test_handed_over(tmp_path: Path) -> None:
    """It goes on where we could not, without an end to us, until the machine is reached."""
    switch, link, tries = LocalDeadMan(tmp_path / "d"), tmp_path / "link", tmp_path / "tries"
    script = f"echo >>{tries}; [ -e {link} ] || exit 255; touch {tmp_path}/back"
    switch.arm([("sh", "-c", script)], 60.0)
    switch.hand_over()
    assert (switch.state(), switch.commit(), switch.stand_down()) == ("fired", False, False)
    eventually(lambda: tries.exists() and tries.read_text().count("\n") > 1)
    assert not (tmp_path / "back").exists()
    link.touch()
    eventually((tmp_path / "back").exists)


def test_commit_is_one_act(tmp_path: Path) -> None:
    """The commit's token exists if, and only if, commit succeeded; it fires no more."""
    switch = LocalDeadMan(tmp_path / "d")
    switch.arm([("touch", str(tmp_path / "fired"))], 3.0)
    assert not switch.commit_token.exists()
    assert switch.commit() is True
    assert switch.commit_token.exists()
    time.sleep(3.5)
    assert (switch.state(), (tmp_path / "fired").exists()) == ("committed", False)
    with pytest.raises(Failed, match="used already"):
        switch.arm([], 1.0)


def test_only_one_gets_the_token(tmp_path: Path) -> None:
    """Many that race for one token: exactly one kind of end wins."""
    for attempt in range(20):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        (directory / "token").write_text("{}", encoding="utf-8")
        switch = LocalDeadMan(directory)
        won: list[str] = []
        start = threading.Barrier(4)

        def race(
            end: str,
            switch: LocalDeadMan = switch,
            won: list[str] = won,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            taken = switch.commit() if end == "committed" else switch.stand_down()
            if taken:
                won.append(end)

        ends = ["committed", "stood-down"] * 2
        threads = [threading.Thread(target=race, args=(end,)) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won in (["committed"] * 2, ["stood-down"] * 2), won
        assert [path.name for path in directory.iterdir()] == [f"token.{won[0]}"]
