"""START HERE.  The story of an upgrade: preview, rehearse, cut over, roll back, retire.

Every verb first settles what an interrupted run left, so calling it again is how to resume.  Before
the commit point every failure leads back to the old side; after it, forward to the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from crossfade import steps
from crossfade.engine import history
from crossfade.engine.attempt import finished, run_all, settle
from crossfade.engine.situation import situation
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Failed, LeaseHeld, NeedsYou, Refused, UsageError
from crossfade.heeding import heed, heeded
from crossfade.model import Plan, Run, Side
from crossfade.needs import Need
from crossfade.planning import accepting, made_first, make_plan, refuse_lacks, refuse_problems
from crossfade.ports import Journal
from crossfade.steps import handback

__all__ = [
    "STORY",
    "Site",
    "before_any_step",
    "cut_over",
    "half_made",
    "make_machine",
    "must_serve",
    "names_explained",
    "names_must_lead",
    "preview",
    "rehearse",
    "retire",
    "roll_back",
    "verb",
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

    @property
    def unmade(self) -> bool:
        """Whether the new side's machine is still to be made."""

    def making(self) -> str:
        """What making it would do, in words."""

    def make_machine(self) -> None:
        """Make it, unless it is there.  Raises Failed."""

    def remove_machine(self) -> None:
        """Remove the new side's machine, if there is one.  Raises Failed."""

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

    def needs(self, work: AttemptWork) -> tuple[Need, ...]:
        """What a run needs of its machines, and whether it is there.  Changes nothing."""

    def world(self, work: AttemptWork) -> Mapping[str, str]:
        """The facts that must not change between rehearsal and cutover."""


def preview(site: Site, run: Run = Run.CUTOVER, *, unmuted: bool = False) -> Plan:
    """What a run would do.  Changes nothing.  What is to be looked at on a machine that is not made
    yet is left out.  Raises Refused when that cannot be found out."""
    with before_any_step(site):
        work = site.begin(run, unmuted=unmuted)
        if site.unmade:
            plan = make_plan(work, STORY[run], {}, None)
            first = made_first(site.making()) if run in (Run.REHEARSAL, Run.CUTOVER) else ()
            return replace(plan, steps=(*first, *plan.steps))
        rehearsal = history.last(site.journal, Run.REHEARSAL, "done")
        return _plan(site, work, rehearsal)


def rehearse(site: Site, *, unmuted: bool = False) -> None:
    """Install, copy, configure, migrate, start and check the new version on a copy; then remove it.

    Raises Refused before anything is done, Failed when the copy does not hold."""
    with verb(site, "rehearse"):
        settle(site.journal, site.again, STORY)
        work = site.begin(Run.REHEARSAL, unmuted=unmuted)
        must_serve(work, Side.OLD, "There is nothing left to rehearse.")
        if site.unmade:  # a machine costs something: first all that can be known without it
            refuse_problems(preview(site, Run.REHEARSAL, unmuted=unmuted))
            make_machine(site)
            work = site.begin(Run.REHEARSAL, unmuted=unmuted)
        plan = _plan(site, work, None)
        refuse_problems(plan)
        run_all(work, STORY[Run.REHEARSAL], plan, world=lambda: site.world(work))


def cut_over(
    site: Site, *, accept_ttl: bool = False, accept_loss: bool = False, end_jobs: bool = False
) -> None:
    """Bring the last changes over and switch, in one pause; then watch, and heed what was seen.

    accept_ttl: caches may keep names for longer; accept_loss: going back after the watch may leave
    writes behind; end_jobs: the new side will have no jobs.

    Raises Refused or NeedsYou before anything is done, Failed when it went back to the old side;
    and NeedsYou when all is done but for the names in the DNS, or the new side is too bad and only
    a person can decide to leave writes behind."""
    with verb(site, "cutover"):
        settled = settle(site.journal, site.again, STORY)
        heed(site, STORY[Run.ROLLBACK])
        if settled is Run.CUTOVER:
            names_must_lead(site)
            return  # it had passed the commit point; now it is finished
        work = site.begin(Run.CUTOVER)
        must_serve(work, Side.OLD, "The cutover is done already.")
        if site.unmade:
            raise _not_rehearsed()
        rehearsal = history.last(site.journal, Run.REHEARSAL)
        plan = _plan(site, work, rehearsal)
        if accept_ttl:
            plan = accepting(work, plan, "accept-ttl", ("dns-ttl-long", "dns-ttl-not-out"))
        if end_jobs:
            plan = accepting(work, plan, "end-jobs", ("jobs-end",))
        if accept_loss:
            work.accepted |= {"accept-loss"}
        refuse_problems(plan)
        _must_be_rehearsed(rehearsal, plan.world)
        _must_fit(work, plan)
        work.here.make_directory(work.directory)
        work.traffic.record(work.directory / "requests.csv")
        try:
            run_all(work, STORY[Run.CUTOVER], plan)
        finally:
            finished(work)
        heed(site, STORY[Run.ROLLBACK])
        names_must_lead(site)


def names_must_lead(site: Site) -> None:
    """Try once more to point the names at the side that serves.  Raises NeedsYou."""
    work = site.begin(Run.CUTOVER)
    with names_explained(work, "switch"):
        state = work.traffic.look()
        side = state.side if state else Side.OLD
        if work.names and not work.names.complete(side):
            work.names.point(side)


@contextmanager
def names_explained(work: AttemptWork, verb: str) -> Iterator[None]:
    """Trouble with names is no refusal, some may have been changed; nor does anybody lose by it."""
    try:
        yield
    except (LeaseHeld, UsageError):
        raise
    except CrossfadeError as error:
        lead = work.names.pointed() if work.names else Side.OLD
        now = f"{situation(work)}  Names that are not changed lead to the {lead.other} address."
        if work.names and work.names.complete(lead):
            now = f"{situation(work)}  The names lead to the {lead} address."
        now += "  The gate at the old one passes everybody on."
        next = error.next or f"crossfade dns {verb}"
        raise NeedsYou(error.code, error.what, where=error.where, now=now, next=next) from None


def roll_back(site: Site, *, accept_loss: bool = False, without_dns: bool = False) -> None:
    """After the switch: back to the old side.  The writes that stay behind are exported first.

    Raises Refused when writes would be lost and that was not accepted."""
    with verb(site, "rollback"):
        heeded(site.journal, "rollback")
        if settle(site.journal, site.again, STORY) is Run.ROLLBACK:
            return
        work = site.begin(Run.ROLLBACK)
        must_serve(work, Side.NEW, "The old side serves; there is nothing to roll back.")
        if without_dns:
            work.accepted |= {"without-dns"}
        if (lost := handback.would_lose(work)) and not accept_loss:
            raise Refused(
                "would-lose-writes",
                f"Going back would leave {lost} behind on the new side.",
                where="the gate's count since the switch",
                next="crossfade rollback --accept-loss   (they are exported first)",
            )
        run_all(work, STORY[Run.ROLLBACK], make_plan(work, STORY[Run.ROLLBACK], {}, None))


def retire(site: Site, *, despite_stragglers: bool = False) -> None:
    """Archive the old side and remove it.  Afterwards there is no way back but the archive."""
    with verb(site, "retire"):
        settle(site.journal, site.again, STORY)
        work = site.begin(Run.RETIRE)
        must_serve(work, Side.NEW, "The old side serves; only a side without traffic is retired.")
        plan = make_plan(work, STORY[Run.RETIRE], {}, None)
        if despite_stragglers:
            codes = ("stragglers-come", "stragglers-unknown")
            plan = accepting(work, plan, "despite-stragglers", codes)
        refuse_problems(plan)
        run_all(work, STORY[Run.RETIRE], plan)
        work.traffic.leave(Side.NEW, act=True)


def make_machine(site: Site) -> None:
    """Make the new side's machine, unless it is there."""
    with half_made(site):
        site.make_machine()


@contextmanager
def half_made(site: Site) -> Iterator[None]:
    """Errors from here are no refusals: there may be a machine."""
    try:
        yield
    except UsageError:
        raise
    except CrossfadeError as error:
        who = situation(site.begin(Run.CUTOVER))
        error.now = error.now or f"There may be a machine of this upgrade.  {who}"
        raise


def _plan(site: Site, work: AttemptWork, rehearsal: history.Record | None) -> Plan:
    """The plan of this run.  What keeps one from being made is told as what is lacking."""
    needs = site.needs(work)
    for need in needs:
        if need.trouble:
            raise need.trouble
    try:
        return make_plan(work, STORY[work.run], site.world(work), rehearsal, needs)
    except Failed:
        refuse_lacks(needs)
        raise


@contextmanager
def verb(site: Site, name: str, *, introduces: bool = True) -> Iterator[None]:
    """Hold the lease, and tell the gate which side is where; errors from before the first step are
    explained."""
    with before_any_step(site), site.lease(name):
        if introduces:
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


def must_serve(work: AttemptWork, side: Side, otherwise: str) -> None:
    """Raises Refused, with this sentence, when the other side serves."""
    state = work.traffic.look()
    serves = state.side if state else Side.OLD
    if serves is not side:
        raise Refused(f"{serves}-side-serves", otherwise, next="crossfade status")


def _must_be_rehearsed(rehearsal: history.Record | None, now: Mapping[str, str]) -> None:
    """The last rehearsal is green, and the world is still as it was then."""
    if rehearsal is None or rehearsal.ended is None or rehearsal.outcome != "done":
        raise _not_rehearsed()
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


def _not_rehearsed() -> Refused:
    what = "There is no green rehearsal of this plan."
    return Refused("not-rehearsed", what, next="crossfade rehearse")


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
