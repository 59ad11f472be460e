"""``crossfade schema``: the manifest's JSON Schema, for editors."""

from __future__ import annotations

import argparse

from crossfade.cli._common import Verbs, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    verb(verbs, "schema", "print the JSON Schema of crossfade.yaml, for editors", site=False)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    del options
    from crossfade.manifest import SCHEMA

    print(SCHEMA.read_text(encoding="utf-8"), end="")
    return 0
