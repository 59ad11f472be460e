"""Carry the old side's configuration: read, rewrite by key, prove, show.  Changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from crossfade.configuration import _residue, _running
from crossfade.configuration._carry import SECRET_MODE, CarriedFile, Carrier, Source
from crossfade.configuration._conditions import applies, readings
from crossfade.configuration._decisions import Decision
from crossfade.configuration._includes import included
from crossfade.configuration._judge import Judge
from crossfade.configuration._mute import overlaid
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import ParsedFile, apply
from crossfade.configuration._places import Reader, Reads, locate, mapped, references
from crossfade.configuration._twice import differ_by_places
from crossfade.errors import UsageError
from crossfade.model import Finding, Installation
from crossfade.ports import Judgement, Rendering, RunSetting
from crossfade.recipes import ConfigurationSpec, EffectSpec, Fingerprints, MuteSpec, Recipe

__all__ = ["CarriedConfiguration", "facts"]


def facts(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file, for the plan's world: it tells a change, and gives nothing away but
    of a file that holds nothing more than a guessable secret."""
    return {name: f"sha256:{sha256(data).hexdigest()}" for name, data in sorted(files.items())}


class CarriedConfiguration:
    """Implements ``ports.Configuration`` for the files that a recipe names.

    host needs to read files only.  also gives files of ours that go with them, by their paths, and
    are not shown.  judge merges those files whose stock is known into the new version's; without
    it, and while one of its questions is open, a file is the old side's, whole.  running says how
    the old program is run besides, and what becomes of it (with a judge only).  Modes: files that
    hold anything like a secret get 0600, the others 0640, whatever they were.  Fingerprints can be
    compared within one instance only.  final is the new side as the cutover has it, of which
    a rehearsal's is a copy.
    """

    def __init__(
        self,
        recipe: Recipe,
        old: Installation,
        host: Reads,
        also: Callable[[Installation], Mapping[str, bytes]] = lambda new: {},
        judge: Judge | None = None,
        final: Installation | None = None,
        running: Callable[[Installation], Sequence[RunSetting]] = lambda new: (),
    ) -> None:
        self._recipe = recipe
        self._also = also
        self._old = old
        self._host = host
        self._judge = judge
        self._final = final
        self._running = running
        self._fingerprints = Fingerprints(secrets.token_bytes(32))

    def originals(self) -> dict[str, bytes]:
        """Every configuration file of the old side, by its path there.  Raises Failed."""
        return {str(source.path): source.data for source in self._sources(Reader(self._host))}

    def render(self, new: Installation, *, muted: bool = False) -> Rendering:
        """Read the old side's files and rewrite what must differ.  Changes nothing.

        muted: with what silences the effects that are active, as a rehearsal has it.  files is
        keyed by the absolute path on the new side.  Raises Failed for a file that cannot be read or
        carried, UsageError for one that has no place on the new side.
        """
        return self._render(new, Reader(self._host), muted=muted)

    def agrees(self, rehearsed: Installation, *, muted: bool) -> Finding:
        """The finding that the rehearsal's rendering and the cutover's, of the same files, differ
        by places and mutes only."""
        reader = Reader(self._host)
        final = self._final or rehearsed
        one = self._render(rehearsed, reader, muted=muted)
        two = self._render(final, reader, muted=False)
        specs = {str(source.path): source.spec for source in self._sources(reader)}
        mutes: dict[str, list[MuteSpec]] = {source: [] for source in specs}
        for mute in (mute for effect in self._active(two) for mute in effect.mute if muted):
            mutes.get(str(self._old.config / mute.file), []).append(mute)
        turned = Carrier(final, None, self._fingerprints)

        def moved(spec: ConfigurationSpec, file: ParsedFile) -> ParsedFile:
            text = apply(file.text, turned.changes(spec, file, rehearsed)[0])
            return parse(spec.format, file.path, file.encoded(text))

        return differ_by_places(one, two, specs, mutes, moved)

    def _render(self, new: Installation, reader: Reader, *, muted: bool) -> Rendering:
        carried: dict[str, CarriedFile] = {}
        sources: dict[str, str] = {}
        found_by: dict[str, str] = {}
        formats: dict[str, str] = {}
        originals: dict[str, bytes] = {}
        settings: list[Judgement] = []
        carrier = Carrier(self._old, self._judge, self._fingerprints)
        for source in self._sources(reader):
            originals[str(source.path)] = source.data
            path = mapped(source.path, self._old, new, source.key)
            carried[str(path)] = carrier.carried(source, path, new, reader)
            sources[str(path)], found_by[str(path)] = str(source.path), source.key
            formats[str(path)] = source.spec.format
            if self._judge:
                spec, file = source.spec, carried[str(path)]
                texts = (source.data, file.data)
                settings += self._judge.told(spec, file.settings, source.path, texts)
        running = self._running(new) if self._judge else ()
        plain = Rendering(
            files={path: (file.data, file.mode) for path, file in carried.items()}
            | {path: (data, SECRET_MODE) for path, data in self._also(new).items()},
            difference="".join(file.difference for file in carried.values()),
            findings=(
                *self._findings(carried, sources, reader, new, running),
                included(originals, self._old, reader),
            ),
            sources=sources,
            settings=(*settings, *(self._judge.running(running) if self._judge else ())),
            merged=frozenset(path for path, file in carried.items() if file.merged),
            originals=originals,
        )
        if not muted:
            return plain
        named = self._by_name(plain.files, sources)  # among them files of ours, of no format
        paths = {name: path for name, (path, _) in named.items() if path in formats}
        kinds = {name: formats[path] for name, path in paths.items()}
        active = self._active(plain)
        return overlaid(plain, active, paths, kinds, found_by, self._fingerprints)

    def ask(self, settings: Iterable[Judgement]) -> Path:
        """Write the questions down where they can be answered; that file."""
        assert self._judge  # noqa: S101 - nobody else asks
        return self._judge.write(settings)

    def answer(
        self, settings: Iterable[Judgement], about: Judgement, choice: str, value: object = None
    ) -> None:
        """Write one answer down; settings are all of the rendering."""
        assert self._judge  # noqa: S101 - nobody else asks
        given = Decision(choice, value, about.binding, about.file, about.setting)
        self._judge.answer(settings, given)

    def take_back(self, settings: Iterable[Judgement], setting: str = "") -> list[str]:
        """Take answers back; settings are all of the rendering, the result those that had one."""
        return self._judge.take_back(settings, setting) if self._judge else []

    def active_effects(self, rendering: Rendering) -> tuple[str, ...]:
        """The recipe's effects, each as "name: what", that this configuration leaves active.

        An effect that asks about a file which is missing or broken is active."""
        return tuple(f"{effect.name}: {effect.what}" for effect in self._active(rendering))

    def _active(self, rendering: Rendering) -> list[EffectSpec]:
        read = readings(self._by_name(rendering.files, rendering.sources), rendering.variables)
        return [
            effect
            for effect in self._recipe.effects
            if applies(effect.when, effect.unless, read, unreadable=True)
        ]

    def _sources(self, reader: Reader) -> list[Source]:
        found: dict[Path, Source] = {}
        for spec in self._recipe.configuration:
            places = references(spec.path_from, self._old, reader)
            if not places and spec.path:
                places = [(spec.path, str(self._old.config / spec.path))]
            for key, text in places:
                path = Path(text)
                if path not in found:
                    found[path] = Source(spec, path, key, reader.read(path))
                elif spec.format == found[path].spec.format:
                    found[path] = replace(found[path], spec=found[path].spec.with_rules(spec))
                elif spec.rewrite:
                    raise _two_formats(path, found[path].spec.format, spec.format)
        return list(found.values())

    def _findings(
        self,
        carried: Mapping[str, CarriedFile],
        sources: Mapping[str, str],
        reader: Reader,
        new: Installation,
        running: Sequence[RunSetting],
    ) -> Iterator[Finding]:
        texts = [text for file in carried.values() for text in file.texts]
        texts += _running.texts(running)
        yield from _running.old_servers(running, self._old, new)
        for file in carried.values():
            yield from file.findings
        for database in self._recipe.databases:
            if database.name in self._old.databases:
                yield from _residue.no_server(texts, database.name, self._old, new)
                continue
            place = locate(database, self._old, reader)
            if new.host == self._old.host or mapped(place, self._old, new) != place:
                yield _residue.no_database(texts, database.name, place)
        yield _residue.residue(texts, self._old, new)
        files = {path: (file.data, file.mode) for path, file in carried.items()}
        read = readings(self._by_name(files, sources))
        for requirement in self._recipe.requires:
            holds = applies(requirement.when, requirement.unless, read, unreadable=False)
            keys = {condition.key for condition in (*requirement.when, *requirement.unless)}
            claim = f"the recipe fits: {requirement.what}"
            source = ", ".join(sorted(keys))
            yield Finding(claim, "yes", "yes" if holds else "no", source, holds)

    def _by_name(
        self, files: Mapping[str, tuple[bytes, int]], sources: Mapping[str, str]
    ) -> dict[str, tuple[str, bytes]]:
        """The files by the names that a recipe's conditions use: relative to {config}."""
        named = {}
        for path, (data, _) in files.items():
            source = Path(sources.get(path, path))
            if source.is_relative_to(self._old.config):
                named[str(source.relative_to(self._old.config))] = (path, data)
        return named


def _two_formats(path: Path, first: str, second: str) -> UsageError:
    return UsageError(
        "configuration-format",
        f"{path.name} is to be read as {first} and as {second}, so the rules of one would be lost.",
        where=f"{path}; what the recipe and crossfade.yaml say of it",
        next="edit crossfade.yaml, then: crossfade plan",
    )
