"""What is said of each setting, and what may be answered where it is a question."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crossfade.merge._types import Commented, Path, Setting

__all__ = ["Answer", "Choice", "Judged", "Stands", "Verdict"]

Stands = Setting | Commented
"""How a setting stands in one of the three texts: on, or documented and left off."""


class Verdict(StrEnum):
    """What happens to a setting on its way into the new version's file."""

    CARRIED = "carried"
    ADDED = "added"
    REMOVED = "removed"
    ALREADY = "already"
    REWRITTEN = "rewritten"
    KEPT_NEW = "kept-new"
    MOVED = "moved"
    CONFLICT = "conflict"
    NEEDS_REVIEW = "needs-review"
    REFUSED = "refused"
    OUT_OF_SCOPE = "out-of-scope"


class Choice(StrEnum):
    """An answer to one question.  YOURS may mean that the setting is taken out, if you did that."""

    YOURS = "yours"
    NEW = "new"
    VALUE = "value"
    DROP = "drop"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision about one setting; value is what it gets where the choice is VALUE."""

    choice: Choice
    value: object = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one setting.

    path is what the old version's text calls it, or where that has it not, yours or the new one's.
    base, user and new are how the three texts have it; None where one has not.  choices are not
    empty where it is a question; preselected is then what is proposed, if anything is.  gone says
    that the setting is in use and that the new version has it no longer: nothing may be started
    with it undecided.  A verdict may be for all that is below the path too; then base, user and new
    are the first of it.
    """

    path: Path
    verdict: Verdict
    why: str
    base: Stands | None = None
    user: Stands | None = None
    new: Stands | None = None
    moved_to: Path | None = None
    merged: object = None
    choices: tuple[Choice, ...] = ()
    preselected: Choice | None = None
    gone: bool = False

    @property
    def question(self) -> bool:
        """Whether somebody has to decide."""
        return bool(self.choices)
