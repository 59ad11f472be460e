"""Step 6: hold, drain, stop and fence the old side.  The pause begins.

In a rehearsal there is nothing of the old side to stop: the copy is stopped and removed.
"""

from collections.abc import Container

from crossfade.model import Evidence, Finding, PlannedStep, Problem, Reversal, Run, Side
from crossfade.ports import Work
from crossfade.steps import configure, restore
from crossfade.steps._beside import beside
from crossfade.steps._pause import begin, go_back, stopped

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "stop"
reversal = Reversal.RESTART


def preview(work: Work) -> PlannedStep:
    """What would be stopped, and what is touched on the old side."""
    if work.run is Run.REHEARSAL:
        return PlannedStep(name, ("stop the rehearsal's copy and remove it",), Reversal.FREE)
    old = work.old
    state = old.service.look()
    health = old.health.run()
    problems = []
    if work.traffic.look() is None:
        seen = Finding(
            "a gate stands in front", "it runs", f"nothing at {work.traffic.listen}", "gate", False
        )
        problems.append(Problem("gate-not-running", seen, "crossfade gate start"))
    if not (state.running and health.holds):
        seen = Finding(
            "the old side runs and is healthy",
            "it does",
            f"{state.detail}; {health.observed}",
            health.source,
            False,
        )
        problems.append(Problem("old-not-running", seen, "crossfade status"))
    warnings = []
    if state.foreign:
        warnings.append(
            f"the old side was started as {' '.join(state.foreign)!r}; "
            f"going back starts it as {' '.join(old.service.command())!r}"
        )
    jobs, told = old.jobs.found()
    warnings += [
        f"{job} works for the old side and is not handed over: switch it off before the cutover, "
        "and set it up for the new side after it"
        for job in told
    ]
    actions = (
        *(f"hand over a job: {job}, switched on after the switch" for job in jobs),
        f"hold requests at {work.traffic.listen}, let those in flight finish",
        f"stop the old side ({state.detail})",
        "fence its databases, and prove the fence by trying",
    )
    touches = (
        f"the old side's process is stopped; to start it again: {' '.join(old.service.command())}",
        *(f"a job is switched off: {job.partition(' becomes ')[0]}" for job in jobs),
        *(f"database {n}: {d.traits.fence}" for n, d in old.databases.items()),
    )
    return PlannedStep(
        name,
        actions,
        reversal,
        touches=touches,
        pause=True,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def run(work: Work) -> Evidence:
    """Begin the pause; or, in a rehearsal, end the copy."""
    if work.run is Run.REHEARSAL:
        return _end_rehearsal(work)
    work.traffic.ensure(
        {Side.OLD: work.old.installation.address, Side.NEW: work.new.installation.address}
    )
    work.new.jobs.carry()
    findings = begin(work, work.old, work.new)
    with beside(lambda: stopped(work.old)) as seen, work.timed("fence"):
        for database in work.old.databases.values():
            work.held.callback(database.fence().close)
        with beside(lambda: positions(work)) as at_fence:
            findings += [database.prove_fence() for database in work.old.databases.values()]
        marks = at_fence()
    findings += seen()
    return Evidence(name, tuple(findings), {"positions": marks, "pause_began": work.pause_began})


def undo(work: Work) -> Evidence:
    """The old side serves again: ended by ourselves, or by the dead-man's switch before us."""
    if work.run is Run.REHEARSAL:
        return _end_rehearsal(work)
    if work.dead_man.state() == "none":  # the pause never began
        work.new.service.stop(timeout=3.0)
        return Evidence(name, (Finding.equal("the pause", "not begun", "not begun", "token"),))
    return Evidence(name, tuple(go_back(work, work.old, work.new)))


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
