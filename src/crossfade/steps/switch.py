"""Step 8: commit, switch, release.  The pause ends; then watch.

The commit point is one rename: the dead-man's switch is disarmed and, in the same act, the new side
becomes authoritative.  Should we die right after it, the gate finds the token when its lease runs
out and switches by itself.
"""

import time
from dataclasses import replace

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal, Side
from crossfade.ports import Work
from crossfade.steps import _ports
from crossfade.steps._names import lead_names
from crossfade.steps._switch import change_at_boot, hand_jobs, switch_to, take_token
from crossfade.steps._watch import watch

__all__ = ["finish", "keep_fences", "name", "preview", "reversal", "run", "undo"]

name = "switch"
reversal = Reversal.LOSES_WRITES
_BLIND = (
    "this gate does not count who still comes to the old address, so retiring will take "
    "--despite-stragglers"
)


def preview(work: Work) -> PlannedStep:
    """What is switched, and what going back costs from here on."""
    actions = (
        f"commit; point {work.traffic.listen} at {work.new.installation.address}; release",
        f"watch for {work.limits.watch:.0f} s{_goes_back(work)}",
        *_ports.break_there(work, Side.NEW),
        *(work.names.actions() if work.names else ()),
        *(f"remove the older backup {b.path}" for b in work.backups.surplus(_coming(work))),
    )
    boots = "the old side is no longer started at boot (after a rollback it is again)"
    touches = (boots,) if work.old.service.at_boot() else ()
    problems = work.names.problems() if work.names else ()
    blind = work.names is not None and not work.traffic.traits.counts_late
    return PlannedStep(
        name,
        actions,
        reversal,
        touches=touches,
        pause=True,
        problems=problems,
        warnings=(_BLIND,) if blind else (),
    )


def _goes_back(work: Work) -> str:
    if not work.limits.heed.go_back:
        return ""
    return "; go back by itself when the new side is much worse and nothing is lost by it"


def run(work: Work) -> Evidence:
    """Make sure of the way back, take the token, then only forward."""
    findings: list[Finding] = []
    with work.timed("way back"):
        for carrier in work.carriers.values():
            findings += carrier.keep_way_back(work)
    with work.timed("commit"):
        take_token(work)
    done = finish(work)
    return replace(done, findings=(*findings, *done.findings))


def finish(work: Work) -> Evidence:
    """After the commit point: switch, release, watch.  Also right after a crash."""
    with work.timed("switch"):
        findings = switch_to(work, work.new, work.old)
    ended = time.time()
    with work.timed("keep the fence"):
        keep_fences(work)
    for carrier in work.carriers.values():
        findings += carrier.after_commit(work)
    work.held.close()
    work.pause_began = None
    findings += hand_jobs(work.new, work.old)
    change_at_boot(work.new, work.old)
    work.old.service.stop(work.limits.stop)  # ends the one that was loaded for going back
    watched, too_bad = watch(work, work.new)
    goes_back = bool(too_bad) and work.limits.heed.go_back
    details = {"pause_ended": ended, "too_bad": too_bad, "goes_back": goes_back}
    if goes_back:  # the names and the older backups stay as they are
        return Evidence(name, tuple(findings), details, tuple(watched))
    findings += lead_names(work, Side.NEW)
    if work.backups.wanted:
        work.here.remove(work.directory / "backup")  # what the restore took; the kept one stays
    return Evidence(name, (*findings, *_thin_out(work)), details, tuple(watched))


def _coming(work: Work) -> str:
    """The attempt whose backup will be the newest."""
    return work.label if work.backups.wanted else ""


def _thin_out(work: Work) -> list[Finding]:
    """Older upgrades' backups go.  What cannot be removed is told, and no reason to fail."""
    wanted: list[str] = []
    try:
        wanted = [backup.path.name for backup in work.backups.surplus()]
        if not wanted:
            return []
        seen = ", ".join(work.backups.thin_out())
    except Failed as error:
        seen = f"{error.what} {error.where}"
        work.tell(f"older backups stay: {seen}")
    claim = "older upgrades' backups are removed"
    return [Finding(claim, ", ".join(wanted), seen, str(work.backups.place), True)]


def keep_fences(work: Work) -> None:
    """The old side stays refused for everybody, where its kind of database can do that."""
    for database in work.old.databases.values():
        if database.traits.keeps_fence:
            database.fence().keep()


def undo(work: Work) -> Evidence:
    """Before the commit point nothing was switched.  After it, going back is a hand-back."""
    committed = work.dead_man.state() == "committed"
    return Evidence(name, (Finding.equal("the switch is done", False, committed, "token"),))
