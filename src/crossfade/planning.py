"""From the steps' previews to one plan: problems, disk space, the predicted pause."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from crossfade.engine import history
from crossfade.engine.work import AttemptWork
from crossfade.errors import Failed, NeedsYou, Refused
from crossfade.model import Finding, Plan, PlannedStep, Problem, Reversal
from crossfade.needs import Need
from crossfade.ports import Host, Step, Work

__all__ = ["accepting", "made_first", "make_plan", "refuse_lacks", "refuse_problems", "room"]

_UNMADE = "machine-not-made"
_QUESTIONS = "configuration-questions"


def make_plan(
    work: Work,
    steps: Sequence[Step],
    world: Mapping[str, str],
    rehearsal: history.Record | None,
    needs: Sequence[Need] = (),
) -> Plan:
    """The plan of one run.  rehearsal is the last green one, for the prediction; needs are those of
    its machines."""
    planned = tuple(_previewed(step, work) for step in steps)
    disk = _disk(work, planned)
    problems = _lacks(needs)
    problems += [problem for step in planned for problem in step.problems]
    problems += _lacks(room(disk))
    warnings = [warning for step in planned for warning in step.warnings]
    warnings += [f"{need.words}; {need.fix}" for need in needs if need.lacks and not need.stops]
    return Plan(
        work.old.installation,
        work.new.installation,
        planned,
        world,
        disk,
        tuple(warnings),
        tuple(problems),
        history.predicted_pause(rehearsal) if rehearsal else None,
    )


def made_first(words: str) -> tuple[PlannedStep, ...]:
    """What is planned before everything else: the new side's machine."""
    return (PlannedStep("provision", (words,), Reversal.FREE),)


def _previewed(step: Step, work: Work) -> PlannedStep:
    """What a step would do, as far as it can be looked at."""
    try:
        return step.preview(work)
    except Failed as failed:
        if failed.code != _UNMADE:
            raise
        return PlannedStep(step.name, ("is planned when the machine is there",), step.reversal)


def room(disk: Mapping[str, tuple[int, int]]) -> list[Need]:
    """Whether each file system has what is needed: the bytes of each, needed and free."""
    return [_room(name, needed, free) for name, (needed, free) in disk.items()]


def _room(name: str, needed: int, free: int) -> Need:
    claim = f"room on the file system of {name}"
    seen = Finding(claim, f"{needed} bytes", f"{free} bytes free", "statvfs", needed <= free)
    place, _, there = name.rpartition(" on ") if " on " in name else (name, "", "")
    on = f"on {there}; " if there else ""
    fix = f"df -h {quote(place)}   ({on}make room, or name another place in crossfade.yaml)"
    return Need("disk-too-small", seen, fix)


def _disk(work: Work, planned: Sequence[PlannedStep]) -> dict[str, tuple[int, int]]:
    """Bytes needed and free for each file system, named by the first place on it."""
    first: dict[str, tuple[str, Host, Path]] = {}
    needed: dict[str, int] = {}
    for step in planned:
        for host, places in (
            (work.here, step.needs),
            (work.new.host, step.needs_there),
            (work.backups.host or work.here, step.needs_kept),
        ):
            for place, size in places.items():
                try:
                    system = host.file_system(place)
                except Failed as failed:
                    if failed.code != _UNMADE:
                        raise
                    continue
                far = "" if host.name == work.here.name else f" on {host.name}"
                first.setdefault(system, (f"{place}{far}", host, place))
                needed[system] = needed.get(system, 0) + size
    return {
        name: (needed[system], host.free_bytes(place))
        for system, (name, host, place) in first.items()
    }


def _lacks(needs: Sequence[Need]) -> list[Problem]:
    return [need.problem for need in needs if need.lacks and need.stops]


def accepting(work: AttemptWork, plan: Plan, flag: str, codes: Container[str]) -> Plan:
    """The plan without the problems that the operator accepts by a named flag, which the journal
    then has with the run."""
    kept = tuple(problem for problem in plan.problems if problem.code not in codes)
    if kept == plan.problems:
        return plan
    work.accepted |= {flag}
    accepted = [p.finding for p in plan.problems if p.code in codes]
    warnings = [f"accepted by --{flag}: {finding.observed}" for finding in accepted]
    return replace(plan, problems=kept, warnings=(*plan.warnings, *warnings))


def refuse_problems(plan: Plan) -> None:
    """Raises Refused for the first problem, naming all; NeedsYou where all are questions."""
    _refuse(plan.problems)


def refuse_lacks(needs: Sequence[Need]) -> None:
    """The same where something is lacking without which no plan can be made."""
    _refuse(_lacks(needs))


def _refuse(problems: Sequence[Problem]) -> None:
    if not problems:
        return
    first = problems[0]
    finding = first.finding
    what = f"{finding.claim}: expected {finding.expected}, seen {finding.observed}."
    where = "\n".join(f"{p.code}: {p.finding.claim}: {p.finding.observed}" for p in problems)
    if all(problem.code == _QUESTIONS for problem in problems):
        raise NeedsYou(first.code, what, where=where, next=first.next)
    raise Refused(first.code, what, where=where, next=first.next)
