"""``crossfade retire``: archive the old side and remove it."""

from __future__ import annotations

import argparse

from crossfade.cli._common import Verbs, confirm, open_site, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "retire", "archive the old side, then remove it; no way back", changes=True
    )
    parser.add_argument(
        "--despite-stragglers",
        action="store_true",
        help="retire although somebody still comes to the old address",
    )


def run(options: argparse.Namespace) -> int:
    """Retire, write the report, print its summary."""
    from crossfade import upgrade
    from crossfade.cli.plan import show
    from crossfade.cli.report import after
    from crossfade.model import Run

    site = open_site(options)
    if options.dry_run:
        print(show(upgrade.preview(site, Run.RETIRE)))
        return 0
    old = site.manifest.old
    places = f"{old.root}, {old.data}"
    if old.host.machine:
        places += f", and its machine {old.host.machine}"
    confirm(
        options,
        f"Archive and REMOVE the old side ({places}); there is no way back.",
        typed=site.manifest.recipe.application,
    )
    with after(site, options):
        upgrade.retire(site, despite_stragglers=options.despite_stragglers)
    return 0
