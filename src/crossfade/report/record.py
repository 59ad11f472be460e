"""The gate's record of requests: one line each, written while it serves."""

from __future__ import annotations

import math
from pathlib import Path

from crossfade.report.data import Sample

__all__ = ["read_record"]


def read_record(path: Path) -> list[Sample]:
    """Read lines of ``epoch,method,status,side,total_ms,held_ms``, ordered by arrival.

    A line that is not whole (the gate was killed while it wrote, and perhaps went on writing
    behind it later) is left out; so is anything else that is not a request.  A last line without
    its line end is torn even if it looks whole: its last number may be cut.  A record that does
    not exist is an empty one; OSError is raised for one that cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    whole, _, _torn = text.rpartition("\n")
    samples = [sample for line in whole.split("\n") if (sample := _sample(line)) is not None]
    return sorted(samples, key=lambda sample: sample.arrived)


def _sample(line: str) -> Sample | None:
    fields = line.strip().split(",")
    if len(fields) != 6:
        return None
    epoch, method, status, side, total, held = fields
    try:
        sample = Sample(float(epoch), float(total), float(held), int(status), side, method)
    except ValueError:
        return None
    numbers_hold = all(math.isfinite(number) and number >= 0 for number in sample[:4])
    return sample if numbers_hold and side in ("old", "new", "-") else None
