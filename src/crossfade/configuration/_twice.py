"""Two renderings of one set of decisions, held against each other: the rehearsal's and the
cutover's may differ by the sides' places and by the rehearsal's mutes, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade.configuration._document import YamlFile, model
from crossfade.configuration._format_file import FormatFile
from crossfade.configuration._mute_text import below, exact, source
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import ParsedFile, same
from crossfade.merge.formats import known
from crossfade.model import Finding
from crossfade.ports import Rendering
from crossfade.recipes import ConfigurationSpec, MuteSpec

__all__ = ["differ_by_places"]

_Keys = tuple[object, ...]
_NOT_THERE = object()


def differ_by_places(
    rehearsal: Rendering,
    cutover: Rendering,
    specs: Mapping[str, ConfigurationSpec],
    mutes: Mapping[str, Sequence[MuteSpec]],
    moved: Callable[[ConfigurationSpec, ParsedFile], ParsedFile],
) -> Finding:
    """Every setting of both, compared: one that differs is a place of the new side, or has just
    what a mute says; and every mute is there.

    specs and mutes are those of a file by its path on the old side.  moved gives a cutover's
    file with the rehearsal's places.  Names keys, quotes no value."""
    one, two = (
        {source: (path, rendering.files[path][0]) for path, source in rendering.sources.items()}
        for rendering in (rehearsal, cutover)
    )
    left_out = {Path(mute.file).name for mute in rehearsal.mutes if not mute.key}
    wrong = [f"{Path(source).name} (only in the rehearsal)" for source in one.keys() - two.keys()]
    places = muted = 0
    for old, (path, data) in two.items():
        name, spec, ours = Path(old).name, specs[old], mutes.get(old, ())
        if old not in one:
            muted += 1
            wrong += [] if name in left_out else [f"{name} (only in the cutover)"]
            continue
        if spec.format == "opaque":
            wrong += [] if one[old][1] == data else [name]
            continue
        final = parse(spec.format, Path(path), data)
        muted_file = parse(spec.format, Path(one[old][0]), one[old][1])
        there, wanted = _settings(muted_file), _settings(moved(spec, final))
        said = [_said(spec.format, muted_file, final, mute) for mute in ours]
        wrong += [f"{name} {each.key} (not muted)" for each in said if not _has(there, each)]
        for keys, value in _differences(there, _settings(final)):
            if any(_is_muted(keys, value, each) for each in said):
                muted += 1
            elif same(value, wanted.get(keys, _NOT_THERE)):
                places += 1
            else:
                wrong.append(f"{name} {'.'.join(map(str, keys))}")
    seen = f"nothing else ({places} places, {muted} muted)"
    return Finding(
        "the cutover's configuration differs from the rehearsal's by places and mutes only",
        "nothing else",
        f"also: {', '.join(wrong)}" if wrong else seen,
        "every setting of both renderings",
        not wrong,
    )


def _settings(file: ParsedFile) -> dict[_Keys, object]:
    """Every value that holds no other one, by the way to it, as a program reads it."""
    if isinstance(file, YamlFile):
        return dict(_leaves((), model(file.path, file.text)))
    assert isinstance(file, FormatFile)  # noqa: S101 - there is no third kind
    return {path: setting.value for path, setting in file.document.settings.items()}


def _differences(
    one: Mapping[_Keys, object], two: Mapping[_Keys, object]
) -> Iterator[tuple[_Keys, object]]:
    """Where the settings differ, with the first one's value there."""
    for keys in {**one, **two}:
        value = one.get(keys, _NOT_THERE)
        if not same(value, two.get(keys, _NOT_THERE)):
            yield keys, value


def _leaves(keys: _Keys, value: Any) -> Iterator[tuple[_Keys, object]]:
    inner: Sequence[tuple[object, object]] = ()
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    if not inner:
        yield keys, value
    for key, each in inner:
        yield from _leaves((*keys, key), each)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a mute says: the key as the file has it, and every value at and below it; gone are the
    cutover's settings that are not there."""

    key: str
    at: tuple[str, ...]
    values: Mapping[tuple[str, ...], object]
    gone: Collection[_Keys] = ()


def _said(format: str, file: ParsedFile, final: ParsedFile, mute: MuteSpec) -> _Said:
    at = tuple(mute.key.split("."))
    if isinstance(file, FormatFile) and isinstance(final, FormatFile):
        if mute.drop:
            return _Said(mute.key, at, {}, below(final.document, mute.key))
        given = source(known(format), mute).settings
        there = exact(file.document, mute.key)
        if there is not None and len(given) == 1:
            (setting,) = given.values()
            return _Said(mute.key, there, {(): setting.value})
        length = min(map(len, given))
        at = next(iter(given))[:length]
        return _Said(mute.key, at, {path[length:]: each.value for path, each in given.items()})
    values = {} if mute.drop else dict(_leaves((), mute.value))
    return _Said(mute.key, at, {tuple(map(str, keys)): value for keys, value in values.items()})


def _is_muted(keys: _Keys, value: object, said: _Said) -> bool:
    """Whether the rehearsal has there exactly what the mute says.  What is around a muted setting
    may come to be, or be empty then."""
    names, at = tuple(map(str, keys)), said.at
    if keys in said.gone:
        return value is _NOT_THERE
    if len(names) < len(at):
        return names == at[: len(names)] and (value is _NOT_THERE or value in (None, {}, [], ()))
    return names[: len(at)] == at and same(value, said.values.get(names[len(at) :], _NOT_THERE))


def _has(settings: Mapping[_Keys, object], said: _Said) -> bool:
    """Whether a file has what the mute says, and nothing more below its key."""
    at = said.at
    if any(keys in settings for keys in said.gone):
        return False
    found = {tuple(map(str, keys)): value for keys, value in settings.items()}
    there = {names[len(at) :]: v for names, v in found.items() if names[: len(at)] == at}
    return there.keys() == said.values.keys() and all(
        same(there[key], said.values[key]) for key in there
    )
