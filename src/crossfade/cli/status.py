"""``crossfade status``: who serves, how far the upgrade is, what going back costs now."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from crossfade.cli._common import Verbs, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "status", "who serves, and what going back costs now")
    parser.add_argument("-w", "--watch", action="store_true", help="show it again every second")


def run(options: argparse.Namespace) -> int:
    """Print how things stand; with --watch until interrupted."""
    from crossfade.account import status

    site = open_site(options)
    while True:
        now = status(site)
        print(json.dumps(now, indent=2) if options.json else _show(now), flush=True)
        if not options.watch:
            return 0
        time.sleep(1)


def _show(now: dict[str, Any]) -> str:
    lines = [str(now["sentence"]), f"going back costs: {now['going_back']}"]
    if now["running"]:
        lines.append(f"running: {now['running']}")
    lines += [f"{run['label']}: {run['outcome']}" for run in now["runs"]]
    lines += [
        f"machine of the {m['side']} side: {m['name']} {m['address']} ({m['state']})"
        for m in now["machines"]
    ]
    lines.append(f"next: {now['next']}")
    return "\n".join(lines)
