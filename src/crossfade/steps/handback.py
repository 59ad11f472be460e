"""Going back after the switch: a pause of its own, from the new side to the old one.

Not one of the nine steps but their way back.  The writes that only the new side has are exported
first.  The old side has been still since the fence, which is shown, not assumed.  The commit point
is again one rename of a token.
"""

import time
from hashlib import sha256
from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal
from crossfade.ports import Work
from crossfade.steps._health import wait_healthy
from crossfade.steps._pause import begin, go_back
from crossfade.steps._switch import switch_to, take_token
from crossfade.steps.stop import positions

__all__ = ["finish", "name", "preview", "reversal", "run", "undo"]

name = "hand-back"
reversal = Reversal.RESTART


def preview(work: Work) -> PlannedStep:
    """What would be done, and what stays behind."""
    state = work.traffic.look()
    writes = state.writes_since_switch if state else 0
    actions = (
        "hold requests, let those in flight finish, stop the new side",
        f"export what only the new side has ({writes} writes acknowledged since the switch)",
        "start the old side, ask for its health, switch, release",
    )
    return PlannedStep(name, actions, reversal, pause=True)


def run(work: Work) -> Evidence:
    """Hold, drain, stop new, export, start old, commit, switch.

    Raises Failed before the commit; the caller then undoes, and the new side serves again."""
    findings = begin(work, work.new, work.old)
    with work.timed("export"):
        findings += _as_at_fence(work)
        details = _export(work, work.directory / "left-behind")
    with work.timed("start"):
        work.old.service.start()
        findings.append(wait_healthy(work, work.old, work.limits.start))
    broken = [finding for finding in findings if not finding.holds]
    if broken:
        raise Failed("evidence-failed", f"{broken[0].claim}: {broken[0].observed}.")
    with work.timed("commit"):
        take_token(work)
    pause = {"pause_began": work.pause_began}
    end = finish(work)
    return Evidence(name, (*findings, *end.findings), {**details, **pause, **end.details})


def finish(work: Work) -> Evidence:
    """After the commit point: only forward to the old side.  Also right after a crash."""
    with work.timed("switch"):
        findings = switch_to(work, work.old, work.new)
    ended = time.time()
    work.held.close()
    work.pause_began = None
    work.new.service.stop(work.limits.stop)  # ends the one that was loaded for going on
    return Evidence(name, tuple(findings), {"pause_ended": ended})


def undo(work: Work) -> Evidence:
    """Before the commit point: the new side serves again."""
    if work.dead_man.state() == "none":
        return Evidence(name, (Finding.equal("the pause", "not begun", "not begun", "token"),))
    return Evidence(name, tuple(go_back(work, work.new, work.old)))


def _as_at_fence(work: Work) -> list[Finding]:
    """The old side is as it was at the fence of the cutover.

    Asked once for each fence: a way back that was begun and broken off has started the old side,
    which may then write to itself."""

    marks = work.at_fence()
    fence = sha256(repr(sorted(marks.items())).encode()).hexdigest()[:12]
    seen = work.once(f"old-side-since-fence {fence}", lambda: positions(work))
    return [
        Finding.equal(f"old side's {n} is as at the fence", mark, seen.get(n), "its position")
        for n, mark in marks.items()
    ]


def _export(work: Work, to: Path) -> dict[str, object]:
    """Keep what only the new side has: whole databases, and their extra rows as JSON lines."""
    rows = 0
    for database_name, database in work.new.databases.items():
        database.copy_to(to / f"{database_name}.database")
        still = work.directory / "old" / database_name
        work.old.databases[database_name].copy_to(still)
        rows += database.export_beyond(still, to / database_name)
    files = 0
    for tree_name, tree in work.new.files.items():
        files += len(tree.digest().differences(work.old.files[tree_name].digest()))
        tree.copy_to(to / "files" / tree_name)
    return {"rows": rows, "files": files, "at": str(to)}
