"""Runs the benchmarks of this directory: ``python -m benchmarks [NAME ...]``, such as ``cli``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    """Call the ``main`` of each ``bench_*.py``, in order of their names, or of those named."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    named = [f"bench_{name}" for name in sys.argv[1:]]
    if unknown := [name.removeprefix("bench_") for name in named if name not in found]:
        known = ", ".join(name.removeprefix("bench_") for name in found)
        raise SystemExit(f"no such benchmark: {', '.join(unknown)}; there are {known}")
    for name in named or found:
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
