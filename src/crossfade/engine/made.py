"""The journal's record of machines: wanted before anything is made, made, going, gone.

It is read across all upgrades of a state directory, for the new side's machine of one upgrade is
the old side's of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, cast

from crossfade.engine import history
from crossfade.engine.journal import SqliteJournal
from crossfade.ports import MadeMachine

__all__ = ["GOING", "GONE", "MADE", "WANTED", "Known", "known", "note", "took_over"]

_KIND: Final = "machine"
WANTED, MADE, GOING, GONE = "wanted", "made", "going", "gone"


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal says of a machine, and for which application and version it was made.

    state is wanted, made, going or gone; machine has no address while it is only wanted."""

    machine: MadeMachine
    state: str
    application: str
    version: str

    @property
    def there(self) -> bool:
        """Whether it may be there, for all we know."""
        return self.state != GONE

    @property
    def upgrade(self) -> str:
        """The journal's name of the upgrade that made it; its id has the state directory's mark
        behind that."""
        return self.machine.upgrade.rpartition(".")[0]


def known(journal: SqliteJournal) -> list[Known]:
    """Every machine in the journal, oldest first, as it was last seen."""
    found: dict[str, Known] = {}
    for entry in journal.everywhere(_KIND):
        said = cast(Mapping[str, Any], entry["payload"])
        name = str(entry["name"])
        keys = tuple(said["host_key"])
        machine = MadeMachine(name, said["upgrade"], said["address"], keys, said["id"])
        found[name] = Known(machine, said["state"], said["application"], said["version"])
    return list(found.values())


def note(journal: SqliteJournal, one: Known) -> None:
    """Write down how a machine stands now."""
    payload = {
        **one.machine.as_json(),
        "state": one.state,
        "application": one.application,
        "version": one.version,
    }
    journal.append("machines", one.machine.name, _KIND, payload)


def took_over(journal: SqliteJournal, one: Known) -> bool:
    """Whether the upgrade that made the machine has cut over to it, and not gone back."""
    with closing(SqliteJournal(journal.path, one.upgrade)) as theirs:
        return history.new_is_authoritative(theirs)
