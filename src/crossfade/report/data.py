"""What a report is made from: plain JSON, typed.  Nothing here is computed or looked up.

Times called ``began``, ``ended``, ``made_at`` and ``arrived`` are seconds since the epoch; values
called ``seconds`` are durations in seconds, those ending in ``_ms`` in milliseconds.  The same
structure is published as ``report.schema.json`` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, NotRequired, TypedDict

__all__ = [
    "Configured",
    "Finding",
    "GoingBack",
    "Outcome",
    "Part",
    "Pause",
    "Plan",
    "PlannedStep",
    "ReportData",
    "Requests",
    "RunRecord",
    "Sample",
    "StepRecord",
    "Trouble",
]

Outcome = Literal[
    "planned",
    "rehearsed",
    "rehearsal-failed",
    "done",
    "went-back",
    "rolled-back",
    "retired",
    "interrupted",
    "recovery-failed",
]


class Sample(NamedTuple):
    """One request as the gate saw it; a row of six values in JSON.

    arrived is when its head had arrived, total_ms how long until its answer was out, held_ms how
    much of that it waited in a hold.  side is ``old``, ``new``, or ``-`` when the gate itself
    answered; status is 0 when there was no answer.
    """

    arrived: float
    total_ms: float
    held_ms: float
    status: int
    side: str
    method: str

    @property
    def held(self) -> bool:
        """Whether it really waited: finding a connection also takes a fraction of a millisecond."""
        return self.held_ms >= 1.0

    @property
    def failed(self) -> bool:
        """No answer at all, or one that says that the server failed (5xx)."""
        return self.status < 100 or self.status >= 500


class GoingBack(TypedDict):
    """What going back costs now: ``free``, ``a restart``, ``N writes`` or ``impossible``."""

    price: str
    sentence: str


class Pause(TypedDict):
    """The last cutover's pause, from the hold to the release, against prediction and limit."""

    began: float
    ended: float
    seconds: float
    predicted: float | None
    limit: float


class Finding(TypedDict):
    """``crossfade.model.Finding.as_json``."""

    claim: str
    expected: str
    observed: str
    source: str
    holds: bool


class Part(TypedDict):
    """A measured part of a step."""

    name: str
    began: float
    seconds: float


class StepRecord(TypedDict):
    """One step as it ran.  ``ended`` is None while it runs, or when nobody saw it end."""

    name: str
    began: float
    ended: float | None
    outcome: Literal["done", "failed", "undone", "skipped", "running"]
    in_pause: bool
    parts: list[Part]
    findings: list[Finding]
    details: Mapping[str, object]


class Trouble(TypedDict):
    """An explained error: its code and the four sentences."""

    code: str
    what: str
    where: str
    now: str
    next: str


class RunRecord(TypedDict):
    """One try of a verb, with its steps in the order in which they began."""

    run: Literal["rehearsal", "cutover", "rollback", "retire"]
    attempt: int
    began: float
    ended: float | None
    outcome: Literal["done", "failed", "went-back", "interrupted", "running"]
    error: Trouble | None
    unmuted: bool
    steps: list[StepRecord]


class Requests(TypedDict):
    """What the gate counted across the last cutover, and its record of every request."""

    total: int
    failed: int
    served_by_old_after_drain: int
    longest_ms: float
    held: int
    samples: list[Sample]


class PlannedStep(TypedDict):
    """``crossfade.model.PlannedStep.as_json``."""

    name: str
    actions: list[str]
    reversal: str
    touches: list[str]
    mutes: NotRequired[list[str]]  # those of a rehearsal
    pause: bool
    seconds: float | None


class Plan(TypedDict):
    """The plan that was followed.  ``world`` are the facts that its fingerprint covers."""

    fingerprint: str
    steps: list[PlannedStep]
    warnings: list[str]
    world: Mapping[str, str]


class Configured(TypedDict):
    """How the new side's configuration differs from the old one's: a unified diff, masked."""

    difference: str


class ReportData(TypedDict):
    """All of a report.  ``files`` are paths of what the operator may want, by name; ``stands`` is
    what the last run left on machines, if it was a rollback or a retirement."""

    crossfade: str
    upgrade: str
    application: str
    title: str
    old_version: str
    new_version: str
    made_at: float
    outcome: Outcome
    live: Literal["old", "new", "nobody"]
    listen: str
    going_back: GoingBack
    pause: Pause | None
    runs: list[RunRecord]
    requests: Requests | None
    plan: Plan
    configuration: Configured | None
    stands: list[str]
    files: Mapping[str, str]
