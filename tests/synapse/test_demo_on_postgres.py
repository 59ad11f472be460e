"""The demo, with the real Matrix Synapse on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.synapse.running import demo, went_well

pytestmark = [pytest.mark.synapse, pytest.mark.whole, pytest.mark.timeout(1500)]


def test_demo_on_postgres(tmp_path: Path) -> None:
    """Synapse is followed while it works: nothing fails, no acknowledged write is lost."""
    result = went_well(*demo(tmp_path / "demo", "--db", "postgres"))
    assert (result["old_version"], result["new_version"]) == ("1.100.0", "1.163.2")
    assert (result["application"], result["strategy"]) == ("synapse", "stream")
    assert {"drain", "fence", "last changes main", "start"} <= set(result["pause_parts"])
