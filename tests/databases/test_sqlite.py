"""SQLite keeps the contract of a database, in both of its journal modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases.sqlite_site import sqlite_site

from crossfade.testing.databases import DatabaseContract, DatabaseSite


class TestWal(DatabaseContract):
    """SQLite with a write-ahead log."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[DatabaseSite]:
        """A site whose database is in WAL mode."""
        with sqlite_site(tmp_path, "wal") as site:
            yield site


class TestRollbackJournal(DatabaseContract):
    """SQLite with a rollback journal."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[DatabaseSite]:
        """A site whose database is in the default mode."""
        with sqlite_site(tmp_path, "delete") as site:
            yield site
