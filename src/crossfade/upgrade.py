"""START HERE.  The story of an upgrade: preview, rehearse, cut over, roll back, retire.

Every verb first settles what an interrupted run left, so calling it again is how to resume.  Before
the commit point every failure leads back to the old side; after it, forward to the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from crossfade import steps
from crossfade.engine import history
from crossfade.engine.attempt import finished, run_all, settle
from crossfade.engine.situation import situation
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Failed, NeedsYou, Refused
from crossfade.model import Plan, Run, Side
from crossfade.planning import make_plan, refuse_problems
from crossfade.ports import Journal
from crossfade.steps import handback

__all__ = [
    "Site",
    "before_any_step",
    "clean_up",
    "cut_over",
    "leavings",
    "preview",
    "rehearse",
    "retire",
    "roll_back",
]

STORY = {
    Run.REHEARSAL: steps.IN_REHEARSAL,
    Run.CUTOVER: steps.IN_CUTOVER,
    Run.ROLLBACK: (handback,),
    Run.RETIRE: (steps.retire,),
}


class Site(Protocol):
    """One site's upgrade, joined by ``wiring``: its journal, its lease, and work to do."""

    @property
    def journal(self) -> Journal:
        """The record of this upgrade."""

    def machines_leavings(self) -> list[str]:
        """What a killed run left on machines and no run needs.  Changes nothing."""

    def clean_machines(self) -> None:
        """Remove that.  Only while the lease is held."""

    def lease(self, what: str) -> AbstractContextManager[None]:
        """The right to run.  Raises LeaseHeld."""

    def introduce(self) -> None:
        """Tell a gate that runs which address is which side's in this upgrade."""

    def begin(self, run: Run, *, unmuted: bool = False) -> AttemptWork:
        """Work for a new attempt."""

    def again(self, label: str) -> AttemptWork:
        """Work for an attempt that was begun before."""

    def world(self, work: AttemptWork) -> Mapping[str, str]:
        """The facts that must not change between rehearsal and cutover."""


def preview(site: Site, run: Run = Run.CUTOVER, *, unmuted: bool = False) -> Plan:
    """What a run would do.  Changes nothing.

    Raises Refused when that cannot be found out."""
    with before_any_step(site):
        work = site.begin(run, unmuted=unmuted)
        rehearsal = history.last(site.journal, Run.REHEARSAL, "done")
        return make_plan(work, STORY[run], site.world(work), rehearsal)


def rehearse(site: Site, *, unmuted: bool = False) -> None:
    """Install, copy, configure, migrate, start and check the new version on a copy; then remove it.

    Raises Refused before anything is done, Failed when the copy does not hold."""
    with _verb(site, "rehearse"):
        settle(site.journal, site.again, STORY)
        work = site.begin(Run.REHEARSAL, unmuted=unmuted)
        _must_serve(work, Side.OLD, "There is nothing left to rehearse.")
        plan = make_plan(work, STORY[Run.REHEARSAL], site.world(work), None)
        refuse_problems(plan)
        run_all(work, STORY[Run.REHEARSAL], plan, world=lambda: site.world(work))


def cut_over(site: Site) -> None:
    """Bring the last changes over and switch, in one pause; then watch.

    Raises Refused or NeedsYou before anything is done, Failed when it went back to the old side."""
    with _verb(site, "cutover"):
        if settle(site.journal, site.again, STORY) is Run.CUTOVER:
            return  # it had passed the commit point; now it is finished
        work = site.begin(Run.CUTOVER)
        _must_serve(work, Side.OLD, "The cutover is done already.")
        world, rehearsal = site.world(work), history.last(site.journal, Run.REHEARSAL)
        plan = make_plan(work, STORY[Run.CUTOVER], world, rehearsal)
        refuse_problems(plan)
        _must_be_rehearsed(rehearsal, world)
        _must_fit(work, plan)
        work.here.make_directory(work.directory)
        work.traffic.record(work.directory / "requests.csv")
        try:
            run_all(work, STORY[Run.CUTOVER], plan)
        finally:
            finished(work)


def roll_back(site: Site, *, accept_loss: bool = False) -> None:
    """After the switch: back to the old side.  The writes that stay behind are exported first.

    Raises Refused when writes would be lost and that was not accepted."""
    with _verb(site, "rollback"):
        if settle(site.journal, site.again, STORY) is Run.ROLLBACK:
            return
        work = site.begin(Run.ROLLBACK)
        _must_serve(work, Side.NEW, "The old side serves; there is nothing to roll back.")
        state = work.traffic.look()
        writes = state.writes_since_switch if state else -1
        if writes and not accept_loss and not handback.lossless(work):
            raise Refused(
                "would-lose-writes",
                f"Going back would leave {writes} acknowledged writes behind on the new side.",
                where="the gate's count since the switch",
                next="crossfade rollback --accept-loss   (they are exported first)",
            )
        run_all(work, STORY[Run.ROLLBACK], make_plan(work, STORY[Run.ROLLBACK], {}, None))


def retire(site: Site) -> None:
    """Archive the old side and remove it.  Afterwards there is no way back but the archive."""
    with _verb(site, "retire"):
        settle(site.journal, site.again, STORY)
        work = site.begin(Run.RETIRE)
        _must_serve(work, Side.NEW, "The old side serves; only a side without traffic is retired.")
        plan = make_plan(work, STORY[Run.RETIRE], {}, None)
        refuse_problems(plan)
        run_all(work, STORY[Run.RETIRE], plan)


def leavings(site: Site) -> tuple[str, ...]:
    """What this upgrade left on databases' servers and machines and does not need now.  Changes
    nothing.  Raises Refused when that cannot be found out."""
    with before_any_step(site):
        machines = site.machines_leavings()  # first: looking at databases may take a helper
        databases = [
            f"database {name}: {left}"
            for work in _idle(site)
            for name, carrier in work.carriers.items()
            for left in carrier.leavings()
        ]
        return (*machines, *databases)


def clean_up(site: Site) -> None:
    """Settle an interrupted run, and remove what it left on databases' servers and machines."""
    with _verb(site, "doctor"):
        settle(site.journal, site.again, STORY)
        for work in _idle(site):
            for carrier in work.carriers.values():
                carrier.let_go()
        site.clean_machines()


def _idle(site: Site) -> Iterator[AttemptWork]:
    """Work whose carriers are not in use: a rehearsal's always, and, while the old side serves, a
    cutover's; while the new one does, they keep the way back."""
    yield site.begin(Run.REHEARSAL)
    work = site.begin(Run.CUTOVER)
    state = work.traffic.look()
    if state is None or state.side is Side.OLD:
        yield work


@contextmanager
def _verb(site: Site, name: str) -> Iterator[None]:
    """Hold the lease; errors from before the first step are explained."""
    with before_any_step(site), site.lease(name):
        site.introduce()
        yield


@contextmanager
def before_any_step(site: Site) -> Iterator[None]:
    """Give errors from before the first step their third and fourth sentence; Failed becomes
    Refused."""
    try:
        yield
    except CrossfadeError as error:
        if error.now:
            raise
        if isinstance(error, Failed):  # no step was begun, so nothing was changed
            error = Refused(error.code, error.what, where=error.where, next=error.next)
        error.now = f"Nothing was changed.  {situation(site.begin(Run.CUTOVER))}"
        error.next = error.next or "crossfade status"
        raise error from error.__cause__


def _must_serve(work: AttemptWork, side: Side, otherwise: str) -> None:
    state = work.traffic.look()
    serves = state.side if state else Side.OLD
    if serves is not side:
        raise Refused(f"{serves}-side-serves", otherwise, next="crossfade status")


def _must_be_rehearsed(rehearsal: history.Record | None, now: Mapping[str, str]) -> None:
    """The last rehearsal is green, and the world is still as it was then."""
    if rehearsal is None or rehearsal.ended is None or rehearsal.outcome != "done":
        raise Refused(
            "not-rehearsed",
            "There is no green rehearsal of this plan.",
            next="crossfade rehearse",
        )
    then = rehearsal.ended["payload"]["world"]
    changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    if changed:
        raise NeedsYou(
            "plan-changed",
            "Something changed since the rehearsal: " + ", ".join(changed) + ".",
            where="\n".join(
                f"{name}: {then.get(name, 'absent')} -> {now.get(name, 'absent')}"
                for name in changed
            ),
            next="crossfade rehearse",
        )


def _must_fit(work: AttemptWork, plan: Plan) -> None:
    predicted, limit = plan.predicted_pause, work.limits.max_pause
    if predicted is None:
        raise Failed("not-predicted", "The rehearsal did not measure the pause.")
    if predicted > limit:
        raise Refused(
            "pause-too-long",
            f"The predicted pause is {predicted:.1f} s, longer than the {limit:.0f} s you accept.",
            where="limits.max_pause, or --max-pause",
            next=f"crossfade cutover --max-pause {predicted * 1.5:.0f}s",
        )
