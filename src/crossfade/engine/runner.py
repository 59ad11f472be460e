"""Run one step, or take one back, with the journal as witness."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Failed, JournalError
from crossfade.model import Evidence
from crossfade.ports import Step

__all__ = ["do", "note", "prove", "take_back"]


def do(work: AttemptWork, step: Step) -> Evidence:
    """Run a step; it is done when its evidence holds and is recorded.

    Raises whatever the step raises, Failed("evidence-failed") when a finding does not hold, and
    JournalError when the journal does not take the record."""
    work.step = step.name
    work.journal.append(work.label, step.name, "step-began", {})
    began = time.monotonic()

    def run() -> Evidence:
        work.crash_point("before-act")
        evidence = step.run(work)
        work.crash_point("after-act")
        return evidence

    evidence = prove(work, step, run)
    work.crash_point("after-record")
    work.tell(f"✔ {step.name:<10} {time.monotonic() - began:6.1f} s")
    return evidence


def prove(work: AttemptWork, step: Step, act: Callable[[], Evidence]) -> Evidence:
    """Do a step, or what remains of it, and record it; it is done when its evidence holds.

    Raises as ``do`` does."""
    work.step, work.parts = step.name, []
    evidence = act()
    payload = {**evidence.as_json(), "parts": work.parts}
    if not evidence.holds:
        note(work, step.name, "step-failed", payload)
        raise _does_not_hold(evidence)
    work.journal.append(work.label, step.name, "step-done", payload)
    return evidence


def take_back(work: AttemptWork, step: Step) -> None:
    """Undo a step.  A journal that does not take the record never stops us from going back."""
    work.step, work.parts = f"undo-{step.name}", []
    work.crash_point("before-act")
    evidence = step.undo(work)
    work.crash_point("after-act")
    note(work, step.name, "step-undone", {**evidence.as_json(), "parts": work.parts})
    work.crash_point("after-record")
    if evidence.findings and not evidence.holds:
        raise _does_not_hold(evidence)


def note(work: AttemptWork, name: str, kind: str, payload: Mapping[str, object]) -> None:
    """Record something that is worth knowing but must not stop anything."""
    try:
        work.journal.append(work.label, name, kind, payload)
    except JournalError as error:
        work.tell(f"the journal did not take a record: {error.what}")


def _does_not_hold(evidence: Evidence) -> CrossfadeError:
    broken = [finding for finding in evidence.findings if not finding.holds]
    if not broken:
        return Failed("evidence-failed", f"Step {evidence.step} has no evidence.")
    first = broken[0]
    return Failed(
        "evidence-failed",
        f"Step {evidence.step}: {first.claim}: expected {first.expected}, seen {first.observed}.",
        where="\n".join(f"{f.source}: {f.claim}: {f.observed}" for f in broken[:5]),
    )
