"""From verdicts and answers to a text, and the proof that it is exactly that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from crossfade.merge._shapes import Three
from crossfade.merge._three_way import Merge
from crossfade.merge._types import Document, Drop, Edit, Path, Put, Unreadable, Write
from crossfade.merge._values import same
from crossfade.merge._verdicts import Answer, Choice, Judged, Verdict

__all__ = ["Answers", "Open", "Rendered", "checked", "rendered", "settled", "unprovable", "unseen"]

Answers = Mapping[Path, Answer]


class Open(Exception):
    """Questions without an answer; nothing is rendered while there are any."""

    def __init__(self, questions: Iterable[Judged]) -> None:
        self.questions = tuple(questions)
        super().__init__(f"{len(self.questions)} questions are open")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text.  Where refused is not None it says why, and the text is the new version's stock."""

    text: str
    refused: str | None = None


def rendered(merge: Merge, answers: Answers) -> Rendered:
    """The new version's text with every verdict and answer in it, proven.

    An answer may be for any setting that was judged.  Raises Open while a question has no answer,
    and ValueError for an answer to what was never asked or that cannot be given."""
    three = merge.three
    checked(merge.judged, answers)
    if three.base is not None and three.base.text == three.new.text and not answers:
        return Rendered(three.user.text)  # nothing is new: yours as it is, with its comments
    if merge.proven is not None and not answers:
        return Rendered(merge.proven)
    reason = unprovable(three) if merge.proven is None else None
    if reason is not None:
        return Rendered(three.new.text, reason)
    try:
        return _proven(
            three, [_edits(three, judged, answers.get(judged.path)) for judged in merge.judged]
        )
    except Unreadable as why:
        return Rendered(three.new.text, str(why))


def unprovable(three: Three) -> str | None:
    """Why the new text cannot be edited at all: written back unchanged it must be itself."""
    new = three.new
    itself = [Put(path, new) for path in new.settings]
    try:
        if three.format.edited(new, []) == new.text == three.format.edited(new, itself):
            return None
    except Unreadable as why:
        return str(why)
    return "the new version's text, written back unchanged, is not itself"


def unseen(three: Three) -> str | None:
    """What the user changed that is no setting, so that it would be lost: but for settings, yours
    must be the old text, or the new one already, for the parser that is not ours.  None if it is.
    """
    base, new = three.base, three.new
    if base is None:
        return None
    found = _unseen_since(three, base)
    return found if found is None or _unseen_since(three, new) is not None else None


def _unseen_since(three: Three, before: Document) -> str | None:
    user = three.user
    if before.text == user.text:
        return None
    edits: list[Edit] = [
        Put(path, user)
        for path, setting in user.settings.items()
        if path not in before.settings or not same(setting.value, before.settings[path].value)
    ]
    edits += [Drop(path) for path in before.settings if path not in user.settings]
    if not edits:  # no edit at all would mean the same bytes
        edits += [Put(path, user) for path in list(user.settings)[:1]]
    return three.format.mismatch(before, user.text, edits) if edits else None


def settled(merge: Merge) -> Merge:
    """The same, where what cannot be written into the new text by us became a question."""
    if unprovable(merge.three) is not None:
        return merge
    three = merge.three
    edits = {judged.path: _edits(three, judged, None) for judged in merge.judged}
    try:
        whole = _proven(three, list(edits.values()))
    except Unreadable:
        whole = Rendered("", "it cannot be written")
    if whole.refused is None:
        return replace(merge, proven=whole.text)
    judged = []
    for each in merge.judged:
        reason = _impossible(three, edits[each.path]) if edits[each.path] else None
        judged.append(each if reason is None else _asked(each, reason))
    return replace(merge, judged=tuple(judged))


def _asked(judged: Judged, reason: str) -> Judged:
    choices = (Choice.NEW, Choice.VALUE) if judged.merged is None else tuple(Choice)[:3]
    why = f"{judged.why}; but it cannot be written there: {reason}"
    return replace(judged, verdict=Verdict.NEEDS_REVIEW, why=why, merged=None, choices=choices)


def _impossible(three: Three, edits: list[Edit]) -> str | None:
    try:
        return _proven(three, [edits]).refused
    except Unreadable as why:
        return str(why)


def _proven(three: Three, parts: list[list[Edit]]) -> Rendered:
    edits: list[Edit] = []
    for edit in (edit for part in parts for edit in part):
        if not isinstance(edit, Drop) or edit not in edits:
            edits.append(edit)
    after = three.format.edited(three.new, edits)
    wrong = three.format.mismatch(three.new, after, edits)
    return Rendered(after) if wrong is None else Rendered(three.new.text, wrong)


def checked(judged: tuple[Judged, ...], answers: Answers) -> None:
    """Raises Open for questions without an answer, ValueError for answers that are none."""
    known = {each.path: each for each in judged}
    for path, answer in answers.items():
        if path not in known:
            raise ValueError("an answer is for a setting that no verdict is about")
        allowed = known[path].choices or (Choice.YOURS, Choice.NEW, Choice.VALUE, Choice.DROP)
        if answer.choice not in allowed:
            raise ValueError(f"{answer.choice} is no answer to: {known[path].why}")
    unanswered = [each for each in judged if each.question and each.path not in answers]
    if unanswered:
        raise Open(unanswered)


def _edits(three: Three, judged: Judged, answer: Answer | None) -> list[Edit]:
    """What is done to the new text for one setting.  Raises Unreadable."""
    path = judged.path
    if answer is None:
        if judged.merged is not None:
            return [Write(path, judged.merged)]
        if judged.verdict in (Verdict.CARRIED, Verdict.ADDED):
            return _all_of_yours(three, path)
        return _all_of_theirs(three, path) if judged.verdict is Verdict.REMOVED else []
    if answer.choice is Choice.YOURS:
        return _all_of_yours(three, path)
    if answer.choice is Choice.DROP:
        return _all_of_theirs(three, path)
    if answer.choice is Choice.MOVE and judged.moved_to is not None:
        return [Write(judged.moved_to, three.user.settings[path].value)]
    if answer.choice is Choice.VALUE:
        return [_written(three, path, answer.value)]
    return []


def _all_of_theirs(three: Three, path: Path) -> list[Edit]:
    """All that the new text has at the path and below it, taken out."""
    return [Drop(other) for other in three.new.settings if other[: len(path)] == path]


def _all_of_yours(three: Three, path: Path) -> list[Edit]:
    """What you have at the path and below it, instead of what is there."""
    yours = [other for other in three.user.settings if other[: len(path)] == path]
    theirs = [drop for drop in _all_of_theirs(three, path) if drop.path not in yours]
    return [*theirs, *(Put(other, three.user) for other in yours)]


def _written(three: Three, path: Path, value: object) -> Edit:
    if path in three.new.settings:
        return Write(path, value)
    for document in (three.user, three.base):
        if document is not None and path in document.settings:
            return Put(path, _with_value(three, document, path, value))
    raise ValueError("a value cannot be given to what no text has on")


def _with_value(three: Three, document: Document, path: Path, value: object) -> Document:
    """The document with another value, so that its entry can be put into the new text."""
    text = three.format.edited(document, [Write(path, value)])
    read = three.format.aligned(three.format.read(text), document)
    if path not in read.settings:
        raise Unreadable(document.settings[path].line, "another value makes it another entry")
    return read
