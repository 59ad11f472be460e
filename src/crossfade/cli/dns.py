"""``crossfade dns``: the names in the DNS that lead to the application."""

from __future__ import annotations

import argparse
import json

from crossfade.cli._common import Verbs, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "dns", "the names in the DNS that lead to the application", changes=True)
    parser.add_argument(
        "what",
        choices=["status", "lower", "switch", "wait", "restore"],
        help="where the names lead; lower their TTL, early; point them at the side that serves; "
        "wait until everybody follows; put the TTL back",
    )


def run(options: argparse.Namespace) -> int:
    """Do it, then print how the names stand."""
    from crossfade import account, upkeep
    from crossfade.cli.status import show_names

    site = open_site(options)
    acts = {
        "lower": upkeep.lower_names,
        "switch": upkeep.switch_names,
        "wait": upkeep.follow_names,
        "restore": upkeep.restore_names,
    }
    if options.what in acts and not options.dry_run:
        acts[options.what](site)
    else:
        upkeep.must_have_names(site)
    now = account.status(site)
    shown = {"names": now["names"], "late": now["late"], "next": now["next"]}
    print(json.dumps(shown, indent=2) if options.json else "\n".join(show_names(now)))
    return 0
