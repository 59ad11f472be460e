"""Past the commit point: what does not hold is not done, and the next run goes on with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.testbed.site import Site

from crossfade.engine.attempt import run_all, settle
from crossfade.engine.journal import SqliteJournal
from crossfade.errors import Failed, RecoveryFailed
from crossfade.model import Evidence, Finding, Plan, PlannedStep, Reversal, Run
from crossfade.ports import Work


class Switching:
    """A step that passes its commit point and fails; what remains holds from the second try on."""

    name = "switching"
    reversal = Reversal.LOSES_WRITES

    def __init__(self) -> None:
        self.finished = 0

    def preview(self, work: Work) -> PlannedStep:
        return PlannedStep(self.name, (), self.reversal)

    def run(self, work: Work) -> Evidence:
        work.here.make_directory(work.directory)
        work.dead_man.arm([("true",)], 60.0)
        assert work.dead_man.commit()
        raise Failed("host-unreachable", "The link is cut.")

    def finish(self, work: Work) -> Evidence:
        self.finished += 1
        seen = "new" if self.finished > 1 else "nobody"
        return Evidence(self.name, (Finding.equal("traffic goes to", "new", seen, "gate"),))

    def undo(self, work: Work) -> Evidence:
        raise AssertionError


def test_what_does_not_hold_is_not_done(make_site: Callable[..., Site]) -> None:
    """Exit code 6 and where it stands, never "done"; the next run finishes it."""
    site = make_site().wired()
    work, step = site.begin(Run.CUTOVER), Switching()
    plan = Plan(work.old.installation, work.new.installation, (), {})
    with pytest.raises(RecoveryFailed) as caught:
        run_all(work, [step], plan)
    assert caught.value.code == "not-finished"
    assert "seen nobody" in caught.value.what
    assert caught.value.now
    assert ended(site.journal) == []
    assert settle(site.journal, site.again, {Run.CUTOVER: [step]}) is Run.CUTOVER
    assert ended(site.journal) == ["done"]


def test_the_last_record_does_not_go(make_site: Callable[..., Site]) -> None:
    """It is not called refused: the commit point was passed.  The next run writes it."""
    site = make_site().wired()
    work, step = site.begin(Run.CUTOVER), Switching()
    step.finished = 1
    plan = Plan(work.old.installation, work.new.installation, (), {})
    refuses = "create trigger full before insert on entry when new.kind = '{}' begin select {}; end"
    with sqlite3.connect(site.manifest.state / "journal.db") as db:
        db.execute(refuses.format("run-ended", "raise(abort, 'disk full')"))
    with pytest.raises(RecoveryFailed) as caught:
        run_all(work, [step], plan)
    assert (caught.value.code, ended(site.journal)) == ("not-finished", [])
    with sqlite3.connect(site.manifest.state / "journal.db") as db:
        db.execute("drop trigger full")
    assert settle(site.journal, site.again, {Run.CUTOVER: [step]}) is Run.CUTOVER
    assert ended(site.journal) == ["done"]


def ended(journal: SqliteJournal) -> list[Any]:
    """How the runs ended."""
    return [cast("Any", entry["payload"])["outcome"] for entry in journal.entries(kind="run-ended")]
