"""From the steps' previews to one plan: problems, disk space, the predicted pause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossfade.engine import history
from crossfade.errors import Refused
from crossfade.model import Finding, Plan, PlannedStep, Problem
from crossfade.ports import Step, Work

__all__ = ["make_plan", "refuse_problems"]


def make_plan(
    work: Work,
    steps: Sequence[Step],
    world: Mapping[str, str],
    rehearsal: history.Record | None,
) -> Plan:
    """The plan of one run.  rehearsal is the last green one, for the prediction."""
    planned = tuple(step.preview(work) for step in steps)
    disk = _disk(work, planned)
    problems = [problem for step in planned for problem in step.problems]
    problems += [
        Problem(
            "disk-too-small",
            Finding(
                f"room on the file system of {place}",
                f"{needed} bytes",
                f"{free} bytes free",
                "statvfs",
                holds=False,
            ),
            f"df -h {place}   (make room, or name another place in crossfade.yaml)",
        )
        for place, (needed, free) in disk.items()
        if needed > free
    ]
    return Plan(
        work.old.installation,
        work.new.installation,
        planned,
        world,
        disk,
        tuple(warning for step in planned for warning in step.warnings),
        tuple(problems),
        history.predicted_pause(rehearsal) if rehearsal else None,
    )


def _disk(work: Work, planned: Sequence[PlannedStep]) -> dict[str, tuple[int, int]]:
    """Bytes needed and free for each file system, named by the first place on it."""
    host = work.new.host
    names: dict[str, str] = {}
    needed: dict[str, int] = {}
    for step in planned:
        for place, size in step.needs.items():
            name = names.setdefault(host.file_system(place), str(place))
            needed[name] = needed.get(name, 0) + size
    free = {name: host.free_bytes(_path(planned, name)) for name in needed}
    return {name: (size, free[name]) for name, size in needed.items()}


def _path(planned: Sequence[PlannedStep], name: str) -> Path:
    return next(place for step in planned for place in step.needs if str(place) == name)


def refuse_problems(plan: Plan) -> None:
    """Raises Refused for the first problem, naming all of them."""
    if not plan.problems:
        return
    first = plan.problems[0]
    finding = first.finding
    raise Refused(
        first.code,
        f"{finding.claim}: expected {finding.expected}, seen {finding.observed}.",
        where="\n".join(
            f"{p.code}: {p.finding.claim}: {p.finding.observed}" for p in plan.problems
        ),
        next=first.next,
    )
