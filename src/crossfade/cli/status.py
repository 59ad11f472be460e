"""``crossfade status``: who serves, how far the upgrade is, what going back costs now."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from crossfade.cli._common import Verbs, open_site, verb

__all__ = ["add", "run", "show_names"]


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
    lines += show_names(now)
    lines.append(f"next: {now['next']}")
    return "\n".join(lines)


def show_names(now: dict[str, Any]) -> list[str]:
    """Where the names lead, who has followed, and who still comes to the old address."""
    from crossfade.naming import duration, moment

    names, late = now["names"], now["late"]
    if names is None:
        return []
    line = f"names: {', '.join(names['names'])}: lead to the {names['lead_to']} side"
    if not names["complete"]:
        line += ", not all of them yet"
    elif names["published"] is None and names["lead_to"] == "new":
        line += "; not every name server was seen to say so"
    elif names["followed"] is None and names["cached_until"]:
        line += f"; caches may have the old address until {moment(names['cached_until'])}"
    lines = [line]
    if names["lead_to"] == "old" and names["old_ttl_until"]:
        lines.append(f"names: caches may have the old TTL until {moment(names['old_ttl_until'])}")
    lines += [
        f"came to the old address: {who['address']} for {who['name']}, {who['count']} times, "
        f"last {duration(time.time() - who['last'])} ago"
        for who in (late["who"][:10] if late else ())
    ]
    return lines
