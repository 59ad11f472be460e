"""The contract of ``crossfade.ports.Database``, as tests for authors of drivers.

Write a class that keeps the promises of ``DatabaseSite`` with a real database and real processes,
then inherit the tests:

    class TestMyDatabase(DatabaseContract):
        @pytest.fixture
        def site(self, tmp_path: Path) -> Iterator[DatabaseSite]:
            ...
"""

# ruff: noqa: S101 - tests assert
from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from crossfade.errors import Failed
from crossfade.ports import Database, Progress

__all__ = ["DatabaseContract", "DatabaseSite", "FileDatabase", "Writer", "eventually"]

_PATIENCE = 60.0  # seconds before a test counts as hanging


class Writer(Protocol):
    """A process that commits unique tokens, one a transaction, as fast as it should."""

    def acknowledged(self) -> tuple[str, ...]:
        """All tokens whose commit it has told us of so far."""

    def pause(self) -> None:
        """Stop writing, but stay connected.  Returns when the last commit is acknowledged."""

    def stop(self) -> None:
        """Disconnect and end."""


class FileDatabase(Database, Protocol):
    """A database that is a file: what its carrier uses besides ``ports.Database``."""

    def copy_to(self, target: Path, progress: Progress | None = None) -> int:
        """A consistent copy as a file at ``target`` while the application writes; its bytes."""

    def place(self, copy: Path, *, move: bool = False) -> None:
        """Make this database equal to a copy that ``copy_to`` made (new side only)."""

    def matches(self, copy: Path) -> bool:
        """Whether this database is, byte for byte, a copy that ``copy_to`` made."""

    def export_beyond(self, other: Path, to: Path) -> int:
        """Write the rows that this database has and the file at ``other`` lacks as JSON lines
        below ``to``; returns how many."""


class DatabaseSite(Protocol):
    """An old side with some data, an empty place for a new side, and means to write to both."""

    old: FileDatabase
    new: FileDatabase
    scratch: Path

    def start_writer(self) -> Writer:
        """Start a process that writes to the old side at least 100 times a second."""

    def write_once(self) -> str:
        """Try one write to the old side in another process: "" when committed, else its error."""

    def tokens(self, database: FileDatabase) -> set[str]:
        """All tokens in a database that nobody writes to."""

    def changes(self) -> dict[str, Callable[[], None]]:
        """Changes to the new side by name, among them: one byte, one row, one type."""

    def picture(self) -> object:
        """All that can be seen of the old side's files, to compare: content, modes, times."""

    def fence_command(self) -> tuple[str, ...]:
        """A program that fences the old side, prints a line, and then waits for ever."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` is true; fails with ``what`` instead of hanging."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.002)


class DatabaseContract:
    """What every driver for a database must do.  Subclasses provide the fixture ``site``."""

    def test_copy_under_load_has_every_acknowledged_write(self, site: DatabaseSite) -> None:
        """Whatever was acknowledged before the copy began is in the copy, which is sound."""
        writer = site.start_writer()
        for wanted in (50, 200, 400):
            eventually(lambda n=wanted: len(writer.acknowledged()) >= n, "writes")  # type: ignore[misc]
            before = set(writer.acknowledged())
            size = site.old.copy_to(site.scratch / "copy")
            site.new.place(site.scratch / "copy")
            found = site.tokens(site.new)
            assert before <= found
            assert size == (site.scratch / "copy").stat().st_size
            assert site.new.sound().holds
        writer.stop()

    def test_writer_goes_on_while_it_is_copied(self, site: DatabaseSite) -> None:
        """The application never sees an error because of us."""
        writer = site.start_writer()
        for _ in range(5):
            seen = len(writer.acknowledged())
            site.old.copy_to(site.scratch / "copy")
            eventually(lambda n=seen: len(writer.acknowledged()) > n, "more writes")  # type: ignore[misc]
        writer.stop()

    def test_reading_changes_nothing(self, site: DatabaseSite) -> None:
        """With the application connected but idle, our reading leaves every file as it was."""
        writer = site.start_writer()
        eventually(lambda: len(writer.acknowledged()) >= 20, "writes")
        writer.pause()
        before = site.picture()
        position = site.old.position()
        site.old.copy_to(site.scratch / "copy")
        site.old.digest()
        assert site.old.sound().holds
        assert site.old.size() > 0
        assert site.old.describe()
        assert not site.old.prove_fence().holds
        assert position == site.old.position()
        assert before == site.picture()
        writer.stop()

    def test_fence_refuses_an_open_database(self, site: DatabaseSite) -> None:
        """No fence is put up while somebody still has the database open for writing."""
        writer = site.start_writer()
        eventually(lambda: len(writer.acknowledged()) >= 20, "writes")
        writer.pause()
        with pytest.raises(Failed) as caught:
            site.old.fence()
        assert caught.value.code == "database-in-use"
        writer.stop()

    def test_fence_keeps_writers_out_until_it_is_closed(self, site: DatabaseSite) -> None:
        """Writers are refused exactly while the fence holds, and the proof says the same."""
        assert not site.old.prove_fence().holds
        assert site.write_once() == ""
        fence = site.old.fence()
        assert site.old.prove_fence().holds
        assert "locked" in site.write_once()
        fence.close()
        fence.close()
        assert not site.old.prove_fence().holds
        assert site.write_once() == ""

    def test_fence_leaves_no_trace(self, site: DatabaseSite) -> None:
        """Fence, copy, digest and lift: the old side's files are as before."""
        before = site.picture()
        fence = site.old.fence()
        site.old.copy_to(site.scratch / "copy")
        site.old.digest()
        fence.close()
        assert before == site.picture()

    def test_fence_dies_with_its_process(self, site: DatabaseSite) -> None:
        """When the process that holds the fence is killed, the application can write again."""
        with subprocess.Popen(
            site.fence_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline()
                assert site.old.prove_fence().holds
                assert site.write_once() != ""
            finally:
                holder.kill()
        assert not site.old.prove_fence().holds
        assert site.write_once() == ""

    def test_under_the_fence_both_sides_can_be_made_equal(self, site: DatabaseSite) -> None:
        """Inside the pause: copy, place and digest work behind our own fence."""
        fence = site.old.fence()
        position = site.old.position()
        site.old.copy_to(site.scratch / "copy")
        site.new.place(site.scratch / "copy")
        assert site.old.digest() == site.new.digest()
        site.write_once()
        assert position == site.old.position()
        fence.close()

    def test_digest_sees_every_difference(self, site: DatabaseSite) -> None:
        """One byte, one more row, or another type of a value: each gives another digest."""
        site.old.copy_to(site.scratch / "copy")
        expected = site.old.digest()
        changes = site.changes()
        assert {"one byte", "one row", "one type"} <= changes.keys()
        for name, change in changes.items():
            site.new.place(site.scratch / "copy")
            assert not expected.differences(site.new.digest())
            change()
            assert not site.new.matches(site.scratch / "copy")
            assert len(expected.differences(site.new.digest())) == 1, name

    def test_position_changes_with_every_write(self, site: DatabaseSite) -> None:
        """Each commit gives another position; without one, it stays."""
        seen = [site.old.position()]
        for _ in range(5):
            assert site.old.position() == seen[-1]
            assert site.write_once() == ""
            seen.append(site.old.position())
        assert len(set(seen)) == len(seen)

    def test_placing_again_replaces_and_removing_removes(self, site: DatabaseSite) -> None:
        """Place and remove may be repeated; what the new side had before is gone."""
        site.old.copy_to(site.scratch / "copy")
        before = site.old.digest()
        site.new.place(site.scratch / "copy")
        assert site.write_once() == ""
        site.old.copy_to(site.scratch / "copy")
        for _ in range(2):
            site.new.place(site.scratch / "copy")
            assert site.new.matches(site.scratch / "copy")
            assert site.new.digest() == site.old.digest()
            assert site.new.digest() != before
        for _ in range(2):
            site.new.remove()
            assert not site.new.matches(site.scratch / "copy")
        with pytest.raises(Failed):
            site.new.size()

    def test_export_has_what_the_other_lacks(self, site: DatabaseSite) -> None:
        """The rows that only one side has are written down, and nothing else."""
        site.old.copy_to(site.scratch / "copy")
        assert site.old.export_beyond(site.scratch / "copy", site.scratch / "none") == 0
        before = site.tokens(site.old)
        assert site.write_once() == ""
        assert site.old.export_beyond(site.scratch / "copy", site.scratch / "rows") == 1
        (token,) = site.tokens(site.old) - before
        (file,) = (site.scratch / "rows").iterdir()
        assert token in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
