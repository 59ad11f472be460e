"""``crossfade demo``: upgrade a real Matrix Synapse in parallel, under load, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from crossfade.cli._common import Verbs, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "demo", "upgrade a real Matrix Synapse, under load, on this machine", site=False
    )
    parser.add_argument(
        "--break",
        dest="broken",
        choices=["check"],
        help="check: the new version fails its checks in the cutover; the old side serves again",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("demo-run"),
        help="where everything is made (default: demo-run); an earlier demo's is replaced",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo.  0 when done; with --break, 5: it went back, as it should."""
    from crossfade.cli._common import Console
    from crossfade.demo import run_demo

    return run_demo(
        options.directory, broken=options.broken, as_json=options.json, teller=Console()
    )
