"""The demo, with the real MLflow on PostgreSQL and on MariaDB."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.synapse.running import demo, went_well

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(1500)]


@pytest.mark.whole
@pytest.mark.parametrize("database", ["mariadb", "postgres"])
def test_demo(tmp_path: Path, database: str) -> None:
    """MLflow is followed while it works: nothing fails, no acknowledged write is lost."""
    words = ("--db", database, "--app", "mlflow")
    result = went_well(*demo(tmp_path / "demo", *words))
    assert (result["old_version"], result["new_version"]) == ("2.9.2", "3.17.2")
    assert (result["application"], result["strategy"]) == ("mlflow", "stream")
    assert {"drain", "fence", "start"} <= set(result["pause_parts"])
