"""Step 5 (rehearsal): migrate, start and check the new version on a copy, and time everything."""

from crossfade.model import Evidence, Finding, PlannedStep, Reversal
from crossfade.ports import Work
from crossfade.steps._carry import carry_and_start, port_taken

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "check"
reversal = Reversal.FREE


def preview(work: Work) -> PlannedStep:
    """Where the new version would listen, and whether that is free."""
    new = work.new
    place = f"at {new.installation.address}"
    words = f"start version {new.installation.version} {place}, which migrates its copy; check it"
    return PlannedStep(name, (words,), reversal, problems=port_taken(new))


def run(work: Work) -> Evidence:
    """Do on the copy what the cutover will do inside its pause."""
    with work.timed("prepare"):
        work.new.service.prepare()
    findings = carry_and_start(work)
    with work.timed("stop"):
        work.new.service.stop(work.limits.stop)
    running = work.new.service.look().running
    findings.append(Finding.equal("the copy stops when asked", False, running, "service"))
    return Evidence(name, tuple(findings))


def undo(work: Work) -> Evidence:
    """Stop the copy."""
    work.new.service.stop(timeout=5.0)
    running = work.new.service.look().running
    return Evidence(name, (Finding.equal("the copy is stopped", False, running, "service"),))
