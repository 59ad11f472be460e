"""Step 5 (rehearsal): migrate, start and check the new version on a copy, and time everything."""

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal, Run
from crossfade.ports import Work
from crossfade.steps._carry import carry_and_start

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "check"
reversal = Reversal.FREE
_SHOW = "crossfade config show --rehearsal"


def preview(work: Work) -> PlannedStep:
    """Where the new version would listen."""
    new = work.new.installation
    words = f"start version {new.version} at {new.address}, which migrates its copy; check it"
    if work.run is Run.CUTOVER:
        return PlannedStep(name, (f"(in step sync) {words}",), reversal)
    sealed = tuple(
        f"have the old side seal a word that the new one must read: {canary.name}"
        for canary in work.canaries
    )
    return PlannedStep(name, (*sealed, words), reversal)


def run(work: Work) -> Evidence:
    """Do on the copy what the cutover will do inside its pause."""
    before = _canaries(work) + _checkers(work)
    with work.timed("prepare"):
        work.new.service.prepare()
    findings = [*before, *carry_and_start(work), *_names(work)]
    with work.timed("stop"):
        work.new.service.stop(work.limits.stop)
    running = work.new.service.look().running
    findings.append(Finding.equal("the copy stops when asked", False, running, "service"))
    return Evidence(name, tuple(findings))


def _canaries(work: Work) -> list[Finding]:
    """Before the copy is started: what was sealed with the old side's keys can be read with the new
    side's.  Raises Failed for the first that cannot."""
    findings = []
    for canary in work.canaries:
        finding = canary.run()
        if not finding.holds:
            what = "The new side cannot read what the old side sealed with a key of the site: "
            what += f"{canary.name}.  With it, what users have (tokens, signatures) would be lost."
            where = f"{finding.claim}: {finding.observed}"
            raise Failed("canary-unreadable", what, where=where, next=_SHOW)
        findings.append(finding)
    return findings


def _checkers(work: Work) -> list[Finding]:
    """Where something is muted the start of the copy shows nothing of it, so the new version is
    asked whether it would start with the cutover's file.  Raises Failed where it would not."""
    findings: list[Finding] = []
    if work.straight is None or not work.straight.mutes:
        return findings
    for checker in work.checkers:
        finding = checker.run()
        if not finding.holds:
            what = f"The new version does not take {checker.name} as the cutover will have it."
            where = f"{finding.source}: {finding.observed}"
            next = "crossfade config show"
            raise Failed("configuration-not-taken", what, where=where, next=next)
        findings.append(finding)
    return findings


def _names(work: Work) -> list[Finding]:
    """Checks go to the side's address, users ask for a name.  Raises Failed where the new side
    refuses one that the old side answers."""
    if work.answers is None:
        return []
    finding = work.answers.run()
    if not finding.holds:
        what = "Under a name that users ask for, the new side refuses what the old one answers."
        next = "crossfade rehearse   (first allow the name in the new side's settings; or say in"
        next += " traffic.names what requests ask the application for, if it is another)"
        raise Failed("name-refused", what, where=finding.observed, next=next)
    return [finding]


def undo(work: Work) -> Evidence:
    """Stop the copy."""
    work.new.service.stop(timeout=5.0)
    running = work.new.service.look().running
    return Evidence(name, (Finding.equal("the copy is stopped", False, running, "service"),))
