"""From the steps' previews to one plan: problems, disk space, the predicted pause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

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
    rooms = _rooms(work, planned)
    problems = [problem for step in planned for problem in step.problems]
    problems += [room.problem() for room in rooms if room.needed > room.free]
    return Plan(
        work.old.installation,
        work.new.installation,
        planned,
        world,
        {room.name: (room.needed, room.free) for room in rooms},
        tuple(warning for step in planned for warning in step.warnings),
        tuple(problems),
        history.predicted_pause(rehearsal) if rehearsal else None,
    )


@dataclass
class _Room:
    """Bytes needed and free on a file system, named by the first place on it."""

    place: Path
    there: str
    free: int
    needed: int = 0

    @property
    def name(self) -> str:
        return f"{self.place} on {self.there}" if self.there else str(self.place)

    def problem(self) -> Problem:
        claim = f"room on the file system of {self.name}"
        seen = f"{self.free} bytes free"
        on = f"on {self.there}; " if self.there else ""
        return Problem(
            "disk-too-small",
            Finding(claim, f"{self.needed} bytes", seen, "statvfs", holds=False),
            f"df -h {quote(str(self.place))}   "
            f"({on}make room, or name another place in crossfade.yaml)",
        )


def _rooms(work: Work, planned: Sequence[PlannedStep]) -> list[_Room]:
    """Each file system that is written to."""
    rooms: dict[str, _Room] = {}
    for step in planned:
        for host, places in ((work.here, step.needs), (work.new.host, step.needs_there)):
            there = "" if host.name == work.here.name else host.name
            for place, size in places.items():
                system = host.file_system(place)
                if system not in rooms:
                    rooms[system] = _Room(place, there, host.free_bytes(place))
                rooms[system].needed += size
    return list(rooms.values())


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
