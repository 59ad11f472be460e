"""The demo, with the real Matrix Synapse: the main job, and the way back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(900)]


def demo(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run the demo; its exit code, its JSON, and its progress."""
    argv = (sys.executable, "-m", "crossfade", "demo", "--json", "--directory", str(directory))
    done = subprocess.run((*argv, *words), capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_demo(tmp_path: Path) -> None:
    """Synapse is upgraded under load: no request fails, no acknowledged write is lost."""
    code, result, progress = demo(tmp_path / "demo")
    assert (code, result["outcome"], result["live"]) == (0, "done", "new"), progress
    assert result["requests"]["failed"] == 0, result["failures"]
    assert result["requests"]["total"] > 500
    writes = result["writes"]
    assert writes["lost"] == 0
    assert writes["found"] == writes["acknowledged"] > 100
    assert result["served_by_old_after_drain"] == 0
    assert (result["old_version"], result["new_version"]) == ("1.100.0", "1.163.2")
    report = (tmp_path / "demo" / "state" / "report" / "report.html").read_text(encoding="utf-8")
    assert report.count("<circle") + report.count("<use") + report.count("<path") > 100


def test_demo_that_breaks(tmp_path: Path) -> None:
    """The new version fails its checks in the cutover: old serves again, nothing is lost."""
    code, result, progress = demo(tmp_path / "demo", "--break", "check")
    assert (code, result["outcome"], result["live"]) == (5, "went-back", "old"), progress
    assert result["requests"]["failed"] == 0, result["failures"]
    assert result["writes"]["lost"] == 0
    assert "The old side (1.100.0) serves" in progress
