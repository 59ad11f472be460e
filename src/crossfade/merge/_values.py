"""Compare values, and merge lists of scalars by their items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["empty", "merged_list", "same"]

Items = tuple[Hashable, ...]


def same(one: object, two: object) -> bool:
    """Whether two values are one: of one kind too, for 1, 1.0 and true are three things."""
    if type(one) is not type(two):
        return False
    if type(one) is tuple and type(two) is tuple:
        return len(one) == len(two) and all(map(same, one, two))
    return one == two or (one != one and two != two)


def empty(value: object) -> bool:
    """Whether it is nothing, or a list or section without anything in it."""
    return value is None or (not value and not isinstance(value, str | bytes | int | float))


def merged_list(base: object, user: object, new: object) -> Items | None:
    """The list with both sides' changes, in the new text's order; None where that is not certain.

    It is certain where each side, beside what both did, only added items or only took some out,
    no item stands twice, and what is left of the old list is in its order.  Your items stand behind
    the one that was before them; where the new version added some there too, behind those.
    """
    if type(base) is not tuple or type(user) is not tuple or type(new) is not tuple:
        return None  # what a format derives from a tuple is something else than a list
    lists = [tuple((type(item), item) for item in items) for items in (base, user, new)]
    olds, mine, news = lists
    if any(len(set(items)) != len(items) for items in lists) or not (
        _only_grew_or_shrank(olds, mine, news) and _only_grew_or_shrank(olds, news, mine)
    ):
        return None
    result = [item for item in news if item in mine or item not in olds]
    at, own = 0, False  # own: whether the item before was one of yours
    for item in mine:
        if item in result:
            at, own = result.index(item) + 1, False
        elif item not in olds:
            at = at if own else _after_news(result, at, olds, mine)
            result.insert(at, item)
            at, own = at + 1, True
    return tuple(item for _, item in result)


def _only_grew_or_shrank(olds: Items, one: Items, other: Items) -> bool:
    """Whether that is what ``one`` did and ``other`` did not."""
    kept = [item for item in one if item in olds]
    added = any(item not in olds and item not in other for item in one)
    taken = any(item not in one and item in other for item in olds)
    return kept == [item for item in olds if item in one] and not (added and taken)


def _after_news(result: Sequence[Hashable], at: int, olds: Items, mine: Items) -> int:
    """Behind the items that the new version added at this place."""
    while at < len(result) and result[at] not in olds and result[at] not in mine:
        at += 1
    return at
