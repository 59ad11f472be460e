"""Whether a recipe's mutes do what they are for: told when the recipe is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from crossfade.recipes._spec import Condition, EffectSpec, MuteSpec, Recipe
from crossfade.recipes._yaml import Complaint, Document, Keys, dotted

__all__ = ["mute_complaints"]

_UNKNOWN, _ABSENT = object(), object()


def mute_complaints(document: Document, recipe: Recipe) -> Iterator[Complaint]:
    """A complaint for each effect that its own mutes would not silence whatever else is configured,
    for a key that two mutes want differently, for one that makes the site what it is, and for what
    cannot be said of a variable."""
    yield from _variable_complaints(document)
    wanted: dict[tuple[str, str], object] = {}
    for index, effect in enumerate(recipe.effects):
        for number, mute in enumerate(effect.mute):
            keys: Keys = ("effects", index, "mute", number)
            value = _ABSENT if mute.drop else mute.value
            if not _equal(wanted.setdefault(mute.place, value), value):
                yield _complaint(document, keys, "wants this key otherwise than one before")
            if _is_identity(recipe, mute):
                yield _complaint(document, keys, "is an identity key, which must not be changed")
        if effect.mute and not _silenced(effect):
            text = "does not silence its effect: no unless holds then, and some when may hold"
            yield _complaint(document, ("effects", index, "mute"), text)


def _variable_complaints(document: Document) -> Iterator[Complaint]:
    data: Any = document.data
    for index, effect in enumerate(data.get("effects", ())):
        for word in ("when", "unless", "mute"):
            said = effect.get(word, [])
            for number, one in enumerate(said if isinstance(said, list) else [said]):
                more = (number,) if isinstance(said, list) else ()
                keys: Keys = ("effects", index, word, *more)
                text = one.get("value", one.get("equals", ""))
                if "variable" in one and ("file" in one or "key" in one):
                    yield _complaint(document, keys, "is about a variable, so file and key go")
                elif "variable" in one and not isinstance(text, str):
                    yield _complaint(document, keys, "must be text in quotes: variables are text")
    for index, requirement in enumerate(data.get("requires", ())):
        for word in ("when", "unless"):
            said = requirement.get(word, [])
            if any("variable" in one for one in (said if isinstance(said, list) else [said])):
                text = "must ask about a file: what variables there will be is not known beforehand"
                yield _complaint(document, ("requires", index, word), text)


def _complaint(document: Document, keys: Keys, text: str) -> Complaint:
    return Complaint(document.line(keys), dotted(keys), text)


def _silenced(effect: EffectSpec) -> bool:
    """Whether the effect is inactive for certain with its mutes, whatever else there is."""
    if any(_holds(condition, effect.mute) is True for condition in effect.unless):
        return True
    return bool(effect.when) and all(_holds(one, effect.mute) is False for one in effect.when)


def _holds(condition: Condition, mutes: Sequence[MuteSpec]) -> bool | None:
    """Whether a condition holds by what the mutes say of its key; None where they do not say."""
    said = [_said(condition.file, key, mutes) for key in _alternatives(condition.key)]
    if condition.variable:
        said = [_said_of_variable(condition.variable, mutes)]
    if any(value is _UNKNOWN for value in said):
        return None
    there = [value for value in said if value is not _ABSENT]
    if condition.compares:
        return any(_equal(value, condition.equals) for value in there)
    return any(value is not None and value not in ([], {}, "") for value in there)


def _said(file: str, key: tuple[str, ...], mutes: Sequence[MuteSpec]) -> object:
    """What a key will be: a value, absent, or unknown."""
    for mute in mutes:
        at = tuple(mute.key.split("."))
        if mute.file == file and key[: len(at)] == at:
            value: object = _ABSENT if mute.drop else mute.value
            for name in key[len(at) :]:
                value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
            return value
    return _UNKNOWN


def _said_of_variable(name: str, mutes: Sequence[MuteSpec]) -> object:
    return next((mute.value for mute in mutes if mute.variable == name), _UNKNOWN)


def _alternatives(key: str) -> list[tuple[str, ...]]:
    """Every key that one with ``a|b`` in it stands for; ``*`` stays, and is below what is said."""
    return list(product(*(part.split("|") for part in key.split("."))))


def _is_identity(recipe: Recipe, mute: MuteSpec) -> bool:
    if mute.variable:
        return False
    at = mute.key.split(".")
    for spec in recipe.configuration:
        if spec.path != mute.file:
            continue
        if spec.identity is True:
            return True
        for key in spec.identity or ():
            names = key.split(".")
            if at == names[: len(at)] or names == at[: len(names)]:
                return True
    return False


def _equal(one: object, two: object) -> bool:
    return type(one) is type(two) and one == two
