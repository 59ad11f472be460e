"""Going back after the switch: a pause of its own, from the new side to the old one.

Not one of the nine steps but their way back.  The writes that only the new side has are exported
first.  The old side has been still since the fence, which is shown, not assumed.  The commit point
is again one rename of a token.
"""

import time
from hashlib import sha256
from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Reversal, Side
from crossfade.ports import Work
from crossfade.steps import _front, _ports
from crossfade.steps._beside import beside
from crossfade.steps._health import wait_healthy
from crossfade.steps._names import lead_names, names_back
from crossfade.steps._pause import begin, go_back, stopped
from crossfade.steps._stands import stands
from crossfade.steps._switch import change_at_boot, hand_jobs, switch_to, take_token
from crossfade.steps.stop import positions
from crossfade.steps.switch import keep_fences

__all__ = ["finish", "lossless", "name", "preview", "reversal", "run", "undo", "would_lose"]

name = "hand-back"
reversal = Reversal.RESTART


def preview(work: Work) -> PlannedStep:
    """What would be done, and what stays behind."""
    state = work.traffic.look()
    writes = state.writes_since_switch if state else 0
    count = f"{writes} writes acknowledged since the switch"
    bring = f"export what only the new side has ({count})"
    if lossless(work):
        bring = f"bring what only the new side has to the old one ({count})"
    names = "point the names back at the gate, and wait until everybody has followed"
    led = work.names is not None and not work.names.complete(Side.OLD)
    actions = (
        *((names,) if led else ()),
        "hold requests, let those in flight finish, stop the new side",
        *_ports.hold_there(work),
        bring,
        "start the old side, ask for its health, switch, release",
        *_ports.break_there(work, Side.OLD),
        *(("put the web server's configuration back",) if work.front else ()),
    )
    return PlannedStep(name, actions, reversal, pause=True)


def lossless(work: Work) -> bool:
    """Whether every write of the new side can go along to the old one."""
    return bool(work.carriers) and all(c.way_back().lossless for c in work.carriers.values())


def would_lose(work: Work) -> str:
    """What would stay behind on the new side, in words; empty when nothing would."""
    state = work.traffic.look()
    writes: int | str = state.writes_since_switch if state else "an unknown number of"
    past = work.names is not None and work.names.past_the_gate()
    if not (writes or past) or lossless(work):
        return ""
    more = ", and what came past the gate," if past else ""
    return f"{writes} acknowledged writes{more}"


def run(work: Work) -> Evidence:
    """Hold, drain, stop new, export, start old, commit, switch.

    Raises Failed before the commit; the caller then undoes, and the new side serves again."""
    findings = names_back(work)
    findings += begin(work, work.new, work.old)
    with beside(lambda: stopped(work.new)) as seen, work.timed("export"):
        findings += _as_at_fence(work)
        brought, details = _bring_back(work, work.directory / "left-behind")
        findings += brought
    findings += seen()
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
    findings += hand_jobs(work.old, work.new)
    findings += work.new.jobs.remove()
    change_at_boot(work.old, work.new)
    work.new.service.stop(work.limits.stop)  # ends the one that was loaded for going on
    for carrier in work.carriers.values():
        findings += carrier.let_go()
    findings += _front.lead_back(work)
    if work.names and not work.names.complete(Side.OLD):
        findings += lead_names(work, Side.OLD)
    return Evidence(name, tuple(findings), {"pause_ended": ended, "stands": stands(work.new)})


def undo(work: Work) -> Evidence:
    """Before the commit point: the new side serves again."""
    if work.dead_man.state() == "none":
        return Evidence(name, (Finding.equal("the pause", "not begun", "not begun", "token"),))
    findings = go_back(work, work.new, work.old)
    keep_fences(work)  # they were lifted for the old side's start
    for n, carrier in work.carriers.items():
        try:
            findings += carrier.follow_back()
        except Failed as error:  # the new side serves: that must not hang on a feed that is broken
            work.tell(
                f"the new side serves; its writes to database {n} do not flow back for now: "
                f"{error.what}  next: crossfade status"
            )
            claim = f"the old side of database {n} follows the new one"
            findings.append(Finding(claim, "if it can", f"it does not: {error.what}", "feed", True))
    return Evidence(name, tuple(findings))


def _as_at_fence(work: Work) -> list[Finding]:
    """The old side is as it was at the fence of the cutover.

    Asked once for each fence: a way back that was begun and broken off has started the old side,
    which may then write to itself."""

    marks = work.at_fence()
    fence = sha256(repr(sorted(marks.items())).encode()).hexdigest()[:12]
    seen = work.once(f"old-side-since-fence {fence}", lambda: _lasting(work))
    return [
        Finding.equal(f"old side's {n} is as at the fence", mark, seen.get(n), "its position")
        for n, mark in marks.items()
        if n in seen
    ]


def _lasting(work: Work) -> dict[str, str]:
    """The marks that still mean something now; a carrier looks after the others by itself."""
    skip = {f"database {n}" for n, d in work.old.databases.items() if not d.traits.lasting_position}
    return positions(work, without=skip)


def _bring_back(work: Work, to: Path) -> tuple[list[Finding], dict[str, object]]:
    """Every write to the old side, by the reverse feeds; what cannot go is kept below ``to``."""
    whole = lossless(work)
    findings: list[Finding] = []
    rows = 0
    for n, carrier in work.carriers.items():
        brought, behind = carrier.bring_back(work, to / n)
        findings, rows = [*findings, *brought], rows + behind
        if whole and behind:
            raise Failed(
                "would-lose-writes",
                f"The way back of database {n} broke: {behind} rows would stay behind.",
                where=f"they are kept in {to / n}",
                next="crossfade rollback --accept-loss",
            )
    files = 0
    for n, tree in work.new.files.items():
        there = work.old.files[n]
        if whole:
            tree.add_to(there)
        else:
            files += len(tree.digest().differences(there.digest()))
            tree.copy_to(tree.here(to / "files" / n))
    return findings, {"rows": rows, "files": files, "at": str(to)}
