"""A setting in use that the new version no longer knows, with the servers that have to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.errors import Failed
from crossfade.merge import Answer, Choice, Open, Verdict, merge_files
from crossfade.testing.servers import PostgresServer

GONE = ("stats_temp_directory",)  # taken out in PostgreSQL 15


def stock(directory: Path, major: int) -> str:
    """The file that a version of PostgreSQL makes for itself."""
    with PostgresServer(directory, major=major) as server:
        return (server.data / "postgresql.conf").read_text(encoding="utf-8")


def test_a_removed_setting_stops_before_the_start(tmp_path: Path) -> None:
    """It is a question, and nothing is made while it is open.  PostgreSQL 15 would not start with
    it, and does without it, with what else was ours."""
    base = stock(tmp_path / "old", 13)
    assert "\n#stats_temp_directory = 'pg_stat_tmp'" in base
    user = base.replace("\n#stats_temp_directory", "\nstats_temp_directory").replace(
        "\n#work_mem = 4MB", "\nwork_mem = 8MB"
    )
    with PostgresServer(tmp_path / "new", major=15) as server:
        file = server.data / "postgresql.conf"
        new = file.read_text(encoding="utf-8")
        merge = merge_files("postgresql.conf", base.encode(), user.encode(), new.encode())
        (asked,) = merge.questions
        assert (asked.path, asked.verdict, asked.gone) == (GONE, Verdict.CONFLICT, True)
        assert asked.why == "the old version documented it, and the new one does not"
        with pytest.raises(Open):
            merge.render()
        server.stop()
        file.write_bytes(merge.render({GONE: Answer(Choice.YOURS)}).content)
        with pytest.raises(Failed):
            server.start()
        assert 'unrecognized configuration parameter "stats_temp_directory"' in server.tail()
        file.write_bytes(merge.render({GONE: Answer(Choice.DROP)}).content)
        server.start()
        assert server.sql("show work_mem") == [("8MB",)]
        assert "stats_temp_directory" not in file.read_text(encoding="utf-8")
