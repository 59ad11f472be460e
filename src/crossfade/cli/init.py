"""``crossfade init``: write a commented crossfade.yaml to start from."""

from __future__ import annotations

import argparse

from crossfade.cli._common import Verbs, verb
from crossfade.errors import Refused

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "init", "write a crossfade.yaml to start from", changes=True)
    parser.add_argument("--application", default="synapse", help="the recipe (default: synapse)")


def run(options: argparse.Namespace) -> int:
    """Write the skeleton, which is refused where a file stands already."""
    from crossfade.manifest import skeleton

    text = skeleton(options.application)
    if options.dry_run:
        print(text, end="")
        return 0
    if options.file.exists():
        raise Refused(
            "manifest-exists",
            f"{options.file} exists already and was left as it is.",
            next="crossfade plan",
        )
    options.file.write_text(text, encoding="utf-8")
    print(f"wrote {options.file}; next: edit it, then: crossfade plan")
    return 0
