"""What became of a file's settings in the end, after merging and rewriting: read from what goes to
the new side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from crossfade.merge import Setting, Verdict
from crossfade.merge._types import Format, Unreadable
from crossfade.merge.formats import known as known_format
from crossfade.ports import Judgement

__all__ = ["in_the_end"]

Settings = Mapping[tuple[str, ...], Setting]
Shown = Callable[[tuple[str, ...], str], str]
"""What may be shown of a value, by its setting's names."""

_WHOLE = "the file is taken whole: the new version's own text of it is not known"
_REWRITTEN = "what belongs to a side is the new side's"
_AS_IT_WAS = (Verdict.CARRIED, Verdict.ADDED, Verdict.ALREADY)


def in_the_end(
    judged: Iterable[Judgement],
    source: Path,
    format: str,
    before: bytes,
    after: bytes,
    shown: Shown,
) -> tuple[Judgement, ...]:
    """The verdicts of a file, ``judged`` by the merge or none where it is taken whole; before is
    the old side's, after is what the new side gets, both in this format (``opaque``: not to be
    looked into).  Changes no question."""
    known = tuple(judged)
    both = None if format == "opaque" else _both(known_format(format), before, after)
    if both is None:
        return known or (Judgement(str(source), (), Verdict.CARRIED, _WHOLE),)
    yours, theirs = both
    if not known:
        return tuple(_whole(source, yours, theirs, shown))
    return tuple(_followed(one, yours, theirs, shown) for one in known)


def _both(format: Format, before: bytes, after: bytes) -> tuple[Settings, Settings] | None:
    """The settings of both texts, by the names that the first has for them; None where one cannot
    be read."""
    try:
        document = format.read(before.decode())
        return document.settings, format.aligned(format.read(after.decode()), document).settings
    except (UnicodeDecodeError, Unreadable):
        return None


def _whole(
    source: Path,
    yours: Settings,
    theirs: Settings,
    shown: Shown,
) -> Iterator[Judgement]:
    for path, one in yours.items():
        made = Judgement(
            str(source), path, Verdict.CARRIED, _WHOLE, yours=shown(path, one.raw), line=one.line
        )
        yield _followed(made, yours, theirs, shown)


def _followed(
    one: Judgement,
    yours: Settings,
    theirs: Settings,
    shown: Shown,
) -> Judgement:
    """A verdict, but for a value that was changed after it."""
    names = one.setting
    if names not in yours:  # the merge has the old version's names
        names = next((path for path, s in yours.items() if _is(s, one)), names)
    before, after = yours.get(names), theirs.get(names)
    if one.open or one.verdict not in _AS_IT_WAS or not (before and after):
        return one
    if before.value == after.value:
        return one
    there = shown(one.setting, after.raw)
    return replace(one, verdict=Verdict.REWRITTEN, why=_REWRITTEN, new_default=there)


def _is(setting: Setting, one: Judgement) -> bool:
    """Whether a verdict is about what stands there."""
    return setting.line == one.line and setting.path[-1:] == one.setting[-1:]
