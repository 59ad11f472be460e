"""Step 6: hold, drain, stop and fence the old side.  The pause begins.

In a rehearsal there is nothing of the old side to stop: the copy is stopped and removed.
"""

from collections.abc import Container

from crossfade.model import Evidence, Finding, PlannedStep, Problem, Reversal, Run, Side
from crossfade.ports import ServiceState, Work
from crossfade.steps import _front, _ports, _reads, configure, restore
from crossfade.steps._beside import beside
from crossfade.steps._pause import begin, go_back, stopped

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "stop"
reversal = Reversal.RESTART
_END_JOBS = "crossfade cutover --end-jobs   (it switches them off; set up their like yourself)"


def preview(work: Work) -> PlannedStep:
    """What would be stopped, and what is touched on the old side."""
    if work.run is Run.REHEARSAL:
        words = "stop the rehearsal's copy and remove it"
        return PlannedStep(name, (words,), Reversal.FREE, problems=tuple(_reads.problems(work)))
    old = work.old
    state = old.service.look()
    problems = _problems(work, state)
    warnings = []
    if state.foreign:
        warnings.append(
            f"the old side was started as {' '.join(state.foreign)!r}; "
            f"going back starts it as {' '.join(old.service.command())!r}"
        )
    jobs, told = old.jobs.found()
    ending, _ = old.jobs.ending()
    warnings += [
        f"{job} works for the old side and is not handed over: switch it off before the cutover, "
        "and set it up for the new side after it"
        for job in told
    ]
    front_touches, front_problems, front_warnings = _front.preview(work)
    actions = (
        *(("lead the web server to the gate, without losing a request",) if front_touches else ()),
        *(f"hand over a job: {job}, switched on after the switch" for job in jobs),
        *(f"switch off a job that the new side will not have: {job}" for job in ending),
        f"hold requests at {work.traffic.listen}, let those in flight finish",
        *_ports.hold_there(work),
        *_reads.actions(work, state.detail),
        "fence its databases, and prove the fence by trying",
    )
    touches = (
        *front_touches,
        f"the old side's process is stopped; to start it again: {' '.join(old.service.command())}",
        *(f"a job is switched off: {j.partition(' becomes ')[0]}" for j in (*jobs, *ending)),
        *(f"database {n}: {d.traits.fence}" for n, d in old.databases.items()),
    )
    return PlannedStep(
        name,
        actions,
        reversal,
        touches=touches,
        pause=True,
        problems=(*problems, *front_problems),
        warnings=(*warnings, *front_warnings),
    )


def _problems(work: Work, state: ServiceState) -> list[Problem]:
    """What keeps the old side, which stands like this, from being stopped."""
    old = work.old
    health = old.health.run()
    problems = [*_no_gate(work), *_not_running(state, health), *_reads.problems(work)]
    ending, why = old.jobs.ending()
    if ending:
        claim = "each job of the old side has its like on the new side"
        seen = Finding(claim, "it has", f"{why}: {', '.join(ending)}", "cron and timers", False)
        problems.append(Problem("jobs-end", seen, _END_JOBS))
    return problems


def _no_gate(work: Work) -> list[Problem]:
    if work.traffic.look() is not None:
        return []
    seen = f"nothing at {work.traffic.listen}"
    finding = Finding("a gate stands in front", "it runs", seen, "gate", False)
    return [Problem("gate-not-running", finding, "crossfade gate start")]


def _not_running(state: ServiceState, health: Finding) -> list[Problem]:
    if state.running and health.holds:
        return []
    claim, seen = "the old side runs and is healthy", f"{state.detail}; {health.observed}"
    finding = Finding(claim, "it does", seen, health.source, False)
    return [Problem("old-not-running", finding, "crossfade status")]


def run(work: Work) -> Evidence:
    """Begin the pause; or, in a rehearsal, end the copy."""
    if work.run is Run.REHEARSAL:
        return _end_rehearsal(work)
    work.traffic.ensure(
        {Side.OLD: work.old.installation.address, Side.NEW: work.new.installation.address}
    )
    _ports.must_be_taken(work)
    work.new.jobs.carry()
    led = _front.insert(work)
    _bring_nearer(work)  # before anything waits: a program that is held may give up
    reads = work.limits.reads
    findings = led + begin(work, work.old, work.new, reads=reads)
    with beside(lambda: [] if reads else stopped(work.old)) as seen, work.timed("fence"):
        for database in work.old.databases.values():
            work.held.callback(database.fence().close)
        with beside(lambda: positions(work)) as at_fence:
            findings += [database.prove_fence() for database in work.old.databases.values()]
        marks = at_fence()
    findings += seen()
    if reads:
        findings.append(_reads.answered(work.old))
    return Evidence(name, tuple(findings), {"positions": marks, "pause_began": work.pause_began})


def undo(work: Work) -> Evidence:
    """The old side serves again: ended by ourselves, or by the dead-man's switch before us."""
    if work.run is Run.REHEARSAL:
        return _end_rehearsal(work)
    if work.dead_man.state() == "none":  # the pause never began
        work.new.service.stop(timeout=3.0)
        findings = [Finding.equal("the pause", "not begun", "not begun", "token")]
    else:
        findings = go_back(work, work.old, work.new)
    return Evidence(name, (*findings, *_front.take_back(work)))


def _bring_nearer(work: Work) -> None:
    """Files that came since the first copy, so that the pause has only those of a moment."""
    for name, tree in work.old.files.items():
        with work.timed(f"nearer {name}"), work.progress(f"what came to {name}") as progress:
            tree.copy_to(work.new.files[name], progress)
            work.new.files[name].digest()
            tree.digest()


def positions(work: Work, without: Container[str] = ()) -> dict[str, str]:
    """Marks that change with every write to the old side."""
    carriers = {f"database {n}": carrier for n, carrier in work.carriers.items()}
    marks = {name: c.mark() for name, c in carriers.items() if name not in without}
    return marks | {f"tree {n}": t.position() for n, t in work.old.files.items()}


def _end_rehearsal(work: Work) -> Evidence:
    let_go = restore.undo(work)
    done = configure.undo(work)
    work.here.remove(work.directory / "backup")
    work.here.remove(work.directory / "last")
    running = work.new.service.look().running
    gone = Finding.equal("the copy runs", False, running, "service")
    return Evidence(name, (*let_go.findings, *done.findings, gone))
