"""Merge one file, whatever it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from crossfade.merge._apply import (
    Answers,
    Open,
    Rendered,
    checked,
    rendered,
    settled,
    unprovable,
    unseen,
)
from crossfade.merge._bytes import Text, Unmergeable, decoded
from crossfade.merge._lines import LineMerge
from crossfade.merge._once import remembering
from crossfade.merge._three_way import Merge, merge
from crossfade.merge._types import Path, Unreadable
from crossfade.merge._verdicts import Answer, Choice, Judged, Verdict
from crossfade.merge.formats import detect, known

__all__ = ["FileMerge", "Result", "merge_files"]

_YOURS, _NEW, _OLD = "yours", "the new version's", "the old version's"
_COMMENTS = ("#", ";", "//", "<!--", "!")


@dataclass(frozen=True, slots=True)
class Result:
    """A file's content.  Where refused is not None it says why, and the content is stock."""

    content: bytes
    refused: str | None = None


class _Way(Protocol):
    """One way to merge a text."""

    def rendered(self, answers: Answers) -> Rendered:
        """The text.  Raises Open and ValueError."""


class _BySettings:
    def __init__(self, merge: Merge) -> None:
        self.merge = merge

    def rendered(self, answers: Answers) -> Rendered:
        return rendered(self.merge, answers)


@dataclass(frozen=True, slots=True)
class FileMerge:
    """What becomes of one file.

    format is the name of the format, ``lines`` for a text without one, None where the file was not
    read.  Where refused is not None it says why it cannot be merged; then there is one verdict, on
    the path ``()``, and the question which of the whole files it shall be.  fresh and gone are as
    for a Merge.
    """

    name: str
    format: str | None
    judged: tuple[Judged, ...]
    fresh: tuple[Path, ...] = ()
    gone: tuple[Path, ...] = ()
    refused: str | None = None
    _user: bytes = b""
    _new: bytes = b""
    _whole: bytes | None = None
    _text: Text | None = None
    _way: _Way | None = None

    @property
    def questions(self) -> tuple[Judged, ...]:
        """What somebody has to decide."""
        return tuple(judged for judged in self.judged if judged.question)

    @property
    def preselected(self) -> dict[Path, Answer]:
        """The answers that are proposed; nothing is decided by them unless they are given."""
        return {
            judged.path: Answer(judged.preselected)
            for judged in self.questions
            if judged.preselected is not None
        }

    def asking(self, paths: Sequence[Path], why: str) -> FileMerge:
        """The same, where it is a question for each of these ``fresh`` settings whether the file
        gets it."""
        if not paths or not isinstance(self._way, _BySettings):
            return self
        merge = self._way.merge
        choices = (Choice.NEW, Choice.VALUE, Choice.DROP)
        asked = tuple(
            Judged(path, Verdict.NEEDS_REVIEW, why, None, None, new, choices=choices)
            for path, new in merge.three.new.settings.items()
            if path in paths
        )
        judged = (*self.judged, *asked)
        way = _BySettings(replace(merge, judged=(*merge.judged, *asked)))
        fresh = tuple(path for path in self.fresh if path not in paths)
        return replace(self, judged=judged, fresh=fresh, _way=way)

    def render(self, answers: Answers | None = None) -> Result:
        """The file with every verdict and answer in it, proven.

        Raises Open while a question has no answer, and ValueError for an answer that is none."""
        answers = answers or {}
        if self._whole is not None and not answers:
            if questions := self.questions:
                raise Open(questions)
            return Result(self._whole)
        if self._way is None or self._text is None:
            checked(self.judged, answers)
            return self._whole_file(answers)
        with remembering():
            done = self._way.rendered(answers)
        if done.refused is not None:
            return Result(self._new, done.refused)
        try:
            return Result(self._text.encoded(done.text))
        except UnicodeEncodeError:
            return Result(self._new, f"a value cannot be written in {self._text.encoding}")

    def _whole_file(self, answers: Answers) -> Result:
        answer = answers.get((), Answer(Choice.NEW))
        if answer.choice is Choice.YOURS:
            return Result(self._user)
        if answer.choice is Choice.VALUE:
            value = answer.value
            return Result(value if isinstance(value, bytes) else str(value).encode())
        return Result(self._new)

    def comments_left(self, content: bytes) -> tuple[int, ...]:
        """Lines of yours with comments that neither the old stock nor ``content`` has: these stay
        behind.  Looks only at lines that are nothing but a comment."""
        if b"\0" in self._user:
            return ()
        there = Counter(line.strip() for line in content.split(b"\n"))
        left = []
        for number, line in enumerate(self._user.split(b"\n"), 1):
            bare = line.strip()
            if bare.decode(errors="replace").startswith(_COMMENTS) and not there[bare]:
                left.append(number)
        return tuple(left)


def merge_files(
    name: str, base: bytes | None, user: bytes, new: bytes, format: str | None = None
) -> FileMerge:
    """Merge a file three ways; ``name`` is its name or path, ``format`` the name of its format,
    where that is known; else the texts tell it.

    Where two of the three are the same bytes the third is the result, whatever it contains.
    Without a base, every difference is a question.  Never raises: what cannot be read is refused.
    """
    with remembering():
        return _merged(name, base, user, new, format)


def _merged(
    name: str, base: bytes | None, user: bytes, new: bytes, format: str | None
) -> FileMerge:
    whole = _trivial(base, user, new)
    files = {_NEW: new, _YOURS: user, **({_OLD: base} if base is not None else {})}
    try:
        texts = decoded(f"{name}.properties" if format == "properties" else name, files)
        found = _by_format(name, texts, whole is not None, format)
    except Unmergeable as why:
        reason = str(why)
        if whole is not None:
            return FileMerge(name, None, (), _user=user, _new=new, _whole=whole)
        return _refused(name, reason, user, new)
    if isinstance(found, Merge):
        way = _BySettings(found)
        named, judged, fresh, gone = found.three.format.name, found.judged, found.fresh, found.gone
        return FileMerge(name, named, judged, fresh, gone, None, user, new, whole, texts[_NEW], way)
    old = texts[_OLD].text if _OLD in texts else None
    lines = LineMerge(old, texts[_YOURS].text, texts[_NEW].text)
    return FileMerge(
        name, "lines", lines.judged, (), (), None, user, new, whole, texts[_NEW], lines
    )


def _trivial(base: bytes | None, user: bytes, new: bytes) -> bytes | None:
    """The result where two of the three are the same."""
    if user in (base, new):
        return new
    return user if base == new else None


def _refused(name: str, reason: str, user: bytes, new: bytes) -> FileMerge:
    choices = (Choice.YOURS, Choice.NEW, Choice.VALUE)
    judged = Judged((), Verdict.REFUSED, reason, choices=choices)
    return FileMerge(name, None, (judged,), refused=reason, _user=user, _new=new)


def _by_format(name: str, texts: dict[str, Text], trivial: bool, named: str | None) -> Merge | None:
    """The merge by settings; None where the texts are of no one format.  Raises Unmergeable."""
    format = known(named) if named else detect(name, texts[_NEW].text)
    format = format or detect(name, texts[_YOURS].text)
    if format is None:
        return None
    read = {}
    for whose, text in texts.items():
        try:
            read[whose] = format.read(text.text)
        except Unreadable as why:
            other = detect(name, text.text)
            if not named and (other is None or other.name != format.name):
                return None
            raise Unmergeable(f"{whose}, {why}") from why
    try:
        found = merge(read.get(_OLD), read[_YOURS], read[_NEW], format)
    except Unreadable as why:
        raise Unmergeable(str(why)) from why
    if trivial:
        return found
    if reason := unseen(found.three):
        raise Unmergeable(f"{_YOURS} has changes that are no settings: {reason}")
    found = settled(found)
    if found.proven is None and (reason := unprovable(found.three)):
        raise Unmergeable(reason)
    return found
