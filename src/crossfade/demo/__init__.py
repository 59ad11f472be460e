"""``crossfade demo``: the main job on a real application, under load, with nothing prepared.

Everything is made below one directory: Synapse at its old version with data in it, a gate, a client
that writes and reads 50 times a second; then the command line does what an operator would do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crossfade.account import account
from crossfade.demo.load import Load
from crossfade.demo.place import NEW, OLD, Place, stop_all
from crossfade.engine import history
from crossfade.model import Run
from crossfade.ports import Teller

__all__ = ["run_demo"]

_SETTLE = 3.0
"""Seconds of load before the rehearsal and after the cutover."""


def run_demo(directory: Path, *, broken: str | None, as_json: bool, teller: Teller) -> int:
    """Run it; returns the exit code of the cutover (of the rehearsal, should that fail)."""
    place = Place(directory, teller)
    place.clear()
    try:
        place.build(broken=broken)
        teller.say(f"a client writes and reads 50 times a second at {place.gate}")
        with Load(place.gate, place.user, place.room) as load:
            time.sleep(_SETTLE)
            code = _crossfade(place, teller, "rehearse")
            if code == 0:
                code = _crossfade(place, teller, "cutover", "--yes")
            time.sleep(_SETTLE)
        teller.say("reading every acknowledged write back")
        found = load.found(place.gate)
        result = _result(place, load, found)
    finally:
        if place.manifest.exists():
            stop_all(place.site())
    if as_json:
        print(json.dumps(result))  # noqa: T201 - the command line's data
    else:
        print(_summary(place, result, code))  # noqa: T201 - the command line's data
    return code


def _crossfade(place: Place, teller: Teller, *words: str) -> int:
    teller.say(f"$ crossfade {' '.join(words)}")
    argv = (sys.executable, "-m", "crossfade", *words, "-f", str(place.manifest))
    # its summary is for its own terminal; ours comes at the end
    return subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode


def _result(place: Place, load: Load, found: int) -> dict[str, Any]:
    site = place.site()
    data = account(site)
    rehearsal = history.last(site.journal, Run.REHEARSAL, "done")
    pause = data["pause"]
    state = site.traffic.look()
    return {
        "outcome": data["outcome"],
        "live": data["live"],
        "old_version": OLD,
        "new_version": NEW,
        "pause_seconds": round(pause["seconds"], 3) if pause else None,
        "longest_gap_seconds": round(load.longest_gap, 3),
        "rehearsal": {
            "predicted_pause_seconds": history.predicted_pause(rehearsal) if rehearsal else None
        },
        "requests": {"total": load.total, "failed": len(load.failures)},
        "writes": {
            "acknowledged": load.acknowledged,
            "found": found,
            "lost": load.acknowledged - found,
        },
        "served_by_old_after_drain": state.served_after_drain if state else None,
        "failures": load.failures[:5],
    }


def _summary(place: Place, result: dict[str, Any], code: int) -> str:
    requests, writes = result["requests"], result["writes"]
    predicted = result["rehearsal"]["predicted_pause_seconds"]
    report = place.directory / "state" / "report" / "report.html"
    return "\n".join(
        [
            f"outcome               {result['outcome']} (exit code {code})",
            f"version               {OLD} -> {NEW}",
            f"serves now            the {result['live']} side",
            f"pause                 {result['pause_seconds']} s (predicted {predicted} s)",
            f"longest gap           {result['longest_gap_seconds']} s without any answer",
            f"requests              {requests['total']}, {requests['failed']} failed",
            f"writes acknowledged   {writes['acknowledged']}",
            f"writes found          {writes['found']}, {writes['lost']} lost",
            f"old side after drain  {result['served_by_old_after_drain']} requests served",
            f"report                {report}",
        ]
    )
