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
    parser.add_argument(
        "--accept-ttl",
        action="store_true",
        help="cut over although caches may keep the old address for longer than traffic.dns.ttl",
    )
    parser.add_argument(
        "--end-jobs",
        action="store_true",
        help="switch off timers and cron jobs of the old side whose like the new side cannot have",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go back by itself after the watch also when writes stay behind (they are exported)",
    )
    parser.add_argument(
        "--no-wait", action="store_true", help="do not wait until everybody follows the names"
    )
    copies(parser)


def run(options: argparse.Namespace) -> int:
    """Cut over, write the report, print its summary."""
    from crossfade import upgrade, upkeep
    from crossfade.cli.plan import show
    from crossfade.cli.report import after

    site = open_site(options, max_pause=options.max_pause, copy_rate=options.copy_rate)
    if options.dry_run:
        print(show(upgrade.preview(site)))
        return 0
    old, new = site.manifest.old.version, site.manifest.new.version
    confirm(options, f"Cut {site.manifest.recipe.title} over from {old} to {new}.")
    with after(site, options):
        upgrade.cut_over(
            site,
            accept_ttl=options.accept_ttl,
            accept_loss=options.accept_loss,
            end_jobs=options.end_jobs,
        )
        if site.names and not options.no_wait:
            upkeep.follow_names(site)
    return 0
