"""Step 7: the last changes flow over; both are equal; the new version starts and is checked."""

from collections.abc import Mapping
from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal
from crossfade.ports import Work
from crossfade.steps._carry import carry_and_start, equal
from crossfade.steps.stop import positions

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "sync"
reversal = Reversal.RESTART


def preview(work: Work) -> PlannedStep:
    """What is copied inside the pause."""
    actions = (
        *(
            f"copy database {n} again ({d.size() / 1e6:.1f} MB)"
            for n, d in work.old.databases.items()
        ),
        *(f"copy what changed in {n}" for n in work.old.files),
        "prove that both sides are equal; start the new version; check it",
    )
    return PlannedStep(name, actions, reversal, pause=True)


def run(work: Work) -> Evidence:
    """Carry, start, check; and prove that nobody wrote to the old side meanwhile."""
    findings = carry_and_start(work, lambda n, copy: _equal(work, n, copy))
    findings += unchanged(work.at_fence(), positions(work))
    state = work.old.service.look()  # a supervisor may have started it again
    findings.append(Finding.equal("the old side runs", False, state.running, state.detail))
    return Evidence(name, tuple(findings))


def _equal(work: Work, n: str, copy: Path) -> Finding:
    """The last copy is the old side's database.  Equal bytes say it all, and quickly; only where
    the old side was left with a journal of its own are rows and checksums taken inside the pause
    (otherwise step switch records them, after the release)."""
    old = work.old.databases[n]
    if old.matches(copy):
        claim = f"database {n}: the last copy is the old side's, byte for byte"
        return Finding.equal(claim, True, True, "all bytes of both")
    return equal(f"database {n}", old.digest(), work.copy("last", n).digest())


def unchanged(before: Mapping[str, str], after: Mapping[str, str]) -> list[Finding]:
    """The leak check: a write that came after the fence goes nowhere, so we must go back."""
    return [
        Finding.equal(f"old side's {n} is as at the fence", mark, after.get(n), "its position")
        for n, mark in before.items()
    ]


def undo(work: Work) -> Evidence:
    """Stop the new version; its data is made anew by the next cutover."""
    work.new.service.stop(timeout=3.0)
    if work.new.service.look().running:
        raise Failed("service-does-not-stop", "The new side does not stop.")
    return Evidence(name, (Finding.equal("the new side runs", False, False, "service"),))
