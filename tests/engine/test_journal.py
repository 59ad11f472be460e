"""The journal and the lease."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.engine import history
from crossfade.engine.journal import SqliteJournal
from crossfade.engine.lease import LEASE_SECONDS, holder, lease, owner_alive, process_mark
from crossfade.errors import JournalError, LeaseHeld
from crossfade.model import Run

HOLD = """
import sys, time
from pathlib import Path
from crossfade.engine.journal import SqliteJournal
from crossfade.engine.lease import lease
with lease(SqliteJournal(Path(sys.argv[1]), "u"), "a test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal goes."""
    return tmp_path / "state" / "journal.db"


def test_entries_come_back_in_order_and_by_upgrade(path: Path) -> None:
    """What was appended is read back, and other upgrades' entries are not."""
    with closing(SqliteJournal(path, "one")) as one, closing(SqliteJournal(path, "two")) as two:
        one.append("cutover-1", "stop", "step-began", {"ü": [1, None, "x"]})
        two.append("cutover-1", "stop", "step-began", {})
        one.append("cutover-1", "stop", "step-done", {"n": 2.5})
        assert [(e["name"], e["kind"], e["payload"]) for e in one.entries()] == [
            ("stop", "step-began", {"ü": [1, None, "x"]}),
            ("stop", "step-done", {"n": 2.5}),
        ]
        assert [e["kind"] for e in one.entries(kind="step-done")] == ["step-done"]
        assert one.upgrades() == ["one", "two"]
    assert path.stat().st_mode & 0o777 == 0o600


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=30, deadline=None)
@given(payload=st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_payload_survives(
    tmp_path_factory: pytest.TempPathFactory, payload: dict[str, object]
) -> None:
    """A payload comes back as it went in, from another opening of the file."""
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    with closing(SqliteJournal(path, "u")) as journal:
        journal.append("r", "n", "k", payload)
    with closing(SqliteJournal(path, "u")) as journal:
        (entry,) = journal.entries()
        assert entry["payload"] == payload


def test_newer_and_broken_journals_are_refused(path: Path) -> None:
    """A journal from the future, or a file that is none, is said so and left alone."""
    SqliteJournal(path, "u").close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 2")
    with pytest.raises(JournalError, match="newer Crossfade") as caught:
        SqliteJournal(path, "u")
    assert (caught.value.code, caught.value.exit_code) == ("journal-newer", 4)
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(JournalError) as caught:
        SqliteJournal(path, "u")
    assert caught.value.code == "journal-unusable"
    assert path.read_bytes().startswith(b"this is no database")


def test_full_disk(path: Path) -> None:
    """A record that does not fit raises JournalError, and the journal stays readable."""
    with closing(SqliteJournal(path, "u")) as journal:
        journal.append("r", "first", "k", {})
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
            with pytest.raises(JournalError):
                journal.append("r", "second", "k", {"big": "x" * 1_000_000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert [e["name"] for e in journal.entries()] == ["first"]


def test_lease_held_by_a_living_process_and_freed_by_its_death(path: Path) -> None:
    """The second runner is told who holds the lease; kill -9 of the holder frees it at once."""
    with closing(SqliteJournal(path, "u")) as journal:
        argv = (sys.executable, "-c", HOLD, str(path))
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(LeaseHeld) as caught, lease(journal, "mine"):
                pass
            assert f"process {other.pid}, a test, since 20" in caught.value.what
            assert caught.value.exit_code == 7
            other.kill()
        with lease(journal, "mine"), closing(journal.connect()) as db:
            held = holder(db)
            assert held is not None
            assert f"process {os.getpid()}, mine" in held[0]
        with closing(journal.connect()) as db:
            assert holder(db) is None


def test_lease_from_another_machine_ends_only_by_expiry(path: Path) -> None:
    """We cannot see whether a process elsewhere lives, so its time has to run out."""
    elsewhere = f"elsewhere:{process_mark().split(':', 1)[1]}"
    assert owner_alive(elsewhere) is None
    with closing(SqliteJournal(path, "u")) as journal, closing(journal.connect()) as db:
        for expires, held in ((time.time() + LEASE_SECONDS, True), (time.time() - 1, False)):
            db.execute("delete from lease")
            row = ("runner", "somebody", elsewhere, time.time(), expires)
            db.execute("insert into lease values (?,?,?,?,?)", row)
            assert (holder(db) is not None) is held


def test_marks_tell_processes_apart() -> None:
    """A mark is alive for us, and dead for a process id that was used again."""
    machine, boot, pid, start = process_mark().rsplit(":", 3)
    assert owner_alive(process_mark()) is True
    assert owner_alive(f"{machine}:{boot}:{pid}:{int(start) + 1}") is False
    assert owner_alive(f"{machine}:another-boot:{pid}:{start}") is False


def test_history_finds_what_is_unfinished_and_predicts(path: Path) -> None:
    """Runs are read back by label; the last one without an end is the unfinished one."""
    with closing(SqliteJournal(path, "u")) as journal:
        assert history.next_label(journal, Run.CUTOVER) == "cutover-1"
        journal.append("rehearsal-1", "rehearsal", "run-began", {"run": "rehearsal"})
        parts = [{"name": "prepare", "seconds": 9.0}, {"name": "start", "seconds": 1.25}]
        evidence = {"parts": parts, "findings": [], "details": {}}
        journal.append("rehearsal-1", "check", "step-done", evidence)
        unfinished = history.unfinished(journal)
        assert unfinished is not None
        assert (unfinished.label, unfinished.outcome) == ("rehearsal-1", "running")
        journal.append("rehearsal-1", "rehearsal", "run-ended", {"outcome": "done"})
        assert history.unfinished(journal) is None
        green = history.last(journal, Run.REHEARSAL, "done")
        assert green is not None
        assert history.predicted_pause(green) == round(
            1.25 * history.MARGIN + history.OVERHEAD_SECONDS, 3
        )
        assert history.next_label(journal, Run.REHEARSAL) == "rehearsal-2"
