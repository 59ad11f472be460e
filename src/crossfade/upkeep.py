"""What is done beside the story of an upgrade: machines made and given up, and what doctor does."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.engine import history
from crossfade.engine.attempt import settle
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Refused, UsageError
from crossfade.model import Finding, Run, Side
from crossfade.needs import Need
from crossfade.planning import make_plan, room
from crossfade.ports import BY_HAND, Front, FrontPlan, Names
from crossfade.upgrade import (
    STORY,
    Site,
    before_any_step,
    half_made,
    make_machine,
    must_serve,
    names_explained,
    names_must_lead,
    verb,
)

__all__ = [
    "change_proxy",
    "checked",
    "clean_up",
    "follow_names",
    "front_change",
    "lead_past_gate",
    "lead_to_gate",
    "leavings",
    "lower_names",
    "must_have_names",
    "must_not_be_in_use",
    "provision",
    "restore_names",
    "switch_names",
    "unprovision",
]


def change_proxy(site: Site, *, put_in: bool, act: bool) -> str:
    """What is changed in the proxy that is there, so that it can hold, or to take that out again;
    with ``act`` it is done.  A diff, empty when nothing is to be done.  Raises Refused, Failed."""
    work = site.begin(Run.CUTOVER)
    if put_in:
        targets = {p.installation.side: p.installation.address for p in (work.old, work.new)}
        return work.traffic.install(targets, act=act)
    state = work.traffic.look()
    if state is None:
        what = f"No gate runs at {work.traffic.listen}, so nothing says which side serves."
        raise Refused("gate-not-running", what, next="crossfade status")
    return work.traffic.leave(state.side, act=act)


def provision(site: Site) -> None:
    """Make the new side's machine, unless it is there.  Raises Failed."""
    with verb(site, "provision", introduces=False):  # what is made is introduced by itself
        settle(site.journal, site.again, STORY)
        if site.unmade:
            must_serve(site.begin(Run.CUTOVER), Side.OLD, "The new side serves already.")
        make_machine(site)


def front_change(site: Site, *, out: bool) -> FrontPlan:
    """What leading the web server to the gate, or past it, would change.  Changes nothing.

    Raises Refused, UsageError when the manifest names none."""
    with before_any_step(site):
        work = site.begin(Run.CUTOVER)
        front = _front(work)
        return front.plan_out(_past_to(work)) if out else front.plan()


def must_not_be_in_use(site: Site) -> None:
    """Raises Refused while a web server leads to the gate by our doing."""
    with before_any_step(site):
        front = site.begin(Run.CUTOVER).front
        if front is not None and front.inserted_by():
            raise Refused(
                "front-leads-to-gate",
                f"{front.name} leads to the gate: without it nobody would be served.",
                next="crossfade gate remove",
            )


def lead_to_gate(site: Site) -> None:
    """Start the gate and lead the web server to it, which the cutover would do as well.

    Raises Refused, with everything as before."""
    with verb(site, "gate install"):
        settle(site.journal, site.again, STORY)
        work = site.begin(Run.CUTOVER)
        front = _front(work)
        must_serve(work, Side.OLD, "The new side serves; the gate is in its place, or was.")
        work.step = "gate-install"
        targets = {p.installation.side: p.installation.address for p in (work.old, work.new)}
        work.traffic.ensure(targets)
        _tell(work, front.insert(work, BY_HAND))


def lead_past_gate(site: Site) -> None:
    """Lead the web server past the gate, to the side that serves.

    Raises Refused while a way back needs the gate, and, with everything as before, on failure."""
    with verb(site, "gate remove"):
        settle(site.journal, site.again, STORY)
        work = site.begin(Run.CUTOVER)
        front, to = _front(work), _past_to(work)
        work.step = "gate-remove"
        _tell(work, front.take_out(work, to))


def _front(work: AttemptWork) -> Front:
    if work.front is None:
        raise UsageError(
            "no-front",
            "The manifest names no web server before the gate.",
            where="traffic.front",
            next="crossfade gate start",
        )
    return work.front


def _past_to(work: AttemptWork) -> Side:
    """The side that the web server is led to in place of the gate."""
    state = work.traffic.look()
    new = history.new_is_authoritative(work.journal) if state is None else state.side is Side.NEW
    if not new:
        return Side.OLD
    if not history.last(work.journal, Run.RETIRE):
        what = "The new side serves, and going back to the old one needs the gate."
        next = "retire   (or: crossfade rollback)" if state else "gate start"
        raise Refused("gate-needed", what, next=f"crossfade {next}")
    return Side.NEW


def _tell(work: AttemptWork, findings: list[Finding]) -> None:
    for finding in findings:
        work.tell(f"{finding.claim}: {finding.observed}")


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


def lower_names(site: Site) -> float:
    """Lower the TTLs of the names.  Until when caches may have those of before (wall clock)."""
    work, names = site.begin(Run.CUTOVER), must_have_names(site)
    with verb(site, "dns lower"), names_explained(work, "lower"):
        return names.lower()


def switch_names(site: Site) -> None:
    """Point the names at the side that serves.  Raises NeedsYou when they do not go."""
    must_have_names(site)
    with verb(site, "dns switch"):
        names_must_lead(site)


def follow_names(site: Site) -> None:
    """Wait until everybody has followed the names; without the lease, so that every other verb can
    be used meanwhile.  May be stopped and begun again.  Raises NeedsYou."""
    work, names = site.begin(Run.CUTOVER), must_have_names(site)
    with before_any_step(site), names_explained(work, "wait"):
        names.wait()


def restore_names(site: Site) -> None:
    """Put the TTLs of the names back."""
    work, names = site.begin(Run.CUTOVER), must_have_names(site)
    with verb(site, "dns restore"), names_explained(work, "restore"):
        names.restore_ttl()


def must_have_names(site: Site) -> Names:
    """The names of the site.  Raises UsageError when it has none."""
    names = site.begin(Run.CUTOVER).names
    if names is None:
        raise UsageError(
            "dns-not-told",
            "The manifest names no names in the DNS.",
            where="traffic.dns",
            next="edit crossfade.yaml, then: crossfade plan",
        )
    return names


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
