"""Reading the journal: which run is unfinished, what the last rehearsal showed.

A run is known by its label, ``<run>-<attempt>``.  Its entries: run-began; step-began, step-done,
step-failed and step-undone for each step; run-ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from crossfade.model import Run
from crossfade.ports import Journal

__all__ = [
    "Record",
    "last",
    "new_is_authoritative",
    "next_label",
    "predicted_pause",
    "runs",
    "unfinished",
]

OVERHEAD_SECONDS = 0.5
"""What a pause takes besides the parts that a rehearsal can measure: draining the requests in
flight, fencing the old side, the commit and the switch, and the journal's records of them."""
MARGIN = 1.25
"""A machine is never twice as busy alike: a prediction is meant to be kept, not to be the mean."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run: its label, how it began and (if it did) ended, and its entries between."""

    label: str
    run: Run
    began: Mapping[str, Any]
    ended: Mapping[str, Any] | None
    entries: tuple[Mapping[str, Any], ...]

    @property
    def outcome(self) -> str:
        """done, failed, went-back, interrupted; running while it has not ended."""
        return str(self.ended["payload"]["outcome"]) if self.ended else "running"

    def done(self, step: str) -> Mapping[str, Any] | None:
        """The evidence recorded for a step, if it was done."""
        found = [e for e in self.entries if e["name"] == step and e["kind"] == "step-done"]
        return cast(Mapping[str, Any], found[-1]["payload"]) if found else None


def runs(journal: Journal) -> Iterator[Record]:
    """Every run of the upgrade, oldest first."""
    by_label: dict[str, list[Mapping[str, Any]]] = {}
    for entry in journal.entries():
        by_label.setdefault(str(entry["run"]), []).append(entry)
    for label, entries in by_label.items():
        began = next((e for e in entries if e["kind"] == "run-began"), None)
        if began is None:
            continue
        ended = next((e for e in reversed(entries) if e["kind"] == "run-ended"), None)
        yield Record(label, Run(began["payload"]["run"]), began, ended, tuple(entries))


def unfinished(journal: Journal) -> Record | None:
    """The last run, if it has not ended."""
    every = list(runs(journal))
    return every[-1] if every and every[-1].ended is None else None


def last(journal: Journal, run: Run, outcome: str | None = None) -> Record | None:
    """The last run of this kind, or the last that ended so."""
    found = [r for r in runs(journal) if r.run is run and outcome in (None, r.outcome)]
    return found[-1] if found else None


def new_is_authoritative(journal: Journal) -> bool:
    """Whether the last cutover or rollback that was done was a cutover."""
    deciding = (Run.CUTOVER, Run.ROLLBACK)
    done = [r.run for r in runs(journal) if r.run in deciding and r.outcome == "done"]
    return done[-1:] == [Run.CUTOVER]


def next_label(journal: Journal, run: Run) -> str:
    """The label of the next attempt."""
    return f"{run}-{sum(r.run is run for r in runs(journal)) + 1}"


def predicted_pause(rehearsal: Record) -> float | None:
    """Seconds that the cutover's pause should take, from what the rehearsal measured."""
    check = rehearsal.done("check")
    if check is None:
        return None
    inside = [part for part in check["parts"] if part["name"] != "prepare"]
    return round(OVERHEAD_SECONDS + MARGIN * sum(float(part["seconds"]) for part in inside), 3)
