"""What the journal says of machines, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.engine import made
from crossfade.engine.journal import SqliteJournal
from crossfade.engine.made import GONE, MADE, WANTED, Known
from crossfade.engine.work import Silent
from crossfade.errors import UsageError
from crossfade.manifest import load
from crossfade.model import Side
from crossfade.ports import MadeMachine
from crossfade.provisioning import Provisioning

HOST = '{ssh: "root@{machine}", provision: {create: [x], destroy: [x]}}'


def opened(directory: Path, upgrade: str, *, old: str, new: str, host: str = HOST) -> Provisioning:
    """The machines as an upgrade sees them."""
    path = directory / "crossfade.yaml"
    path.write_text(
        f"application: synapse\nstate: state\n"
        f"old: {{version: '{old}', host: {host}, root: /a, data: /b, address: '10.0.0.9:1'}}\n"
        f"new: {{version: '{new}', host: {HOST}, root: /c, data: /d, address: '10.0.0.9:2',"
        " rehearsal: {address: '10.0.0.9:3'}}\ntraffic: {listen: '127.0.0.1:8000'}\n"
    )
    return Provisioning(load(path), journal(directory, upgrade), f"{upgrade}.abc", Silent())


def journal(directory: Path, upgrade: str) -> SqliteJournal:
    """The journal of one upgrade."""
    return SqliteJournal(directory / "state/journal.db", upgrade)


def ran(directory: Path, upgrade: str, run: str, outcome: str = "done") -> None:
    """A run of an upgrade, in the journal."""
    there = journal(directory, upgrade)
    there.append(f"{run}-1", run, "run-began", {"run": run})
    there.append(f"{run}-1", run, "run-ended", {"outcome": outcome})
    there.close()


def noted(directory: Path, name: str, upgrade: str, state: str, version: str) -> Known:
    """A machine in the journal."""
    machine = MadeMachine(name, f"{upgrade}.abc", f"{name}.example")
    one = Known(machine, state, "synapse", version)
    made.note(journal(directory, upgrade), one)
    return one


def test_the_old_side_is_what_was_cut_over_to(tmp_path: Path) -> None:
    """Of two machines that were made for a version, the old side's is the one that served; the
    other one is named, with the command that removes it."""
    served = noted(tmp_path, "a", "1-to-2", MADE, "2")
    ran(tmp_path, "1-to-2", "cutover")
    noted(tmp_path, "b", "1.5-to-2", MADE, "2")
    ran(tmp_path, "1.5-to-2", "cutover")
    ran(tmp_path, "1.5-to-2", "rollback")
    now = opened(tmp_path, "2-to-3", old="2", new="3")
    assert now.of(Side.OLD) == served
    assert now.of(Side.NEW) is None
    assert now.manifest().old.host.destination == "root@a.example"
    (left,) = now.leavings()
    assert left.startswith("machine b b.example: made for synapse 2 by 1.5-to-2")
    made.note(journal(tmp_path, "2-to-3"), replace(served, state=GONE))
    assert now.manifest().old.host.machine == "a", "a report of what was is still possible"


def test_nothing_is_taken_for_ours(tmp_path: Path) -> None:
    """A machine of another version, one that is only wanted, and one that did not serve are not
    the old side's."""
    noted(tmp_path, "a", "1-to-2", MADE, "2")
    noted(tmp_path, "b", "1-to-3", WANTED, "3")
    ran(tmp_path, "1-to-2", "cutover", "went-back")
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, "2-to-3", old="2", new="3").manifest()
    assert caught.value.code == "machine-not-recorded"


def test_the_old_sides_machine_by_its_own_name(tmp_path: Path) -> None:
    """One that the manifest names without saying that it was made is neither removed nor named."""
    noted(tmp_path, "a", "1-to-2", MADE, "2")
    ran(tmp_path, "1-to-2", "cutover")
    now = opened(tmp_path, "2-to-3", old="2", new="3", host='{ssh: "root@a.example"}')
    assert now.machine_of(Side.OLD) is None
    assert now.leavings() == []


@pytest.mark.parametrize(
    ("run", "outcome", "left"),
    [
        ("rehearsal", "done", 0),
        ("rehearsal", "failed", 1),
        ("cutover", "done", 0),
        ("cutover", "went-back", 1),
        ("rollback", "done", 1),
    ],
)
def test_given_up(tmp_path: Path, run: str, outcome: str, left: int) -> None:
    """The new side's machine is named when the last run says that it is not wanted for now."""
    noted(tmp_path, "a", "1-to-2", MADE, "2")
    ran(tmp_path, "1-to-2", run, outcome)
    now = opened(tmp_path, "1-to-2", old="1", new="2", host="local")
    assert len(now.leavings()) == left
