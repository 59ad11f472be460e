"""``crossfade rehearse``: the whole upgrade on a copy, as often as you like."""

from __future__ import annotations

import argparse

from crossfade.cli._common import Verbs, copies, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "rehearse", "install the new version and try the upgrade on a copy", changes=True
    )
    parser.add_argument(
        "--unmuted",
        action="store_true",
        help="rehearse although the copy may act on the outside (mail, webhooks); journaled",
    )
    copies(parser)


def run(options: argparse.Namespace) -> int:
    """Rehearse, write the report, print its summary."""
    from crossfade import upgrade
    from crossfade.cli.plan import show
    from crossfade.cli.report import after
    from crossfade.model import Run

    site = open_site(options, copy_rate=options.copy_rate)
    if options.dry_run:
        print(show(upgrade.preview(site, Run.REHEARSAL, unmuted=options.unmuted)))
        return 0
    with after(site, options):
        upgrade.rehearse(site, unmuted=options.unmuted)
    return 0
