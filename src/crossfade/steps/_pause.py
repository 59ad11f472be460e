"""The pause: hold, drain, stop the side that serves; kept alive by a lease, ended by one token.

While a pause lasts a thread renews two leases: the dead-man's switch on the live side's host and
the gate's.  When we die, both run out: the switch starts the live side again, and a little later
the gate lets the waiting requests go to it.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Finding, Side
from crossfade.ports import Parts, Work
from crossfade.steps._health import time_left, wait_healthy

__all__ = ["GATE_LATER", "begin", "end_reads", "go_back", "stopped"]

GATE_LATER = 2.0
"""How much longer the gate waits than the dead-man's switch, in seconds."""
_PATIENCE = 10.0
"""For how many seconds we try to reach the live side's machine before the switch goes on."""


def begin(work: Work, live: Parts, idle: Parts, *, reads: bool = False) -> list[Finding]:
    """Arm the switch, hold, drain, and stop the live side and its jobs; the caller fences its data.

    With ``reads`` the live side goes on, for reads alone, until ``end_reads``.

    Before that both sides' programs are loaded, as far as that needs no data: the idle side's to
    start quickly inside the pause, the live side's to be back quickly should we go back."""
    with work.timed("prepare"):
        idle.service.prepare()
        with suppress(Failed):  # an insurance only: without it, going back takes longer
            live.service.prepare()
    lease = work.limits.lease
    revival = [idle.service.burial(), live.service.revival(), *live.jobs.revival()]
    work.dead_man.arm(revival, lease)
    _hold(work, idle, reads=reads)
    work.pause_began = time.time()
    for parts in (idle, live):
        parts.host.give_up_at(time.monotonic() + time_left(work))
    work.held.enter_context(_Keeper(work))
    findings = jobs_off(work, live)
    with work.timed("drain"):
        drained = work.traffic.drain(min(10.0, max(1.0, time_left(work) / 2)))
    if not reads:
        with work.timed("stop"):
            live.service.stop(work.limits.stop, keep_prepared=True)
    claim = "requests in flight after the drain"
    return [*findings, Finding.equal(claim, 0, drained.in_flight, "gate's count")]


def end_reads(work: Work, live: Parts, idle: Parts) -> list[Finding]:
    """From here on reads wait as well: those in flight are drained, and the live side, which was
    fenced all the while, is stopped.  After it the caller proves that nothing was written.

    Whoever reads after this reads the idle side, once it serves; so nobody who has seen a new write
    sees an older state again."""
    _hold(work, idle, reads=False)
    with work.timed("drain reads"):
        drained = work.traffic.drain(min(10.0, max(1.0, time_left(work) / 2)))
    with work.timed("stop"):
        # A program that wants to write before it ends would wait for the fence: not for long.
        patience = min(work.limits.stop, max(1.0, time_left(work) / 4))
        live.service.stop(patience, keep_prepared=True)
    claim = "requests in flight after the reads were drained"
    return [Finding.equal(claim, 0, drained.in_flight, "gate's count"), *stopped(live)]


def _hold(work: Work, idle: Parts, *, reads: bool) -> None:
    work.traffic.hold(
        lease=work.limits.lease + GATE_LATER,
        at_most=work.limits.max_pause,
        commit_to=idle.installation.side,
        commit_token=work.dead_man.commit_token,
        reads=reads,
    )


def jobs_off(work: Work, live: Parts) -> list[Finding]:
    """Nothing works for the live side at set times any more.  What its timers have started may end
    by itself within a part of the time left.  Raises Failed when something still does."""
    if not live.jobs.known():
        return []
    with work.timed("jobs"):
        off = live.jobs.switch(False, wait=min(10.0, max(1.0, time_left(work) / 2)))
    if broken := [finding for finding in off if not finding.holds]:
        raise Failed("job-does-not-stop", f"{broken[0].claim}: {broken[0].observed}.")
    return off


def stopped(live: Parts) -> list[Finding]:
    """The side that was stopped does not run, and does not answer."""
    state = live.service.look()
    silent = live.health.run()
    return [
        Finding.equal(
            f"the {live.installation.side} side runs", False, state.running, state.detail
        ),
        Finding(
            f"the {live.installation.side} side's address is silent",
            "no answer",
            silent.observed,
            silent.source,
            silent.observed.startswith("no answer"),
        ),
    ]


def go_back(work: Work, live: Parts, idle: Parts) -> list[Finding]:
    """End the pause without the commit: the live side serves again.  Also right after a crash.

    It comes first: the idle side, which no traffic reaches, may be on a machine that is cut off.
    Raises Failed when the commit point was passed; when the live side does not come back, which
    the dead-man's switch then goes on trying; and, once it serves, when the idle one does not stop.
    """
    side = live.installation.side
    work.held.close()  # lifts the fences and ends the keeper
    if work.dead_man.state() == "committed":
        raise Failed("already-committed", "The commit point was passed; going back is a rollback.")
    _start_again(work, live)
    work.dead_man.stand_down()
    work.pause_began = None
    try:
        health = wait_healthy(work, live, work.limits.start)
        _at_gate(work, lambda: _release_to(work, side))
        jobs = live.jobs.switch(True)
        seen = work.traffic.look()
    finally:
        idle.host.give_up_at(time.monotonic())  # what was cut off is not waited for again
        idle.service.stop(timeout=3.0)
        idle.host.give_up_at(None)
    return [
        health,
        *jobs,
        Finding.equal("traffic goes to", side, seen.side if seen else None, "gate, read back"),
        Finding.equal("requests are held", False, seen.held if seen else None, "gate, read back"),
    ]


def _start_again(work: Work, live: Parts) -> None:
    """Start the live side.  The switch stays armed meanwhile, and takes over if we cannot."""
    live.host.give_up_at(time.monotonic() + _PATIENCE)
    work.dead_man.renew(work.limits.lease)  # after a crash it may be about to fire
    try:
        with _Keeper(work, hold=False):
            live.service.start()
    except Failed:
        work.dead_man.hand_over()
        raise
    finally:
        live.host.give_up_at(None)


def _release_to(work: Work, side: Side) -> None:
    state = work.traffic.look()
    if state and state.side is not side:
        raise Failed("gate-elsewhere", f"The gate sends traffic to the {state.side} side.")
    if state and state.held:
        work.traffic.release()


def _at_gate(work: Work, act: Callable[[], None]) -> None:
    """Do something at the gate; start the gate again if it is gone (its state is on disk)."""
    targets = {p.installation.side: p.installation.address for p in (work.old, work.new)}
    work.traffic.ensure(targets)
    act()


class _Keeper:
    """Renews both leases until closed, or until the longest pause is over; without ``hold`` only
    that of the switch, for the gate may have given up."""

    def __init__(self, work: Work, *, hold: bool = True) -> None:
        self._work = work
        self._hold = hold
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        work, lease = self._work, self._work.limits.lease
        began = time.monotonic()
        while not self._over.wait(lease / 5):
            if time.monotonic() - began > work.limits.max_pause or not work.dead_man.renew(lease):
                return
            if not self._hold:
                continue
            try:
                work.traffic.renew(lease + GATE_LATER)
            except CrossfadeError:
                return  # the commit fails when the hold is over; the steps notice
