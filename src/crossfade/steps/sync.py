"""Step 7: the last changes flow over; both are equal; the new version starts and is checked."""

from collections.abc import Mapping

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal
from crossfade.ports import Carrying, Work
from crossfade.steps._beside import beside
from crossfade.steps._carry import carry_and_start
from crossfade.steps._pause import end_reads
from crossfade.steps.stop import positions

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "sync"
reversal = Reversal.RESTART


def preview(work: Work) -> PlannedStep:
    """What is copied inside the pause."""
    actions = (
        *(_last(n, carrier.preview()) for n, carrier in work.carriers.items()),
        *(f"copy what changed in {n}" for n in work.old.files),
        "prove that both sides are equal; start the new version; check it",
        *(("hold reads as well, drain them, stop the old side",) if work.limits.reads else ()),
    )
    return PlannedStep(name, actions, reversal, pause=True)


def run(work: Work) -> Evidence:
    """Carry, start, check; and prove that nobody wrote to the old side meanwhile."""
    findings = carry_and_start(work)
    if work.limits.reads:
        findings += end_reads(work, work.old, work.new)
    with beside(work.old.service.look) as seen:
        findings += unchanged(work.at_fence(), positions(work))
    state = seen()  # a supervisor may have started it again
    findings.append(Finding.equal("the old side runs", False, state.running, state.detail))
    return Evidence(name, tuple(findings))


def _last(n: str, plan: Carrying) -> str:
    size = f"{plan.size / 1e6:.1f} MB"
    if plan.strategy == "stream":
        return f"wait for the last changes of database {n}; prove what changed since the copy"
    return f"copy database {n} again ({size})"


def unchanged(before: Mapping[str, str], after: Mapping[str, str]) -> list[Finding]:
    """The leak check: a write that came after the fence goes nowhere, so we must go back."""
    return [
        Finding.equal(f"old side's {n} is as at the fence", mark, after.get(n), "its position")
        for n, mark in before.items()
    ]


def undo(work: Work) -> Evidence:
    """Stop the new version; its data is made anew by the next cutover.

    While the pause lasts that waits: step stop brings the old side back first, then ends both."""
    if work.dead_man.state() == "armed":
        return Evidence(name, ())
    work.new.service.stop(timeout=3.0)
    if work.new.service.look().running:
        raise Failed("service-does-not-stop", "The new side does not stop.")
    return Evidence(name, (Finding.equal("the new side runs", False, False, "service"),))
