"""The rehearsal's overlay: settings that silence what the application does to the outside.

It is put on top of a rendering that is merged and rewritten already, by editing spans of its text;
the cutover's rendering never sees it.  Variables of the service are only told here: they are in the
environment of the rehearsal's side (``Recipe.muted_variables``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from crossfade.configuration import _mask
from crossfade.configuration._mute_text import below, exact, source
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import ParsedFile
from crossfade.errors import Failed
from crossfade.merge._types import Document, Drop, Edit, Format, Put, Unreadable, Write
from crossfade.merge.formats import known
from crossfade.model import Finding
from crossfade.ports import Muted, Rendering
from crossfade.recipes import EffectSpec, Fingerprints, MuteSpec

__all__ = ["overlaid"]


class _Edited(NamedTuple):
    """A text with its mutes; changed are those that were not so before."""

    text: str
    changed: tuple[MuteSpec, ...]


def overlaid(
    rendering: Rendering,
    effects: Sequence[EffectSpec],
    named: Mapping[str, str],
    formats: Mapping[str, str],
    found_by: Mapping[str, str],
    fingerprints: Fingerprints,
) -> Rendering:
    """The rendering with the mutes of ``effects`` in its files, their proof, and the difference.

    named has the files' paths by the names that a recipe has for them, formats what they are read
    as; found_by the file and key of the configuration where each path was read.  A file that only
    a setting names which is taken out is left out with it.  A mute that cannot be written makes a
    finding that does not hold."""
    files = dict(rendering.files)
    findings, shown, said = list(rendering.findings), [rendering.difference], list[Muted]()
    for name, path in named.items():
        wanted = [(one, mute) for one in effects for mute in one.mute if mute.file == name]
        if not wanted or path not in files or formats.get(name, "opaque") == "opaque":
            continue
        data, mode = files[path]
        form = formats[name]
        try:
            file = parse(form, Path(path), data)
            edited = _edited(form, file, [mute for _, mute in wanted])
        except Unreadable as refusal:
            findings.append(_impossible(path, refusal.reason))
            continue
        except Failed as refusal:
            findings.append(_impossible(path, refusal.what))
            continue
        after = file.encoded(edited.text)
        files[path] = (after, mode)
        findings.append(_proven(path, edited.changed))
        shown.append(_difference(file, parse(form, Path(f"{path} (muted)"), after), fingerprints))
        said += [Muted(o.name, name, m.key, m.drop) for o, m in wanted if m in edited.changed]
    for path, effect in _orphans(effects, found_by).items():
        if path in files:
            del files[path]
            shown.append(f"--- {path}\n+++ (not in the rehearsal)\n")
            said.append(Muted(effect, Path(path).name, "", True))
    by_variable = [(one, mute) for one in effects for mute in one.mute if mute.variable]
    said += [Muted(one.name, *mute.place, taken_out=False) for one, mute in by_variable]
    return replace(
        rendering,
        variables={mute.variable: str(mute.value) for _, mute in by_variable},
        files=files,
        difference="".join(shown),
        findings=tuple(findings),
        mutes=tuple(said),
        sources={path: source for path, source in rendering.sources.items() if path in files},
    )


def _edited(format: str, file: ParsedFile, mutes: Iterable[MuteSpec]) -> _Edited:
    """What is to go is taken out first, so that no value stands where a part is to be.

    Raises Unreadable where a text cannot be edited without doubt, or an edit cannot be proven."""
    form = known(format)
    document = form.read(file.text)
    if not file.spans_hold(()):
        raise Unreadable(1, "writing every value over itself gives other bytes")
    wanted = {mute.key: mute for mute in mutes}
    drops: list[Edit] = []
    changed = []
    puts: list[tuple[MuteSpec, Document]] = []
    for mute in wanted.values():
        given = None if mute.drop else source(form, mute)
        if _is_so(document, mute, given):
            continue
        changed.append(mute)
        drops += _goes(document, mute, given)
        if given is not None:
            puts.append((mute, given))
    between = _proved(form, document, list(dict.fromkeys(drops)))
    edits = [edit for mute, given in puts for edit in _comes(between, mute, given)]
    return _Edited(_proved(form, between, edits).text, tuple(changed))


def _proved(form: Format, document: Document, edits: Sequence[Edit]) -> Document:
    """The document with its edits, read again: by the parser that finds spans, and by another."""
    after = form.edited(document, edits)
    wrong = form.mismatch(document, after, edits)
    if wrong:
        raise Unreadable(1, wrong)
    return form.read(after)


def _is_so(document: Document, mute: MuteSpec, given: Document | None) -> bool:
    """Whether nothing is to be done."""
    there = below(document, mute.key)
    if given is None:
        return not there
    return [document.settings[path].value for path in there] == [
        setting.value for setting in given.settings.values()
    ]


def _goes(document: Document, mute: MuteSpec, given: Document | None) -> Iterator[Drop]:
    """What the mute takes out: the key with all below it, or what is in its value's way."""
    kept = {exact(document, mute.key), *(given.settings if given else ())}
    yield from (Drop(p) for p in below(document, mute.key) if given is None or p not in kept)
    if given is not None:
        for path in given.settings:
            yield from (
                Drop(path[:n]) for n in range(1, len(path)) if path[:n] in document.settings
            )
        there = exact(document, mute.key)
        if there is not None and there not in given.settings and len(given.settings) > 1:
            yield Drop(there)


def _comes(document: Document, mute: MuteSpec, given: Document) -> Iterator[Edit]:
    """As it is written in the file already, if it is: its name may be spelled otherwise there."""
    there = exact(document, mute.key)
    if there is not None and there not in given.settings and len(given.settings) == 1:
        (setting,) = given.settings.values()
        yield Write(there, setting.value)
    else:
        yield from (Put(path, given) for path in given.settings)


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


def _impossible(path: str, why: str) -> Finding:
    claim = f"{Path(path).name}: the mutes can be written and proven"
    return Finding(claim, "yes", f"no: {why}", path, False)


def _difference(before: ParsedFile, after: ParsedFile, fingerprints: Fingerprints) -> str:
    return _mask.difference(before, after, (), fingerprints)
