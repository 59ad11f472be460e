"""``crossfade demo``: upgrade a real application in parallel, under load, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from crossfade.cli._common import Verbs, verb

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "demo", "upgrade a real application, under load, on this machine", site=False
    )
    parser.add_argument(
        "--db",
        choices=["sqlite", "postgres", "mariadb"],
        default="sqlite",
        help="where its data is; servers are installed if need be, and started (default: sqlite)",
    )
    parser.add_argument(
        "--app",
        choices=["synapse", "mlflow"],
        help="Matrix Synapse, or MLflow (default: synapse; mlflow on mariadb)",
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
        options.directory,
        database=options.db,
        application=options.app,
        broken=options.broken,
        as_json=options.json,
        teller=Console(),
    )
