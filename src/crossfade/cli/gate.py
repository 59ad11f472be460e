"""``crossfade gate``: start, look at, release and stop the built-in gate."""

from __future__ import annotations

import argparse
import json

from crossfade.cli._common import Verbs, confirm, open_site, verb
from crossfade.errors import Refused

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "gate", "the gate in front of both sides", changes=True)
    parser.add_argument(
        "what",
        choices=["start", "status", "release", "stop"],
        help="start it; show its state; let held requests go where traffic goes; stop it",
    )


def run(options: argparse.Namespace) -> int:
    """Do it, then print the gate's state."""
    from crossfade.model import Side

    site = open_site(options)
    manifest = site.manifest
    if options.what == "start" and not options.dry_run:
        site.traffic.ensure({Side.OLD: manifest.old.address, Side.NEW: manifest.new.address})
    state = site.traffic.look()
    if options.what == "release" and state and state.held and not options.dry_run:
        with site.lease("gate release"):  # never under a running cutover
            site.traffic.release()
        state = site.traffic.look()
    if options.what == "stop" and state and not options.dry_run:
        confirm(options, f"Nobody will answer at {manifest.traffic.listen} any more.")
        site.traffic.stop()
        state = site.traffic.look()
    if state is None:
        if options.what == "stop":
            return 0
        raise Refused(
            "gate-not-running",
            f"No gate runs at {manifest.traffic.listen}.",
            next="crossfade gate start",
        )
    shown = {
        "side": str(state.side),
        "held": state.held,
        "in_flight": state.in_flight,
        "waiting": state.waiting,
        "tunnels": state.tunnels,
        "total": state.total,
        "failed": state.failed,
        "served_after_drain": state.served_after_drain,
        "writes_since_switch": state.writes_since_switch,
        "targets": {str(side): str(address) for side, address in state.targets.items()},
    }
    print(json.dumps(shown) if options.json else _show(shown))
    return 0


def _show(state: dict[str, object]) -> str:
    return "\n".join(f"{name:<20} {value}" for name, value in state.items())
