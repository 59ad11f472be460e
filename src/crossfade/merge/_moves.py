"""Where a setting went that the new version does not have in its old place.

Never by its name alone: the value or the neighbours must agree, and it is asked about all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.merge._text import clean_merge
from crossfade.merge._types import Document, Format, Path, Put, Unreadable
from crossfade.merge._values import same

__all__ = ["Moved", "moved_to"]


@dataclass(frozen=True, slots=True)
class Moved:
    """A destination.  certain: a merge by lines puts the value there as well."""

    path: Path
    certain: bool


def moved_to(
    format: Format, base: Document, user: Document, new: Document, path: Path
) -> Moved | None:
    """The place in the new text that seems to be this setting's; None where none or several do."""
    scores = {
        other: _agreement(base, new, path, other)
        for other in new.settings
        if other[-1] == path[-1] and other not in base.settings and other not in base.commented
    }
    best = max(scores.values(), default=0)
    found = [other for other, score in scores.items() if score == best]
    if best == 0 or len(found) != 1 or found[0] in user.settings:
        return None
    return Moved(found[0], _by_lines(format, base, user, new, path, found[0]))


def _agreement(base: Document, new: Document, path: Path, other: Path) -> int:
    """How many things speak for it: the value, and the neighbours that went the same way."""
    before = base.settings.get(path)
    default = before.raw if before else base.commented[path].raw
    value = before is not None and same(before.value, new.settings[other].value)
    neighbours = sum(
        1
        for near in base.settings
        if near != path
        and near[:-1] == path[:-1]
        and near not in new.settings
        and (*other[:-1], near[-1]) in new.settings
        and (*other[:-1], near[-1]) not in base.settings
    )
    return neighbours + (value or default.strip() == new.settings[other].raw.strip())


def _by_lines(
    format: Format, base: Document, user: Document, new: Document, path: Path, other: Path
) -> bool:
    """Whether this one change, made to the old stock text and merged by lines, arrives there."""
    try:
        changed = format.edited(base, [Put(path, user)])
        text = clean_merge(base.text, changed, new.text)
        if text is None:
            return False
        result = format.read(text)
    except Unreadable:
        return False
    here = result.settings.get(other)
    return (
        path not in result.settings
        and here is not None
        and same(here.value, user.settings[path].value)
    )
