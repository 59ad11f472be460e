"""What the data says, worked out once for terminal and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crossfade.report.data import Finding, Outcome, Pause, ReportData, RunRecord, StepRecord
from crossfade.report.words import count, duration

__all__ = [
    "Phase",
    "Writes",
    "covered",
    "failing",
    "headline",
    "in_pause",
    "last_run",
    "next_command",
    "pause_sentence",
    "phases",
    "requests_sentence",
    "step_seconds",
    "writes",
]

_HEADLINES: dict[Outcome, str] = {
    "planned": "Planned",
    "rehearsed": "Rehearsed",
    "rehearsal-failed": "The rehearsal failed",
    "done": "Done",
    "went-back": "Went back",
    "rolled-back": "Rolled back",
    "retired": "Done, and the old side is retired",
    "interrupted": "Interrupted",
    "recovery-failed": "Going back failed: a person is needed",
}

_NEXT: dict[Outcome, str] = {
    "planned": "crossfade rehearse",
    "rehearsed": "crossfade cutover",
    "rehearsal-failed": "crossfade rehearse",
    "done": "crossfade retire",
    "went-back": "crossfade rehearse",
    "rolled-back": "crossfade rehearse",
    "recovery-failed": "crossfade status",
}

_VERBS = {"rehearsal": "rehearse", "cutover": "cutover", "rollback": "rollback", "retire": "retire"}


def headline(data: ReportData) -> str:
    """Outcome and who serves, in one sentence."""
    live, version = data["live"], data["new_version" if data["live"] == "new" else "old_version"]
    serves = "nobody serves" if live == "nobody" else f"the {live} side ({version}) serves"
    return f"{_HEADLINES[data['outcome']]}; {serves} at {data['listen']}."


def last_run(data: ReportData) -> RunRecord | None:
    """The latest run, or None when there was only a plan."""
    return data["runs"][-1] if data["runs"] else None


def next_command(data: ReportData) -> str:
    """The one command that comes next; empty when nothing is left to do."""
    run = last_run(data)
    if run and run["outcome"] != "done" and run["error"] and run["error"]["next"]:
        return run["error"]["next"]
    if data["outcome"] == "interrupted" and run:
        return f"crossfade {_VERBS[run['run']]}"
    return _NEXT.get(data["outcome"], "")


def step_seconds(step: StepRecord) -> float | None:
    """How long a step took; None when it has not ended."""
    return None if step["ended"] is None else step["ended"] - step["began"]


def failing(data: ReportData) -> Iterator[tuple[StepRecord, Finding]]:
    """Each finding of the latest run that does not hold, with its step."""
    run = last_run(data)
    for step in run["steps"] if run else ():
        for finding in step["findings"]:
            if not finding["holds"]:
                yield step, finding


class Writes(NamedTuple):
    """Acknowledged writes that were looked for on the side that serves (None: not told)."""

    acknowledged: int | None
    lost: int


def writes(data: ReportData) -> Writes | None:
    """What the steps' details say of lost writes, the latest first; None when they do not.

    Understood are ``lost_writes: N`` and ``writes: {acknowledged: N, lost: N}``.
    """
    for run in reversed(data["runs"]):
        for step in reversed(run["steps"]):
            told = step["details"].get("writes")
            if isinstance(told, dict) and isinstance(lost := told.get("lost"), int):
                known = told.get("acknowledged")
                return Writes(known if isinstance(known, int) else None, lost)
            if isinstance(lost := step["details"].get("lost_writes"), int):
                return Writes(None, lost)
    return None


class Phase(NamedTuple):
    """A part of the pause: its step, its name, and begin and end in seconds from the hold."""

    step: str
    name: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How much of the pause it took."""
        return self.ended - self.began


def phases(data: ReportData) -> list[Phase]:
    """The parts of the last cutover's steps that fell into the pause, cut at its borders.

    A step inside the pause without measured parts stands for itself.  Ordered by begin.
    """
    pause = data["pause"]
    if pause is None:
        return []
    run = next((run for run in reversed(data["runs"]) if _holds_pause(run, pause)), None)
    found = []
    for step in run["steps"] if run else ():
        ended = pause["ended"] if step["ended"] is None else step["ended"]
        spans = [(p["name"], p["began"], p["began"] + p["seconds"]) for p in step["parts"]]
        for name, first, last in spans or [(step["name"], step["began"], ended)]:
            first, last = max(first, pause["began"]), min(last, pause["ended"])
            if step["in_pause"] and last > first:
                began = first - pause["began"]
                found.append(Phase(step["name"], name, began, began + last - first))
    return sorted(found, key=lambda phase: (phase.began, phase.ended))


def _holds_pause(run: RunRecord, pause: Pause) -> bool:
    # A later cutover may have been refused before its hold: the pause is not that one's.
    return run["run"] == "cutover" and run["began"] <= pause["began"]


def covered(found: Iterable[Phase]) -> float:
    """Seconds that at least one of the phases covers."""
    total, reached = 0.0, 0.0
    for phase in sorted(found, key=lambda phase: phase.began):
        total += max(0.0, phase.ended - max(phase.began, reached))
        reached = max(reached, phase.ended)
    return total


def in_pause(step: StepRecord, pause: Pause | None) -> tuple[float, float] | None:
    """Begin and end (epoch) of what a step spent in the pause of the last cutover."""
    if pause is None or not step["in_pause"]:
        return None
    ended = pause["ended"] if step["ended"] is None else step["ended"]
    began, ended = max(step["began"], pause["began"]), min(ended, pause["ended"])
    return (began, ended) if ended > began else None


def pause_sentence(data: ReportData) -> str:
    """The pause against prediction and limit; empty when there was none."""
    pause = data["pause"]
    if pause is None:
        return ""
    predicted = pause["predicted"]
    told = "not predicted" if predicted is None else f"predicted {duration(predicted)}"
    return f"{duration(pause['seconds'])}, {told}, limit {duration(pause['limit'])}"


def requests_sentence(data: ReportData) -> str:
    """Requests across the last cutover; empty when they were not recorded."""
    seen = data["requests"]
    if seen is None:
        return ""
    failed = "none failed" if not seen["failed"] else f"{count(seen['failed'])} FAILED"
    longest = duration(seen["longest_ms"] / 1000)
    return f"{count(seen['total'])}, {failed}, {count(seen['held'])} held, longest {longest}"
