"""What is done beside the story of an upgrade: machines made and given up, and what doctor does."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.engine import history
from crossfade.engine.attempt import settle
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Refused
from crossfade.model import Run, Side
from crossfade.needs import Need
from crossfade.planning import make_plan, room
from crossfade.upgrade import (
    STORY,
    Site,
    before_any_step,
    half_made,
    make_machine,
    must_serve,
    verb,
)

__all__ = ["checked", "clean_up", "leavings", "provision", "unprovision"]


def provision(site: Site) -> None:
    """Make the new side's machine, unless it is there.  Raises Failed."""
    with verb(site, "provision"):
        settle(site.journal, site.again, STORY)
        if site.unmade:
            must_serve(site.begin(Run.CUTOVER), Side.OLD, "The new side serves already.")
        make_machine(site)


def unprovision(site: Site) -> None:
    """Remove the new side's machine, which was given up, with everything that is on it.

    Raises Refused while the new side serves, Failed when the machine does not go."""
    # the gate is told nothing: a later upgrade, with another manifest, may be at work with it
    with verb(site, "provision --remove", introduces=False):
        _must_be_given_up(site)
        for work in _idle(site):
            try:
                for carrier in work.carriers.values():
                    carrier.let_go()
            except CrossfadeError as error:  # a machine that does not answer is removed as well
                work.tell(f"databases were not let go: {error}")
        with half_made(site):
            site.remove_machine()


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


def checked(site: Site) -> tuple[Need, ...]:
    """Everything that rehearsal and cutover need, what is lacking first.  Nothing, once the new
    side serves.  Changes nothing."""
    found: dict[tuple[str, str], Need] = {}
    if site.unmade:  # there is nothing yet to look at
        return ()
    for run in (Run.REHEARSAL, Run.CUTOVER):
        work = site.begin(run, unmuted=True)
        state = work.traffic.look()
        if state is not None and state.side is Side.NEW:
            return ()
        needs = site.needs(work)
        needs += _needs_of_plan(work, needs)
        found |= {(need.code, need.words): need for need in needs}
    return tuple(sorted(found.values(), key=lambda need: not need.lacks))


def clean_up(site: Site) -> None:
    """Settle an interrupted run, and remove what it left on databases' servers and machines."""
    with verb(site, "doctor"):
        settle(site.journal, site.again, STORY)
        for work in _idle(site):
            for carrier in work.carriers.values():
                carrier.let_go()
        site.clean_machines()


def _needs_of_plan(work: AttemptWork, needs: tuple[Need, ...]) -> tuple[Need, ...]:
    """What planning alone finds out: disk space, and whatever is in the way."""
    if any(need.trouble for need in needs):
        return ()
    try:
        plan = make_plan(work, STORY[work.run], {}, None)
    except CrossfadeError as error:
        known = any(need.lacks and need.stops for need in needs)
        return () if known else (Need.of_trouble(f"the {work.run} can be planned", error),)
    return (*room(plan.disk), *(Need.of_problem(problem) for problem in plan.problems))


def _idle(site: Site) -> Iterator[AttemptWork]:
    """Work whose carriers are not in use: a rehearsal's always, and, while the old side serves, a
    cutover's; while the new one does, they keep the way back."""
    if site.unmade:
        return
    yield site.begin(Run.REHEARSAL)
    work = site.begin(Run.CUTOVER)
    state = work.traffic.look()
    if state is None or state.side is Side.OLD:
        yield work


def _must_be_given_up(site: Site) -> None:
    """The new side serves nobody, and nothing that it alone has is needed."""
    if unfinished := history.unfinished(site.journal):
        what = f"{unfinished.label} was interrupted and is not settled."
        raise Refused("run-unfinished", what, next="crossfade doctor --fix")
    work = site.begin(Run.CUTOVER)
    state, new = work.traffic.look(), work.new.installation
    serves = state is not None and state.targets[state.side] == new.address
    if serves or history.new_is_authoritative(site.journal):
        what = "The new side serves, or served last; its machine is not removed."
        raise Refused("new-side-serves", what, where=str(new.address), next="crossfade status")
