"""``crossfade gate install`` and ``gate remove``: the web server led to the gate, and past it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from crossfade.cli._common import confirm

if TYPE_CHECKING:
    from crossfade.wiring import WiredSite

__all__ = ["run"]


def run(options: argparse.Namespace, site: WiredSite) -> int:
    """Show what would change; unless that was all that was asked for, ask, and do it."""
    from crossfade import upkeep

    out = options.what == "remove"
    plan = upkeep.front_change(site, out=out)
    if options.json:
        shown = {"changes": plan.difference, "places": plan.places, "warnings": plan.warnings}
        print(json.dumps(shown))
    else:
        print(plan.difference or "its configuration is so already")
        for warning in plan.warnings:
            print(f"note: {warning}", file=sys.stderr)
    if options.dry_run:
        return 0
    front = site.manifest.traffic.front
    way = "past the gate" if out else f"to the gate at {site.manifest.traffic.listen}"
    question = f"Lead {front.driver if front else 'the web server'} {way}, and reload it."
    if front and front.public:
        question = f"Lead users from {front.public} {way}."
    confirm(options, question, more=f"{options.what} ")
    (upkeep.lead_past_gate if out else upkeep.lead_to_gate)(site)
    return 0
