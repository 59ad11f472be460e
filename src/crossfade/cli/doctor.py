"""``crossfade doctor``: what a killed run left on servers and machines, and its removal; and
machines that no run needs, which only ``crossfade provision --remove`` removes."""

from __future__ import annotations

import argparse
import json

from crossfade.cli._common import Verbs, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "doctor", "show what was left on servers and machines; --fix removes it")
    parser.add_argument(
        "--fix", action="store_true", help="settle an interrupted run, and remove it"
    )


def run(options: argparse.Namespace) -> int:
    """Show, or mend.  3 when something is left and nothing was asked to be done."""
    from crossfade import upgrade

    site = open_site(options)
    if options.fix:
        upgrade.clean_up(site)
    left, machines = upgrade.leavings(site), site.provisioning.leavings()
    if options.json:
        found = {"left": list(left), "machines": machines}
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print("\n".join((*left, *machines)) or "nothing is left on servers and machines")
        if left:
            print("next: crossfade doctor --fix")
    return 3 if left or machines else 0
