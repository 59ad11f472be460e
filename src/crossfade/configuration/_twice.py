"""Two renderings of one set of decisions, held against each other: the rehearsal's and the
cutover's may differ by the sides' places and by the rehearsal's mutes, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossfade.configuration._document import YamlFile, model
from crossfade.configuration._places import translate
from crossfade.configuration._prove import same
from crossfade.errors import UsageError
from crossfade.model import Finding, Installation
from crossfade.ports import Rendering
from crossfade.recipes import ConfigurationSpec, MuteSpec

__all__ = ["differ_by_places"]

_Keys = tuple[object, ...]
_NOT_THERE = object()


def differ_by_places(
    rehearsal: tuple[Rendering, Installation],
    cutover: tuple[Rendering, Installation],
    specs: Mapping[str, ConfigurationSpec],
    mutes: Mapping[str, Sequence[MuteSpec]],
) -> Finding:
    """Every setting of both, compared: one that differs is a place of the new side (the recipe's
    own rule turns the cutover's value into the rehearsal's) or has just what a mute says.

    specs and mutes are those of a file by its path on the old side.  Names keys, quotes no value.
    """
    one, two = (
        {source: (path, rendering.files[path][0]) for path, source in rendering.sources.items()}
        for rendering, _ in (rehearsal, cutover)
    )
    left_out = {Path(mute.file).name for mute in rehearsal[0].mutes if not mute.key}
    wrong: list[str] = []
    places = muted = 0
    for source, (path, data) in two.items():
        name = Path(source).name
        if source not in one:
            muted += 1
            wrong += [] if name in left_out else [f"{name} (only in the cutover)"]
            continue
        if specs[source].format == "opaque":
            wrong += [] if one[source][1] == data else [name]
            continue
        pair = YamlFile(Path(one[source][0]), one[source][1]), YamlFile(Path(path), data)
        ours = mutes.get(source, ())
        wrong += [f"{name} {mute.key} (not muted)" for mute in ours if not _has(pair[0], mute)]
        sides = cutover[1], rehearsal[1]
        for keys, value in _differences(*pair):
            if any(_is_muted(keys, value, mute) for mute in ours):
                muted += 1
            elif _is_place(keys, value, pair[1], specs[source], sides):
                places += 1
            else:
                wrong.append(f"{name} {'.'.join(map(str, keys))}")
    wrong += [f"{Path(source).name} (only in the rehearsal)" for source in one.keys() - two.keys()]
    seen = f"nothing else ({places} places, {muted} muted)"
    return Finding(
        "the cutover's configuration differs from the rehearsal's by places and mutes only",
        "nothing else",
        f"also: {', '.join(wrong)}" if wrong else seen,
        "every setting of both renderings",
        not wrong,
    )


def _differences(one: YamlFile, two: YamlFile) -> Iterator[tuple[_Keys, object]]:
    """Where the settings differ, with the first file's value there."""
    first, second = (dict(_leaves((), model(file.path, file.text))) for file in (one, two))
    for keys in {**first, **second}:
        value = first.get(keys, _NOT_THERE)
        if not same(value, second.get(keys, _NOT_THERE)):
            yield keys, value


def _leaves(keys: _Keys, value: Any) -> Iterator[tuple[_Keys, object]]:
    """Every value that holds no other one, by the way to it."""
    inner: Sequence[tuple[object, object]] = ()
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    if not inner:
        yield keys, value
    for key, each in inner:
        yield from _leaves((*keys, key), each)


def _is_muted(keys: _Keys, value: object, mute: MuteSpec) -> bool:
    """Whether the rehearsal has there exactly what the mute says.  What is around a muted setting
    may come to be, or be empty then."""
    names, at = [str(key) for key in keys], mute.key.split(".")
    if len(names) < len(at):
        return names == at[: len(names)] and (value is _NOT_THERE or value in (None, {}, []))
    if names[: len(at)] != at:
        return False
    said: Any = _NOT_THERE if mute.drop else mute.value
    for name in names[len(at) :]:
        said = _below(said, name)
    return said is value or same(said, value)


def _has(file: YamlFile, mute: MuteSpec) -> bool:
    """Whether the rehearsal's file has what the mute says."""
    found: Any = model(file.path, file.text)
    for name in mute.key.split("."):
        found = _below(found, name)
    said = _NOT_THERE if mute.drop else mute.value
    return found is said or same(found, said)


def _below(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name, _NOT_THERE)
    if isinstance(value, list) and name.isdigit() and int(name) < len(value):
        return value[int(name)]
    return _NOT_THERE


def _is_place(
    keys: _Keys,
    value: object,
    file: YamlFile,
    spec: ConfigurationSpec,
    sides: tuple[Installation, Installation],
) -> bool:
    """Whether a rule of the recipe turns the cutover's value, in its file, into this one."""
    for rule in spec.rewrite:
        for found in file.find(rule.key):
            if found.keys != keys:
                continue
            try:
                translated = translate(rule, found, *sides)
            except UsageError:
                return False
            if translated is not None:
                return same(translated, value)
    return False
