"""The proof for each rendered file: only what was decided has changed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from crossfade.configuration._document import YamlFile, model
from crossfade.configuration._edit import Change, apply
from crossfade.model import Finding
from crossfade.ports import Judgement
from crossfade.recipes import Fingerprints
from crossfade.recipes._yaml import YamlError, compose

__all__ = ["identity", "kept_keys", "prove_file", "same"]


def prove_file(old: YamlFile, new: YamlFile, changes: Sequence[Change]) -> tuple[Finding, ...]:
    """Two findings: the spans are where we think, and the result is the old model as decided."""
    name = new.path.name
    loaded = model(old.path, old.text)
    expected = _decided(loaded, changes)
    holds = same(model(new.path, new.text), expected)
    return (
        Finding.equal(
            f"{name}: writing every value over itself gives the same bytes",
            "the same",
            "the same" if _spans_hold(old, changes) else "other bytes",
            str(old.path),
        ),
        Finding(
            f"{name}: another parser reads the old file with exactly the decided changes",
            f"{len(changes)} changes: {', '.join(_sorted_keys(changes)) or 'none'}",
            "exactly these" if holds else "something else",
            str(new.path),
            holds,
        ),
    )


def identity(
    old: YamlFile, new: YamlFile, keys: Iterable[str], fingerprints: Fingerprints
) -> tuple[Finding, ...]:
    """A finding for each key that must come over unchanged; values only as fingerprints."""
    before, after = (model(file.path, file.text) for file in (old, new))
    return tuple(
        Finding.equal(
            f"{new.path.name}: {key} came over unchanged",
            _fingerprint(old, before, key, fingerprints),
            _fingerprint(new, after, key, fingerprints),
            str(new.path),
        )
        for key in keys
    )


def kept_keys(
    keys: Iterable[str], yours: YamlFile, settings: Iterable[Judgement]
) -> tuple[str, ...]:
    """Those of the identity keys that must come over; not those that the old side never had, and
    about which somebody decided."""
    decided = [".".join(one.setting) + "." for one in settings if one.decided and not one.yours]
    return tuple(
        key
        for key in keys
        if yours.find(key) or not any(name.startswith(f"{key}.") for name in decided)
    )


def same(one: Any, two: Any) -> bool:
    """Equality of plain data that tells 1 from 1.0 and from true, and takes nan for itself."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two or (one != one and two != two))


def _decided(loaded: Any, changes: Iterable[Change]) -> Any:
    result = copy.deepcopy(loaded)
    for change in changes:
        *way, last = change.found.keys
        place = result
        for key in way:
            place = place[key]
        place[last] = change.value
    return result


def _spans_hold(old: YamlFile, changes: Sequence[Change]) -> bool:
    scalars = old.scalars()
    if any(one.end > two.start for one, two in pairwise(scalars)):
        return False
    again = []
    for change in changes:
        text = old.text[change.start : change.end]
        try:
            node = compose(text)
        except YamlError:
            return False
        if node is None or node.value != change.found.node.value:
            return False
        again.append(Change(change.found, change.value, change.start, change.end, text))
    pieces = [old.text[scalar.start : scalar.end] for scalar in scalars]
    return apply(old.text, again) == old.text == _spliced(old, pieces)


def _spliced(old: YamlFile, pieces: Sequence[str]) -> str:
    result = []
    position = 0
    for scalar, piece in zip(old.scalars(), pieces, strict=True):
        result += [old.text[position : scalar.start], piece]
        position = scalar.end
    return "".join([*result, old.text[position:]])


def _fingerprint(file: YamlFile, loaded: Any, key: str, fingerprints: Fingerprints) -> str:
    values = []
    for found in file.find(key):
        value = loaded
        for step in found.keys:
            value = value[step]
        values.append(value)
    return fingerprints.of(values) if values else "not set"


def _sorted_keys(changes: Iterable[Change]) -> list[str]:
    return [change.found.key for change in sorted(changes, key=lambda change: change.start)]
