"""``python -m crossfade.testing.servers KIND… --major N…``: install what scratch servers need."""

from __future__ import annotations

import argparse
import sys

from crossfade.errors import Failed
from crossfade.testing.servers import fetch_majors, install_packages


def main() -> int:
    """Install and fetch; 0 when all is there, otherwise the error's exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossfade.testing.servers")
    kinds = ("postgres", "mariadb", "mydumper", "pgcopydb")
    parser.add_argument("kind", nargs="*", choices=(*kinds, []), help="what to install")
    parser.add_argument("--major", type=int, action="append", default=[], help="of PostgreSQL")
    options = parser.parse_args()
    try:
        for package in install_packages(options.kind):
            sys.stderr.write(f"servers: installed {package}\n")
        for major in fetch_majors(options.major):
            sys.stderr.write(f"servers: fetched PostgreSQL {major}\n")
    except Failed as error:
        for line in (error.what, error.where, error.next):
            if line:
                sys.stderr.write(f"servers: {line}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
