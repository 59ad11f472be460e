"""What a demo showed: as data, and as a summary for people."""

from __future__ import annotations

from typing import Any

from crossfade.account import account
from crossfade.demo.load import Load
from crossfade.demo.place import Place
from crossfade.engine import history
from crossfade.model import Run

__all__ = ["gather", "parts_of_pause", "summary"]


def gather(place: Place, load: Load, found: int) -> dict[str, Any]:
    """The demo's JSON."""
    site, subject = place.site(), place.subject
    data = account(site)
    rehearsal = history.last(site.journal, Run.REHEARSAL, "done")
    pause = data["pause"]
    state = site.traffic.look()
    return {
        "outcome": data["outcome"],
        "live": data["live"],
        "application": subject.application,
        "database": place.database,
        "old_version": subject.old_version,
        "new_version": subject.new_version,
        "strategy": _strategy(data),
        "pause_seconds": round(pause["seconds"], 3) if pause else None,
        "pause_parts": parts_of_pause(data),
        "longest_gap_seconds": round(load.longest_gap, 3),
        "rehearsal": {
            "predicted_pause_seconds": history.predicted_pause(rehearsal) if rehearsal else None
        },
        "requests": {"total": load.total, "failed": len(load.failures)},
        "writes": {
            "acknowledged": load.client.acknowledged,
            "found": found,
            "lost": load.client.acknowledged - found,
        },
        "served_by_old_after_drain": state.served_after_drain if state else None,
        "failures": load.failures[:5],
    }


def _strategy(data: Any) -> str | None:
    """How the database was carried in the last run that came so far."""
    for run in reversed(data["runs"]):
        for step in run["steps"]:
            if found := step["details"].get("strategies"):
                return ", ".join(dict.fromkeys(found.values()))
    return None


def parts_of_pause(data: Any) -> dict[str, float]:
    """Seconds of each measured part inside the pause of the last cutover, by its name."""
    pause = data["pause"]
    parts: dict[str, float] = {}
    cutovers = [run for run in data["runs"] if run["run"] == Run.CUTOVER]
    if not pause or not cutovers:
        return {}
    for step in cutovers[-1]["steps"]:
        for number, part in enumerate(step["parts"], 1):
            # by its middle: what begins as the pause ends may, rounded, begin a moment before that
            inside = pause["began"] <= part["began"] + part["seconds"] / 2 < pause["ended"]
            # a part is recorded when it ends, so that what it belongs to comes later
            if inside and not any(_within(part, later) for later in step["parts"][number:]):
                parts[part["name"]] = parts.get(part["name"], 0.0) + part["seconds"]
    return {name: round(seconds, 3) for name, seconds in parts.items()}


def _within(part: Any, later: Any) -> bool:
    """Whether a part was measured as part of one that was recorded later."""
    return bool(later["began"] <= part["began"])


def summary(place: Place, result: dict[str, Any], code: int) -> str:
    """The same in a few lines."""
    requests, writes = result["requests"], result["writes"]
    seen = result["pause_seconds"] is not None
    predicted = result["rehearsal"]["predicted_pause_seconds"]
    parts = ", ".join(f"{name} {seconds}" for name, seconds in result["pause_parts"].items())
    rows = {
        "outcome": f"{result['outcome']} (exit code {code})",
        "version": f"{result['old_version']} -> {result['new_version']}",
        "database": f"{place.database}, carried by {result['strategy']}",
        "serves now": f"the {result['live']} side",
        "pause": f"{result['pause_seconds']} s (predicted {predicted} s)" if seen else "none",
        "of that": parts,
        "longest gap": f"{result['longest_gap_seconds']} s without any answer",
        "requests": f"{requests['total']}, {requests['failed']} failed",
        "writes acknowledged": f"{writes['acknowledged']}",
        "writes found": f"{writes['found']}, {writes['lost']} lost",
        "old side after drain": f"{result['served_by_old_after_drain']} requests served",
        "report": f"{place.directory / 'state' / 'report' / 'report.html'}",
    }
    return "\n".join(f"{name:<22}{text}" for name, text in rows.items() if text)
