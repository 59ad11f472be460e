"""``crossfade cutover``: for real.  Running it again after an interruption resumes."""

from __future__ import annotations

import argparse

from crossfade.cli._common import Verbs, confirm, copies, open_site, seconds, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "cutover", "bring the last changes over and switch, in one pause", changes=True
    )
    parser.add_argument(
        "--max-pause", type=seconds, metavar="TIME", help="the longest pause you accept (10s, 2m)"
    )
    copies(parser)


def run(options: argparse.Namespace) -> int:
    """Cut over, write the report, print its summary."""
    from crossfade import upgrade
    from crossfade.cli.plan import show
    from crossfade.cli.report import after

    site = open_site(options, max_pause=options.max_pause, copy_rate=options.copy_rate)
    if options.dry_run:
        print(show(upgrade.preview(site)))
        return 0
    old, new = site.manifest.old.version, site.manifest.new.version
    confirm(options, f"Cut {site.manifest.recipe.title} over from {old} to {new}.")
    with after(site, options):
        upgrade.cut_over(site)
    return 0
