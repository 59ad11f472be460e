"""``crossfade config show``: what is carried of the old configuration, and how it differs."""

from __future__ import annotations

import argparse
import json

from crossfade.cli._common import Verbs, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "config", "show the configuration that the new side gets")
    parser.add_argument("what", choices=["show"], help="show: the difference, secrets masked")


def run(options: argparse.Namespace) -> int:
    """Print the difference and every finding that does not hold; 4 when there is one."""
    from crossfade.model import Run
    from crossfade.upgrade import before_any_step

    site = open_site(options)
    with before_any_step(site):
        work = site.begin(Run.CUTOVER)
        rendering = work.configuration.render(work.new.installation)
    broken = [finding for finding in rendering.findings if not finding.holds]
    if options.json:
        findings = [finding.as_json() for finding in rendering.findings]
        difference = rendering.difference
        print(json.dumps({"difference": difference, "findings": findings}, indent=2))
    else:
        print(rendering.difference, end="")
        for finding in broken:
            print(f"problem: {finding.claim}: {finding.observed} ({finding.source})")
    return 4 if broken else 0
