"""Two renderings of one set of decisions, held against each other: the rehearsal's and the
cutover's may differ by the sides' places and by the rehearsal's mutes, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from crossfade.configuration._document import leaves_of
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import ParsedFile, same
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
    moved: Callable[[ConfigurationSpec, ParsedFile], str],
) -> Finding:
    """Every setting of both, compared: one that differs is a place of the new side, or has just
    what a mute says; and every mute is there.

    specs and mutes are those of a file by its path on the old side.  moved gives the text of a
    cutover's file with the rehearsal's places.  Names keys, quotes no value."""
    one, two = (
        {source: (path, rendering.files[path][0]) for path, source in rendering.sources.items()}
        for rendering in (rehearsal, cutover)
    )
    left_out = {Path(mute.file).name for mute in rehearsal.mutes if not mute.key}
    wrong = [f"{Path(source).name} (only in the rehearsal)" for source in one.keys() - two.keys()]
    places = muted = 0
    for source, (path, data) in two.items():
        name, spec, ours = Path(source).name, specs[source], mutes.get(source, ())
        if source not in one:
            muted += 1
            wrong += [] if name in left_out else [f"{name} (only in the cutover)"]
            continue
        if spec.format == "opaque":
            wrong += [] if one[source][1] == data else [name]
            continue
        final = parse(spec.format, Path(path), data)
        there = parse(spec.format, Path(one[source][0]), one[source][1]).leaves()
        wanted = parse(spec.format, final.path, final.encoded(moved(spec, final))).leaves()
        wrong += [f"{name} {mute.key} (not muted)" for mute in ours if not _has(there, mute)]
        for keys, value in _differences(there, final.leaves()):
            if any(_is_muted(keys, value, mute) for mute in ours):
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


def _differences(
    one: Mapping[_Keys, object], two: Mapping[_Keys, object]
) -> Iterator[tuple[_Keys, object]]:
    """Where the settings differ, with the first one's value there."""
    for keys in {**one, **two}:
        value = one.get(keys, _NOT_THERE)
        if not same(value, two.get(keys, _NOT_THERE)):
            yield keys, value


def _is_muted(keys: _Keys, value: object, mute: MuteSpec) -> bool:
    """Whether the rehearsal has there exactly what the mute says.  What is around a muted setting
    may come to be, or be empty then."""
    names, at = _names(keys), tuple(mute.key.split("."))
    if len(names) < len(at):
        return names == at[: len(names)] and (value is _NOT_THERE or value in (None, {}, []))
    return names[: len(at)] == at and same(value, _said(mute).get(names[len(at) :], _NOT_THERE))


def _has(settings: Mapping[_Keys, object], mute: MuteSpec) -> bool:
    """Whether a file has what the mute says, and nothing more below its key."""
    at, said = tuple(mute.key.split(".")), _said(mute)
    found = {_names(keys): value for keys, value in settings.items()}
    there = {names[len(at) :]: v for names, v in found.items() if names[: len(at)] == at}
    return there.keys() == said.keys() and all(same(there[key], said[key]) for key in said)


def _said(mute: MuteSpec) -> dict[tuple[str, ...], object]:
    """What the mute says: every value at and below its key; none where that is taken out."""
    if mute.drop:
        return {}
    return {_names(keys): value for keys, value in leaves_of(mute.value).items()}


def _names(keys: _Keys) -> tuple[str, ...]:
    """The way to a value as a recipe's key goes it, also where a name has dots in it."""
    return tuple(".".join(map(str, keys)).split(".")) if keys else ()
