"""``crossfade rollback``: back to the old side after a cutover."""

from __future__ import annotations

import argparse

from crossfade.cli._common import Verbs, confirm, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "rollback", "go back to the old side after a cutover", changes=True)
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go back although writes stay behind on the new side (they are exported first)",
    )
    parser.add_argument(
        "--without-dns",
        action="store_true",
        help="do not wait until the names lead to the gate again; who follows them finds nobody "
        "until they do",
    )


def run(options: argparse.Namespace) -> int:
    """Go back, write the report, print its summary."""
    from crossfade import upgrade
    from crossfade.cli.plan import show
    from crossfade.cli.report import after
    from crossfade.model import Run

    site = open_site(options)
    if options.dry_run:
        print(show(upgrade.preview(site, Run.ROLLBACK)))
        return 0
    confirm(options, f"Go back to version {site.manifest.old.version}.")
    with after(site, options):
        upgrade.roll_back(site, accept_loss=options.accept_loss, without_dns=options.without_dns)
    return 0
