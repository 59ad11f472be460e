"""The contract of a driver of traffic: hold, drain, switch, release, and the lease that ends alone.

Inherit from ``TrafficContract`` and give it a front; every test runs with real clients against
two scratch applications.
"""

# ruff: noqa: S101 (these are tests)
from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Protocol

import pytest

from crossfade.errors import Failed
from crossfade.model import Address, Side
from crossfade.ports import Traffic, TrafficState
from crossfade.testing.applications import (
    PATIENCE,
    ScratchApp,
    beside,
    eventually,
    request,
    tunnel,
)

__all__ = ["Front", "TrafficContract", "Trial"]


class Front(Protocol):
    """What stands in front, of the kind that is tried."""

    @property
    def traffic(self) -> Traffic:
        """A driver for it."""

    def another(self) -> Traffic:
        """A driver as another process would make it, for the same front."""

    def kill(self) -> None:
        """End it, as if its process had died."""

    def start(self) -> None:
        """Start it again, and wait until it answers."""


@dataclass
class Trial:
    """A front before two applications."""

    front: Front
    old: ScratchApp
    new: ScratchApp
    token: Path

    @property
    def traffic(self) -> Traffic:
        """The driver."""
        return self.front.traffic

    def hold(self, lease: float = 30.0, at_most: float = 60.0, token: Path | None = None) -> None:
        """Hold, with new as the side to commit to."""
        token = token or self.token
        self.traffic.hold(lease=lease, at_most=at_most, commit_to=Side.NEW, commit_token=token)

    def state(self) -> TrafficState:
        """How it stands."""
        state = self.traffic.look()
        assert state is not None
        return state

    def wait_waiting(self, count: int) -> None:
        """Until so many wait."""
        eventually(lambda: self.state().waiting == count, f"{count} wait")

    def wait_over(self) -> None:
        """Until the hold has ended by itself."""
        eventually(lambda: not self.state().held, "the hold ends")

    def ask(self, path: str = "/", body: bytes | None = None) -> str:
        """Who answers a request."""
        return str(request(self.traffic.listen, path, body)["app"])


class TrafficContract:
    """Tests for a driver; ``front`` makes what is tried."""

    def front(
        self, directory: Path, targets: Mapping[Side, Address]
    ) -> AbstractContextManager[Front]:
        """What stands in front, running, with traffic going to the old side."""
        raise NotImplementedError

    @pytest.fixture
    def trial(self, tmp_path: Path) -> Iterator[Trial]:
        """A front before two applications."""
        with ScratchApp("old") as old, ScratchApp("new") as new:
            targets = {Side.OLD: old.address, Side.NEW: new.address}
            with self.front(tmp_path, targets) as front:
                front.traffic.ensure(targets)
                yield Trial(front, old, new, tmp_path / "token.committed")

    def test_cutover(self, trial: Trial) -> None:
        """Held requests, also of open connections, go to the new side; bodies arrive whole."""
        at = trial.traffic.listen
        assert trial.traffic.ports == (), "none was given"
        clients = [HTTPConnection(at.host, at.port, timeout=PATIENCE) for _ in range(3)]
        for client in clients:
            assert request(at, "/before", client=client)["app"] == "old"
        trial.hold()
        assert trial.traffic.drain(10.0).in_flight == 0
        served = len(trial.old.served)
        kept = [
            beside(lambda c=client: request(at, "/kept", b"x" * 300_000, c))  # type: ignore[misc]
            for client in clients
        ]
        fresh = [beside(lambda: trial.ask("/fresh")) for _ in range(3)]
        trial.wait_waiting(6)
        trial.traffic.switch(Side.NEW)
        assert trial.new.served == []
        trial.traffic.release()
        for thread, results in kept:
            thread.join()
            assert results[0]["app"] == "new", results
        for thread, results in fresh:
            thread.join()
            assert results == ["new"]
        state = trial.state()
        assert (state.side, state.held, state.waiting) == (Side.NEW, False, 0)
        assert (state.failed, state.served_after_drain, state.writes_since_switch) == (0, 0, 3)
        assert (state.total, len(trial.old.served)) == (9, served)
        for client in clients:
            client.close()

    def test_each_verb_twice(self, trial: Trial) -> None:
        """A tool that died and goes on may do each of them again, also from another process."""
        for _ in range(2):
            trial.hold()
            trial.traffic.renew(30.0)
        for traffic in (trial.traffic, trial.front.another()):
            assert traffic.drain(10.0).in_flight == 0
        for traffic in (trial.traffic, trial.front.another()):
            traffic.switch(Side.NEW)
        for traffic in (trial.traffic, trial.front.another()):
            traffic.release()
        trial.traffic.switch(Side.NEW)  # released already: nothing is left to do
        assert trial.ask() == "new"

    def test_out_of_order(self, trial: Trial) -> None:
        """No switch, drain or renewal without a hold; a release of nothing is fine."""
        for code, act in (
            ("gate-refused", lambda: trial.traffic.switch(Side.NEW)),
            ("gate-refused", lambda: trial.traffic.drain(1.0)),
            ("gate-hold-over", lambda: trial.traffic.renew(1.0)),
        ):
            with pytest.raises(Failed) as failed:
                act()
            assert failed.value.code == code
        trial.traffic.release()
        assert trial.ask() == "old"

    def test_drain(self, trial: Trial) -> None:
        """A request in flight keeps the drain waiting until its end; too long is an error."""
        thread, results = beside(lambda: trial.ask("/slow?sleep=2"))
        eventually(lambda: trial.old.active == 1, "it is in flight")
        trial.hold()
        assert trial.state().in_flight == 1
        with pytest.raises(Failed) as failed:
            trial.traffic.drain(0.2)
        assert failed.value.code == "gate-drain-timeout"
        assert "1 requests in flight" in failed.value.what
        trial.traffic.drain(30.0)
        assert trial.old.active == 0
        thread.join()
        assert results == ["old"]

    def test_lease_that_ends(self, trial: Trial) -> None:
        """Without the token the side stays; nobody waits longer; renewing is too late."""
        trial.hold(lease=3.0)
        trial.traffic.drain(10.0)
        began = time.monotonic()
        assert trial.ask("/held", b"x") == "old"
        assert 0.2 < time.monotonic() - began < 30
        for act in (lambda: trial.traffic.renew(5.0), lambda: trial.traffic.drain(5.0)):
            with pytest.raises(Failed):
                act()
        with pytest.raises(Failed) as failed:
            trial.traffic.switch(Side.NEW)
        assert failed.value.code == "gate-refused"
        assert trial.state().side is Side.OLD
        assert trial.state().served_after_drain == 0
        assert trial.new.served == []

    def test_lease_that_ends_after_the_commit(self, trial: Trial) -> None:
        """With the token what stands in front switches by itself, and it stays so when the token
        goes, also after a restart."""
        trial.hold(lease=4.0)
        trial.traffic.drain(10.0)
        trial.token.write_text("")
        assert trial.ask("/held", b"x") == "new"
        assert trial.old.served == []
        trial.token.unlink()
        assert trial.ask() == "new"
        trial.traffic.switch(Side.NEW)  # whoever takes up the cutover finds it done
        trial.traffic.release()
        trial.front.kill()
        trial.front.start()
        state = trial.state()
        assert (state.side, state.held, state.served_after_drain) == (Side.NEW, False, 0)

    def test_cap(self, trial: Trial) -> None:
        """A renewed lease holds on, but no hold outlasts its cap, also when held again."""
        trial.hold(lease=3.0, at_most=8.0)
        began = time.monotonic()
        while time.monotonic() - began < 5.0:
            trial.traffic.renew(3.0)
            trial.hold(lease=3.0, at_most=100.0)
            assert trial.state().lease_left <= 3.0
        trial.traffic.renew(60.0)
        trial.wait_over()
        assert 7.5 < time.monotonic() - began < 30
        assert trial.ask() == "old"

    def test_hold_again_takes_the_new_token(self, trial: Trial) -> None:
        """Lease and token are those of the last call."""
        trial.token.write_text("")
        trial.hold(lease=20.0, token=trial.token.with_name("none"))
        trial.hold(lease=20.0, token=trial.token)
        trial.hold(lease=1.0, token=trial.token.with_name("none"))
        trial.wait_over()
        assert trial.ask() == "old"

    def test_release_goes_back(self, trial: Trial) -> None:
        """A release without a switch: the old side serves on, and that is no leak."""
        trial.hold()
        trial.traffic.drain(10.0)
        thread, results = beside(lambda: trial.ask("/held"))
        trial.wait_waiting(1)
        trial.traffic.release()
        thread.join()
        assert results == ["old"]
        assert trial.state().served_after_drain == 0

    def test_pace(self, trial: Trial) -> None:
        """At most so many of those that waited are in flight at once."""
        trial.hold()
        trial.traffic.drain(10.0)
        trial.traffic.switch(Side.NEW)
        waiting = [beside(lambda: trial.ask("/held?sleep=0.05")) for _ in range(30)]
        trial.wait_waiting(30)
        trial.traffic.release(pace=3)
        for thread, results in waiting:
            thread.join()
            assert results == ["new"]
        assert trial.new.peak <= 3

    def test_long_answers_do_not_stop_the_release(self, trial: Trial) -> None:
        """Requests that are answered late take up the pace only for a moment."""
        trial.hold()
        slow = [beside(lambda: trial.ask("/poll?sleep=5")) for _ in range(4)]
        trial.wait_waiting(4)
        quick, results = beside(lambda: trial.ask("/quick"))
        trial.wait_waiting(5)
        trial.traffic.release(pace=2)
        quick.join()
        assert results == ["old"]
        assert trial.old.active == 4
        for thread, results in slow:
            thread.join()
            assert results == ["old"]

    def test_tunnels(self, trial: Trial) -> None:
        """A tunnel is no request in flight, lives while held, and is cut at the switch."""
        with tunnel(trial.traffic.listen) as raw:
            trial.hold()
            drained = trial.traffic.drain(10.0)
            assert (drained.in_flight, drained.tunnels) == (0, 1)
            raw.sendall(b"here")
            assert raw.recv(100) == b"here"
            trial.traffic.switch(Side.NEW)
            assert raw.recv(100) == b""
        eventually(lambda: trial.state().tunnels == 0, "it is forgotten")
        trial.traffic.release()
        with tunnel(trial.traffic.listen) as raw:
            assert trial.new.served == ["/tunnel"]
        assert trial.state().failed == 0

    def test_ensure_keeps_who_serves(self, trial: Trial) -> None:
        """The new side of one upgrade is the old one of the next; nobody is sent elsewhere."""
        trial.hold()
        trial.traffic.drain(10.0)
        trial.traffic.switch(Side.NEW)
        trial.traffic.release()
        with ScratchApp("third") as third:
            at = trial.traffic.listen
            client = HTTPConnection(at.host, at.port, timeout=PATIENCE)
            assert request(at, "/before", client=client)["app"] == "new"
            targets = {Side.OLD: trial.new.address, Side.NEW: third.address}
            for _ in range(2):
                trial.traffic.ensure(targets)
                assert request(at, "/same", client=client)["app"] == "new"
                assert trial.ask() == "new"
                state = trial.state()
                assert (state.side, dict(state.targets)) == (Side.OLD, targets)
            trial.hold()
            trial.traffic.drain(10.0)
            trial.traffic.switch(Side.NEW)
            trial.traffic.release()
            assert trial.ask() == "third"
            assert request(at, "/moved", client=client)["app"] == "third"
            trial.front.kill()
            trial.front.start()
            assert trial.ask() == "third"
            client.close()

    def test_writes_since_the_switch(self, trial: Trial) -> None:
        """Unsafe methods with a good answer count, from the switch on, also after a restart."""
        trial.ask("/before", b"x")
        trial.hold()
        trial.traffic.drain(10.0)
        trial.traffic.switch(Side.NEW)
        trial.traffic.release()
        assert trial.state().writes_since_switch == 0
        trial.ask("/read")
        trial.ask("/write", b"x")
        with pytest.raises(AssertionError):
            trial.ask("/refused?status=409", b"x")
        assert trial.state().writes_since_switch == 1
        time.sleep(0.5)  # the first is kept at once, the others once a second
        trial.front.kill()
        trial.front.start()
        trial.ask("/write", b"x")
        assert trial.state().writes_since_switch == 2

    def test_restart_while_held(self, trial: Trial) -> None:
        """What stands in front holds again after it died, with all that was decided."""
        trial.hold()
        trial.traffic.drain(10.0)
        trial.traffic.switch(Side.NEW)
        trial.front.kill()
        assert trial.traffic.look() is None
        with pytest.raises(Failed) as failed:
            trial.traffic.renew(30.0)
        assert failed.value.code == "gate-unreachable"
        trial.front.start()
        state = trial.state()
        assert (state.side, state.held) == (Side.NEW, True)
        assert 1 < state.lease_left <= 30
        thread, results = beside(lambda: trial.ask("/held"))
        trial.wait_waiting(1)
        trial.traffic.renew(30.0)
        trial.traffic.release()
        thread.join()
        assert results == ["new"]
        assert trial.old.served == []

    @pytest.mark.parametrize("committed", [False, True])
    def test_lease_that_ended_while_it_was_dead(self, trial: Trial, committed: bool) -> None:
        """What starts after the end of its lease decides at once, by the token."""
        trial.hold(lease=2.0)
        trial.traffic.drain(10.0)
        trial.front.kill()
        if committed:
            trial.token.write_text("")
        time.sleep(2.1)  # the lease ends while nobody is there to see it
        trial.front.start()
        assert trial.ask() == ("new" if committed else "old")
        trial.wait_over()
