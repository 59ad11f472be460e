"""The demo, with the real Matrix Synapse: the main job, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.synapse.running import demo, went_well

pytestmark = pytest.mark.synapse


def test_demo(tmp_path: Path) -> None:
    """Synapse is upgraded under load: no request fails, no acknowledged write is lost."""
    result = went_well(*demo(tmp_path / "demo"))
    assert result["requests"]["total"] > 500
    assert (result["strategy"], result["database"]) == ("dump", "sqlite")
    assert (result["old_version"], result["new_version"]) == ("1.100.0", "1.163.2")
    report = (tmp_path / "demo" / "state" / "report" / "report.html").read_text(encoding="utf-8")
    assert report.count("<circle") + report.count("<use") + report.count("<path") > 100


@pytest.mark.whole
def test_demo_that_breaks(tmp_path: Path) -> None:
    """The new version fails its checks in the cutover: old serves again, nothing is lost."""
    code, result, progress = demo(tmp_path / "demo", "--break", "check")
    assert (code, result["outcome"], result["live"]) == (5, "went-back", "old"), progress
    assert result["requests"]["failed"] == 0, result["failures"]
    assert result["writes"]["lost"] == 0
    assert "The old side (1.100.0) serves" in progress
