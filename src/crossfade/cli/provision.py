"""``crossfade provision``: make the new side's machine; with --remove, remove it again."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from crossfade.cli._common import Verbs, confirm, open_site, verb

if TYPE_CHECKING:
    from crossfade.wiring import WiredSite

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "provision", "make the new side's machine, or remove it", changes=True)
    parser.add_argument(
        "--remove",
        action="store_true",
        help="remove the machine, and all that is on it; refused while the new side serves",
    )


def run(options: argparse.Namespace) -> int:
    """Make it or remove it; then print the machines that this upgrade knows."""
    from crossfade import upkeep
    from crossfade.model import Side

    site = open_site(options)
    known = site.provisioning.of(Side.NEW)
    if options.dry_run:
        print(_would(site, options))
        return 0
    if not options.remove:
        upkeep.provision(site)
    elif known is not None:
        name = known.machine.name
        question = f"REMOVE the machine {name} {known.machine.address} and all that is on it."
        confirm(options, question, typed=name, more="--remove ")
        upkeep.unprovision(site)
    machines = site.provisioned()
    if options.json:
        print(json.dumps({"machines": machines}, ensure_ascii=False, indent=2))
    else:
        lines = [f"{m['side']} side: {m['name']} {m['address']} ({m['state']})" for m in machines]
        print("\n".join(lines) or "there is no machine that an upgrade has made")
    return 0


def _would(site: WiredSite, options: argparse.Namespace) -> str:
    from crossfade.model import Side

    known = site.provisioning.of(Side.NEW)
    if options.remove:
        if known is None:
            return "there is no machine to remove"
        return f"remove the machine {known.machine.name}: {site.provisioning.removing(Side.NEW)}"
    return site.making() if site.unmade else "the machine is there"
