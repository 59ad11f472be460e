"""Step 3: read a consistent copy of the old side's databases while it works; or begin to follow."""

from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal, Run
from crossfade.ports import Work
from crossfade.steps import _keep

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "backup"
reversal = Reversal.FREE


def preview(work: Work) -> PlannedStep:
    """How each database will be carried, what that needs, and what it touches."""
    plans = {n: carrier.preview() for n, carrier in work.carriers.items()}
    needs, needs_kept = _keep.needs(work, [plan.size for plan in plans.values()])
    needs_there: dict[Path, int] = {}
    for plan in plans.values():
        for total, part in ((needs, plan.needs), (needs_there, plan.needs_there)):
            for place, size in part.items():
                total[place] = total.get(place, 0) + size
    return PlannedStep(
        name,
        (*_keep.actions(work), *(action for plan in plans.values() for action in plan.actions)),
        reversal,
        touches=tuple(touch for plan in plans.values() for touch in plan.touches),
        needs=needs,
        needs_there=needs_there,
        needs_kept=needs_kept,
        problems=tuple(problem for plan in plans.values() for problem in plan.problems),
        warnings=(
            *_keep.warnings(work),
            *(
                warning
                for n, plan in plans.items()
                for warning in (*_strategy(n, plan.strategy, plan.why), *plan.warnings)
            ),
        ),
    )


def _strategy(n: str, strategy: str, why: str) -> tuple[str, ...]:
    return (f"database {n} is carried by {strategy}: {why}",) if why else ()


def run(work: Work) -> Evidence:
    """Copy every database, or start its feed; each carrier proves what it did.

    In a cutover the backup that is kept comes first: no feed waits for it."""
    findings: list[Finding] = []
    details: dict[str, object] = {}
    if _keep.keeps(work):
        findings, details["kept"] = _keep.keep(work)
    elif work.run is Run.CUTOVER:
        details["kept"] = "none: backup.when is never"
    for carrier in work.carriers.values():
        findings += carrier.back_up(work)
    if not findings:
        findings.append(Finding.equal("databases to copy", 0, 0, "recipe"))
    strategies = {n: carrier.preview().strategy for n, carrier in work.carriers.items()}
    return Evidence(name, tuple(findings), {"strategies": strategies, **details})


def undo(work: Work) -> Evidence:
    """End the feeds.  A rehearsal's copy goes with everything else; a backup that was proven stays,
    half of one goes."""
    findings = [f for carrier in work.carriers.values() for f in carrier.let_go()]
    left = work.directory / "backup"
    if _keep.keeps(work):
        try:
            work.backups.discard()
        except Failed as error:  # its machine is away; doctor names what is there
            work.tell(f"half of a backup may stay: {error.what}")
        work.here.remove(left)
        left = work.backups.stage
    return Evidence(name, tuple(findings), {"left": str(left)})
