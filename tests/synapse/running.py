"""Runs the demo, and says what has to hold of every one that is done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def demo(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run the demo; its exit code, its JSON, and its progress."""
    argv = (sys.executable, "-m", "crossfade", "demo", "--json", "--directory", str(directory))
    done = subprocess.run((*argv, *words), capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def went_well(code: int, result: dict[str, Any], progress: str) -> dict[str, Any]:
    """Done, no request failed, every acknowledged write was found on the new side."""
    assert (code, result["outcome"], result["live"]) == (0, "done", "new"), progress
    assert result["requests"]["failed"] == 0, result["failures"]
    assert result["requests"]["total"] > 100
    writes = result["writes"]
    assert writes["lost"] == 0
    assert writes["found"] == writes["acknowledged"] > 50
    assert result["served_by_old_after_drain"] == 0
    assert sum(result["pause_parts"].values()) <= result["pause_seconds"] * 1.1
    return result
