"""Every explained error of Crossfade.  Imports nothing of ours.

An explained error is four sentences: what failed, where, how things stand now (who serves), and
the one next command.  Drivers and steps fill in *what* and *where*; *now* and *next* are added in
one place, when the error leaves an upgrade.  The exit code says what an operator's script needs:

    CrossfadeError                 exit
    ├─ UsageError                    2   wrong usage, or a manifest or recipe that does not hold
    ├─ NeedsYou                      3   open questions; the plan changed since the rehearsal
    ├─ Refused                       4   refused before anything was changed
    │  └─ JournalError               4   the journal cannot be read or written
    ├─ Failed                        5   a step failed; Crossfade went back and the old side serves
    ├─ RecoveryFailed                6   going back failed too: a person is needed
    ├─ LeaseHeld                     7   another runner holds the lease
    └─ Interrupted                 130   stopped by the operator; the same command resumes

Anything else that reaches the command line is a bug of ours: exit code 1.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CrossfadeError",
    "Failed",
    "Interrupted",
    "JournalError",
    "LeaseHeld",
    "NeedsYou",
    "RecoveryFailed",
    "Refused",
    "UsageError",
]


class CrossfadeError(Exception):
    """An error that explains itself.

    code   stable kebab-case name of the kind of trouble, such as ``disk-too-small``
    what   one sentence: what could not be done
    where  step, side, host, and the command with its last lines, if there is one
    now    one sentence: who serves, and what was or was not changed
    next   one command that the operator types next
    """

    exit_code: ClassVar[int] = 5

    def __init__(
        self, code: str, what: str, *, where: str = "", now: str = "", next: str = ""
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.now = now
        self.next = next

    def as_json(self) -> dict[str, object]:
        """The error for machines: the same four sentences, the code and the exit code."""
        return {
            "code": self.code,
            "exit_code": self.exit_code,
            "what": self.what,
            "where": self.where,
            "now": self.now,
            "next": self.next,
        }


class UsageError(CrossfadeError):
    """Wrong usage, or a manifest or recipe that does not hold."""

    exit_code = 2


class NeedsYou(CrossfadeError):
    """A person has to decide something first; nothing was changed."""

    exit_code = 3


class Refused(CrossfadeError):
    """Refused before anything was changed."""

    exit_code = 4


class JournalError(Refused):
    """The journal cannot be read or written."""


class Failed(CrossfadeError):
    """Something that a step needed did not hold or did not work."""

    exit_code = 5


class RecoveryFailed(CrossfadeError):
    """Going back failed as well."""

    exit_code = 6


class LeaseHeld(CrossfadeError):
    """Another runner works on this upgrade."""

    exit_code = 7


class Interrupted(CrossfadeError):
    """The operator stopped us; the same command goes on."""

    exit_code = 130
