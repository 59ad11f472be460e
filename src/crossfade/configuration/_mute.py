"""The rehearsal's overlay: settings that silence what the application does to the outside.

It is put on top of a rendering that is merged and rewritten already, by editing spans of its text;
the cutover's rendering never sees it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import yaml

from crossfade.configuration import _mask
from crossfade.configuration._parse import parse
from crossfade.errors import Failed
from crossfade.merge._types import Document, Drop, Edit, Format, Put, Unreadable
from crossfade.merge.formats import known
from crossfade.model import Finding
from crossfade.ports import Muted, Rendering
from crossfade.recipes import EffectSpec, Fingerprints, MuteSpec

__all__ = ["overlaid"]

_Path = tuple[str, ...]


class _Edited(NamedTuple):
    """A text with its mutes; changed are those that were not so before."""

    text: str
    changed: tuple[MuteSpec, ...]


def overlaid(
    rendering: Rendering,
    effects: Sequence[EffectSpec],
    named: Mapping[str, str],
    found_by: Mapping[str, str],
    formats: Mapping[str, str],
    fingerprints: Fingerprints,
) -> Rendering:
    """The rendering with the mutes of ``effects`` in its files, their proof, and the difference.

    named has the files' paths by the names that a recipe has for them; found_by the file and key
    of the configuration where each path was read; formats what each is.  A file that only a setting
    names which is taken out is left out with it.  A mute that cannot be written makes a finding
    that does not hold."""
    files = dict(rendering.files)
    findings, shown, said = list(rendering.findings), [rendering.difference], list[Muted]()
    for name, path in named.items():
        wanted = [(one, mute) for one in effects for mute in one.mute if mute.file == name]
        if not wanted or path not in files:
            continue
        data, mode = files[path]
        try:
            edited = _edited(formats[path], data.decode(), [mute for _, mute in wanted])
        except (Unreadable, UnicodeDecodeError) as refusal:
            findings.append(_impossible(path, refusal))
            continue
        after = edited.text.encode()
        files[path] = (after, mode)
        findings.append(_proven(path, edited.changed))
        shown.append(_difference(formats[path], path, data, after, fingerprints))
        said += [Muted(o.name, name, m.key, m.drop) for o, m in wanted if m in edited.changed]
    for path, effect in _orphans(effects, found_by).items():
        if path in files:
            del files[path]
            shown.append(f"--- {path}\n+++ (not in the rehearsal)\n")
            said.append(Muted(effect, Path(path).name, "", True))
    return replace(
        rendering,
        files=files,
        difference="".join(shown),
        findings=tuple(findings),
        mutes=tuple(said),
        sources={path: source for path, source in rendering.sources.items() if path in files},
    )


def _edited(format: str, text: str, mutes: Iterable[MuteSpec]) -> _Edited:
    """What is to go is taken out first, so that no value stands where a part is to be.

    Raises Unreadable where a text cannot be edited without doubt, or an edit cannot be proven."""
    form: Format = known(format)
    document = form.read(text)
    itself = form.edited(document, [Put(each, document) for each in document.settings])
    if itself != text:
        raise Unreadable(1, "writing every value over itself gives other bytes")
    wanted = {mute.key: mute for mute in mutes}
    drops: list[Edit] = []
    changed = []
    puts: list[Document] = []
    for mute in wanted.values():
        source = None if mute.drop else _source(form, mute)
        if _is_so(document, mute, source):
            continue
        changed.append(mute)
        drops += _goes(document, mute, source)
        if source is not None:
            puts.append(source)
    between = _proved(form, document, list(dict.fromkeys(drops)))
    edits = [Put(each, source) for source in puts for each in source.settings]
    return _Edited(_proved(form, between, edits).text, tuple(changed))


def _proved(form: Format, document: Document, edits: Sequence[Edit]) -> Document:
    """The document with its edits, read again: by the parser that finds spans, and by another."""
    after = form.edited(document, edits)
    wrong = form.mismatch(document, after, edits)
    if wrong:
        raise Unreadable(1, wrong)
    return form.read(after)


def _source(form: Format, mute: MuteSpec) -> Document:
    """A text that has nothing but the muted setting.  Raises Unreadable for a format in which we
    make none."""
    *around, last = mute.key.split(".")
    value: object = {last: mute.value}
    for name in reversed(around):
        value = {name: value}
    if form.name == "yaml":
        return form.read(yaml.safe_dump(value, allow_unicode=True))
    if form.name == "json":
        return form.read(json.dumps(value))
    written = json.dumps(mute.value) if form.name == "toml" else _plain(mute.value)
    section = f"[{'.'.join(around)}]\n" if around else ""
    lines = {
        **dict.fromkeys(("toml", "ini", "mycnf"), f"{section}{last} = {written}\n"),
        "properties": f"{mute.key}={written}\n",
        "env": f"{mute.key}={shlex.quote(written)}\n",
    }
    if form.name not in lines:
        raise Unreadable(1, f"a setting of the format {form.name} is not muted")
    return form.read(lines[form.name])


def _plain(value: object) -> str:
    """As most programs take it that know nothing but text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _below(document: Document, key: str) -> list[_Path]:
    return [path for path in document.settings if f"{'.'.join(path)}.".startswith(f"{key}.")]


def _is_so(document: Document, mute: MuteSpec, source: Document | None) -> bool:
    """Whether nothing is to be done."""
    there = _below(document, mute.key)
    if source is None:
        return not there
    was = {path: document.settings[path].value for path in there}
    return was == {path: setting.value for path, setting in source.settings.items()}


def _goes(document: Document, mute: MuteSpec, source: Document | None) -> Iterator[Drop]:
    """What the mute takes out: the key with all below it, or what is in its value's way."""
    kept = source.settings if source else ()
    yield from (Drop(path) for path in _below(document, mute.key) if path not in kept)
    if source is not None:
        ways = ((path, f"{'.'.join(path)}.") for path in document.settings)
        yield from (Drop(path) for path, way in ways if mute.key.startswith(way))


def _orphans(effects: Iterable[EffectSpec], found_by: Mapping[str, str]) -> dict[str, str]:
    """Files that a setting names which is taken out, each with the effect."""
    return {
        path: effect.name
        for effect in effects
        for mute in effect.mute
        for path, place in found_by.items()
        if mute.drop and f"{place}.".startswith(f"{mute.file} {mute.key}.")
    }


def _proven(path: str, changed: Iterable[MuteSpec]) -> Finding:
    keys = ", ".join(mute.key for mute in changed)
    claim = f"{Path(path).name}: another parser reads the rendering with exactly its mutes"
    return Finding(claim, keys or "none", "exactly these", path, True)


def _impossible(path: str, refusal: Unreadable | UnicodeDecodeError) -> Finding:
    why = str(refusal) if isinstance(refusal, Unreadable) else "it is not UTF-8 text"
    claim = f"{Path(path).name}: the mutes can be written and proven"
    return Finding(claim, "yes", f"no: {why}", path, False)


def _difference(
    format: str, path: str, before: bytes, after: bytes, fingerprints: Fingerprints
) -> str:
    try:
        was, now = (parse(format, Path(path), data) for data in (before, after))
    except Failed:
        return f"--- {path}\n+++ {path} (muted)\n"
    now.path = Path(f"{path} (muted)")
    return _mask.difference(was, now, (), fingerprints)
