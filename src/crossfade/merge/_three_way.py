"""Judge every setting of three texts of one file: the old version's stock, the user's, the new's.

The table is in the documentation of ``config``.  Whatever is not certain is a question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from crossfade.merge._moves import moved_to
from crossfade.merge._shapes import Shapes, Three, sections
from crossfade.merge._types import Document, Format, Path, Setting
from crossfade.merge._values import merged_list, same
from crossfade.merge._verdicts import Choice, Judged, Stands, Verdict

__all__ = ["Merge", "merge"]

_EITHER = (Choice.YOURS, Choice.NEW, Choice.VALUE)
_LEFT = (Choice.YOURS, Choice.DROP, Choice.VALUE)


@dataclass(frozen=True, slots=True)
class Merge:
    """All verdicts on one file, in the order of the new text and then of the user's.

    What all three have alike is not among them.  fresh are the new version's settings that nobody
    had before; gone those of the old version's stock that the user never touched and that the new
    one has no longer.  proven is the text without any answer, where it was made and proven already.
    """

    three: Three
    judged: tuple[Judged, ...]
    fresh: tuple[Path, ...]
    gone: tuple[Path, ...]
    proven: str | None = None

    @property
    def questions(self) -> tuple[Judged, ...]:
        """The verdicts that somebody has to decide about."""
        return tuple(judged for judged in self.judged if judged.question)


def merge(base: Document | None, user: Document, new: Document, format: Format) -> Merge:
    """Judge every setting.  Without a base everything that differs is a question.

    Raises Unreadable where the entries of the texts cannot be told apart."""
    if base is None:
        three = Three(format, None, format.aligned(user, new), new)
    else:
        user, new = format.aligned(user, base), format.aligned(new, base)
        three = Three(format, base, user, new)
    fresh: list[Path] = []
    gone: list[Path] = []
    judged: list[Judged] = []
    shapes = Shapes(three)
    table = None if base is None else _Table(three, base)
    done: set[Path] = set()
    for path in _paths(three):
        place = shapes.place(path)
        at = place or path
        if at in done:
            continue
        done.add(at)
        if place is not None:
            found = shapes.judged(_said(three, place))
        elif base is None or table is None:
            found = _without_base(three, path)
        else:
            found = table.judged(path)
        if found is not None:
            judged.append(_carried(found) if base is not None and base.text == new.text else found)
        elif base is not None and path in new.settings and path not in base.settings:
            fresh.append(path)
        elif base is not None and path not in new.settings and path in user.settings:
            gone.append(at)
    return Merge(three, tuple(judged), tuple(fresh), tuple(gone))


def _carried(judged: Judged) -> Judged:
    """Where the version changed nothing, there is nothing to decide."""
    if not judged.question:
        return judged
    verdict = Verdict.CARRIED
    return replace(judged, verdict=verdict, choices=(), preselected=None, moved_to=None, gone=False)


def _paths(three: Three) -> Iterator[Path]:
    documents = [three.new, three.user, *([three.base] if three.base else [])]
    seen: set[Path] = set()
    for paths in (
        *(document.settings for document in documents),
        *(document.commented for document in documents),
    ):
        yield from (path for path in paths if path not in seen)
        seen.update(paths)


def _of(document: Document, path: Path) -> Stands | None:
    """How a document has it, on or commented."""
    return document.settings.get(path) or document.commented.get(path)


def _said(three: Three, path: Path) -> Judged:
    """How it stands in the three texts, with the verdict that you alone changed it."""
    base = None if three.base is None else _of(three.base, path)
    user, new = _of(three.user, path), _of(three.new, path)
    why = "you changed it, and the new version did not"
    return Judged(path, Verdict.CARRIED, why, base, user, new)


def _without_base(three: Three, path: Path) -> Judged | None:
    user, new = three.user.settings.get(path), three.new.settings.get(path)
    if user is None and new is None:
        return None
    said = Judged(path, Verdict.NEEDS_REVIEW, "", None, user, new)
    if user and new and same(user.value, new.value):
        return None
    if user and new:
        why = "yours differs from the new version's, and the old version's stock is not known"
        return replace(said, why=why, choices=_EITHER, preselected=Choice.YOURS)
    if user:
        why = "only yours has this setting, and the old version's stock is not known"
        return replace(said, why=why, choices=_LEFT, preselected=Choice.YOURS)
    why = "only the new version has this setting; whether you took it out is not known"
    return replace(said, why=why, choices=_EITHER, preselected=Choice.NEW)


class _Table:
    """The table of verdicts where the old version's stock is known."""

    def __init__(self, three: Three, base: Document) -> None:
        self._three, self._base = three, base
        self._yours, self._news = sections(three.user), sections(three.new)

    def judged(self, path: Path) -> Judged | None:
        """The verdict on one setting; None where nothing is to be said."""
        three = self._three
        base, user, new = (d.settings.get(path) for d in (self._base, three.user, three.new))
        said = _said(three, path)
        if user is None:
            return self._not_set(said, base, new)
        if base is not None and same(user.value, base.value):
            return _as_in_stock(said, base, new)
        if new is None:
            return self._lost(said, base)
        if same(user.value, new.value):
            return replace(said, verdict=Verdict.ALREADY, why="the new version has it as you have")
        if base is None:
            why = "you added it, and the new version sets it to something else"
            return replace(said, verdict=Verdict.CONFLICT, why=why, choices=_EITHER)
        if same(base.value, new.value):
            return said
        merged = merged_list(base.value, user.value, new.value)
        if merged is not None:
            why = "you and the new version changed different items of this list"
            return replace(said, why=why, merged=merged)
        why = "both you and the new version changed it"
        return replace(said, verdict=Verdict.CONFLICT, why=why, choices=_EITHER)

    def _not_set(self, said: Judged, base: Setting | None, new: Setting | None) -> Judged | None:
        """Your text does not have it on."""
        if base is None:
            return self._documented(said, new)
        if new is None:
            if said.path in self._three.new.commented or said.path in self._yours:
                return None
            why = "the new version took it out, as you did"
            return replace(said, verdict=Verdict.ALREADY, why=why)
        unchanged = same(new.value, base.value)
        if unchanged and said.path in self._yours:
            return None  # you filled it: what you put in has its own verdicts
        if unchanged:
            return replace(said, verdict=Verdict.REMOVED, why="you took it out")
        why = "you took it out, and the new version changed it"
        return replace(said, verdict=Verdict.CONFLICT, why=why, choices=_EITHER)

    def _documented(self, said: Judged, new: Setting | None) -> Judged | None:
        """Nobody of old had it on; a documented default may have changed all the same."""
        before, after = self._base.commented.get(said.path), said.new
        if before is None or after is None or before.raw.strip() == after.raw.strip():
            return None
        if new is None:
            why = "the documented default changes under you"
        else:
            why = "the new version sets what was only documented before"
        return replace(said, verdict=Verdict.KEPT_NEW, why=why)

    def _emptied(self, said: Judged) -> Judged:
        """You took all out of a section that the new version has."""
        size = len(said.path)
        base = self._base.settings
        left = [
            path
            for path, setting in self._three.new.settings.items()
            if path[:size] == said.path
            and not (path in base and same(base[path].value, setting.value))
        ]
        if left:
            why = "you emptied this section, and the new version changed what is in it"
            choices = (Choice.YOURS, Choice.NEW)
            return replace(said, verdict=Verdict.CONFLICT, why=why, choices=choices)
        return replace(said, verdict=Verdict.ADDED, why="you emptied this section")

    def _lost(self, said: Judged, base: Setting | None) -> Judged:
        """You changed or added it, and the new text does not have it on."""
        path, new = said.path, self._three.new
        if path in self._news:
            return self._emptied(said)
        if path in new.commented and base is not None:
            why = "you changed it, and the new version only documents it"
            return replace(said, verdict=Verdict.CONFLICT, why=why, choices=_LEFT)
        if path in new.commented:
            why = "you set it, and the stock text only documents it"
            return replace(said, verdict=Verdict.ADDED, why=why)
        if base is None and path not in self._base.commented:
            return replace(said, verdict=Verdict.ADDED, why="you added it; no stock text has it")
        if base is None:
            why = "the old version documented it, and the new one does not"
        else:
            why = "the new version no longer has this setting"
        lost = replace(said, verdict=Verdict.CONFLICT, why=why, choices=_LEFT, gone=True)
        found = moved_to(self._three.format, self._base, self._three.user, new, path)
        if found is None:
            return lost
        return replace(
            lost,
            verdict=Verdict.MOVED,
            why=f"{why}; it seems to have moved",
            moved_to=found.path,
            choices=(Choice.MOVE, *_LEFT),
            preselected=Choice.MOVE if found.certain else None,
        )


def _as_in_stock(said: Judged, base: Setting, new: Setting | None) -> Judged | None:
    """You left it as the old version had it."""
    if new is None or same(new.value, base.value):
        return None
    why = "the default changes under you: you had the old version's"
    return replace(said, verdict=Verdict.KEPT_NEW, why=why)
