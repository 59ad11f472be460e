"""Places where no setting can be judged alone: one verdict for all that is there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crossfade.merge._types import Document, Format, Path, Setting
from crossfade.merge._values import empty, same
from crossfade.merge._verdicts import Choice, Judged, Verdict

__all__ = ["Shapes", "Three", "sections"]


@dataclass(frozen=True, slots=True)
class Three:
    """The three texts of one file, their entries under the names that the old one's
    have (or the new one's, where that is not known)."""

    format: Format
    base: Document | None
    user: Document
    new: Document


class Shapes:
    """The places of one file that are judged as a whole, with all below them.

    One kind is where one text has a value and another a section; an empty value is no other shape
    than a section, for it can be filled.  The other is an entry of a list that you or the new
    version took out: what is left of it would be an entry without a name.
    """

    def __init__(self, three: Three) -> None:
        self._three = three
        documents = [three.new, three.user, *([three.base] if three.base is not None else [])]
        inner = {path for document in documents for path in sections(document)}
        self._places = {
            path
            for document in documents
            for path, setting in document.settings.items()
            if path in inner and not empty(setting.value)
        }
        if three.base is not None:
            yours, news = _all(three.user), _all(three.new)
            self._places |= {
                path
                for path in _all(three.base)
                if path[-1].endswith("]") and not (path in yours and path in news)
            }

    def place(self, path: Path) -> Path | None:
        """The place that the path is at or below; None where it is judged alone."""
        if not self._places:
            return None
        above = (path[:length] for length in range(1, len(path) + 1))
        return next((each for each in above if each in self._places), None)

    def judged(self, said: Judged) -> Judged | None:
        """The verdict on such a place and all below it."""
        three, path = self._three, said.path
        user, new = _below(three.user, path), _below(three.new, path)
        if _equal(user, new):
            return None
        said = replace(
            said,
            base=said.base or (_first(three.base, path) if three.base is not None else None),
            user=said.user or _first(three.user, path),
            new=said.new or _first(three.new, path),
        )
        if three.base is None:
            why = "one has a section for this value, and the old version's is not known"
            choices = (Choice.YOURS, Choice.NEW)
            return replace(said, verdict=Verdict.NEEDS_REVIEW, why=why, choices=choices)
        base = _below(three.base, path)
        if _equal(user, base):
            why = "the new version has it in another shape, with its own values"
            return replace(said, verdict=Verdict.KEPT_NEW, why=why) if user and new else None
        if not user or not new:
            return _taken_out(said, base, user, new)
        asked = replace(said, verdict=Verdict.CONFLICT, choices=(Choice.YOURS, Choice.NEW))
        if _equal(new, base):
            return replace(asked, why="you made a section of a value, or a value of a section")
        why = "you changed it, and the new version has a section for a value, or the reverse"
        return replace(asked, why=why)


Values = dict[Path, object]


def _taken_out(said: Judged, base: Values, user: Values, new: Values) -> Judged:
    """You or the new version have nothing at the place."""
    if user and not base:
        return replace(said, verdict=Verdict.ADDED, why="you added it; no stock text has it")
    if user:
        why = "you changed it, and the new version no longer has it"
        choices = (Choice.YOURS, Choice.DROP)
        return replace(said, verdict=Verdict.CONFLICT, why=why, choices=choices, gone=True)
    if _equal(new, base):
        return replace(said, verdict=Verdict.REMOVED, why="you took it out")
    why = "you took it out, and the new version changed it"
    choices = (Choice.YOURS, Choice.NEW)
    return replace(said, verdict=Verdict.CONFLICT, why=why, choices=choices)


def sections(document: Document) -> set[Path]:
    """All that has settings below it."""
    return {path[:length] for path in document.settings for length in range(1, len(path))}


def _all(document: Document) -> set[Path]:
    return sections(document) | document.settings.keys()


def _first(document: Document, path: Path) -> Setting | None:
    """The first setting at the path or below it."""
    settings = document.settings
    return next((settings[other] for other in settings if other[: len(path)] == path), None)


def _below(document: Document, path: Path) -> Values:
    """The values at the path and below it."""
    return {
        other: setting.value
        for other, setting in document.settings.items()
        if other[: len(path)] == path
    }


def _equal(one: Values, two: Values) -> bool:
    return one.keys() == two.keys() and all(same(one[path], two[path]) for path in one)
