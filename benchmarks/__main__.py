"""Runs every benchmark of this directory: ``python -m benchmarks``."""

from __future__ import annotations

import importlib
from pathlib import Path


def main() -> None:
    """Call the ``main`` of each ``bench_*.py``, in order of their names."""
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"== {path.stem}", flush=True)
        importlib.import_module(f"benchmarks.{path.stem}").main()


if __name__ == "__main__":
    main()
