"""Carry the old side's configuration: read, rewrite by key, prove, show.  Changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from crossfade.configuration import _mask, _residue, _running
from crossfade.configuration._conditions import applies, readings
from crossfade.configuration._decisions import Decision
from crossfade.configuration._includes import included
from crossfade.configuration._judge import Judge
from crossfade.configuration._mute import overlaid
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import Change, ParsedFile, apply
from crossfade.configuration._places import Reader, Reads, locate, mapped, references, translate
from crossfade.configuration._prove import identity, kept_keys, prove_file
from crossfade.configuration._twice import differ_by_places
from crossfade.model import Finding, Installation
from crossfade.ports import Judgement, Rendering, RunSetting
from crossfade.recipes import (
    ConfigurationSpec,
    EffectSpec,
    Fingerprints,
    MuteSpec,
    Recipe,
    RewriteSpec,
)

__all__ = ["CarriedConfiguration", "facts"]

_SECRET_MODE = 0o600
_MODE = 0o640


@dataclass(frozen=True, slots=True)
class _Source:
    """One file of the old side; key says where its path was found."""

    spec: ConfigurationSpec
    path: Path
    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Carried:
    """One file as it goes to the new side, with its proof and what may be shown of it."""

    path: Path
    data: bytes
    mode: int
    difference: str
    findings: tuple[Finding, ...]
    texts: tuple[_residue.Text, ...]
    settings: tuple[Judgement, ...] = ()
    merged: bool = False


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
        turned = CarriedConfiguration(self._recipe, final, self._host)

        def moved(spec: ConfigurationSpec, file: ParsedFile) -> ParsedFile:
            text = apply(file.text, turned._changes(spec, file, rehearsed)[0])
            return parse(spec.format, file.path, file.encoded(text))

        return differ_by_places(one, two, specs, mutes, moved)

    def _render(self, new: Installation, reader: Reader, *, muted: bool) -> Rendering:
        carried: dict[str, _Carried] = {}
        sources: dict[str, str] = {}
        found_by: dict[str, str] = {}
        formats: dict[str, str] = {}
        originals: dict[str, bytes] = {}
        settings: list[Judgement] = []
        for source in self._sources(reader):
            originals[str(source.path)] = source.data
            path = mapped(source.path, self._old, new, source.key)
            carried[str(path)] = self._carry(source, path, new, reader)
            sources[str(path)], found_by[str(path)] = str(source.path), source.key
            formats[str(path)] = source.spec.format
            if self._judge:
                spec, file = source.spec, carried[str(path)]
                texts = (source.data, file.data)
                settings += self._judge.told(spec, file.settings, source.path, texts)
        running = self._running(new) if self._judge else ()
        plain = Rendering(
            files={path: (file.data, file.mode) for path, file in carried.items()}
            | {path: (data, _SECRET_MODE) for path, data in self._also(new).items()},
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
        named = self._by_name(plain.files, sources)
        paths = {name: path for name, (path, _) in named.items()}
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
        read = readings(self._by_name(rendering.files, rendering.sources))
        return [
            effect
            for effect in self._recipe.effects
            if applies(effect.when, effect.unless, read, unreadable=True)
        ]

    def _sources(self, reader: Reader) -> list[_Source]:
        found: dict[Path, _Source] = {}
        for spec in self._recipe.configuration:
            places = references(spec.path_from, self._old, reader)
            if not places and spec.path:
                places = [(spec.path, str(self._old.config / spec.path))]
            for key, text in places:
                path = Path(text)
                if path not in found:
                    found[path] = _Source(spec, path, key, reader.read(path))
        return list(found.values())

    def _carry(self, source: _Source, path: Path, new: Installation, reader: Reader) -> _Carried:
        if source.spec.format == "opaque":
            return self._carry_opaque(source, path)
        yours = old_file = reader.parsed(source.path, source.spec.format)
        merged = self._judge and self._judge.merged(source.spec, source.path, source.data, reader)
        if merged and merged.data is not None:
            old_file = parse(source.spec.format, source.path, merged.data)
        changes, missing = self._changes(source.spec, old_file, new)
        data = old_file.encoded(apply(old_file.text, changes))
        new_file = parse(source.spec.format, path, data)
        settings = merged.settings if merged else ()
        keys = source.spec.identity if isinstance(source.spec.identity, tuple) else ()
        shown = {each.found.key for each in changes} - _passwords(source.spec, old_file)
        secret = _mask.holds_secret(old_file)
        return _Carried(
            path=path,
            data=data,
            mode=_SECRET_MODE if secret else _MODE,
            difference=_mask.difference(yours, new_file, shown, self._fingerprints),
            findings=(
                *prove_file(old_file, new_file, changes),
                *missing,
                *identity(yours, new_file, kept_keys(keys, yours, settings), self._fingerprints),
                *(self._whole(source, path, data) if source.spec.identity is True else ()),
            ),
            texts=tuple(_residue.texts(new_file)),
            settings=settings,
            merged=bool(merged and merged.data is not None),
        )

    def _carry_opaque(self, source: _Source, path: Path) -> _Carried:
        return _Carried(
            path=path,
            data=source.data,
            mode=_SECRET_MODE,
            difference=_mask.opaque_difference(source.path, path, source.data, self._fingerprints),
            findings=self._whole(source, path, source.data),
            texts=tuple(_residue.opaque_texts(path, source.data)),
        )

    def _whole(self, source: _Source, path: Path, data: bytes) -> tuple[Finding, ...]:
        before, after = (self._fingerprints.of(each) for each in (source.data, data))
        claim = f"{path.name}: the whole file came over unchanged"
        return (Finding.equal(claim, before, after, str(path)),)

    def _changes(
        self, spec: ConfigurationSpec, file: ParsedFile, new: Installation
    ) -> tuple[list[Change], list[Finding]]:
        """What to change, and a finding for each required rule.  The first rule that knows a value
        decides about it, also when it stays."""
        changes: dict[int, Change] = {}
        decided: set[tuple[str, int]] = set()
        findings = []
        for rule in spec.rewrite:
            matched = 0
            for found in file.find(rule.key):
                value = translate(rule, found, self._old, new)
                if value is None:
                    continue
                matched += 1
                place = found.key, found.start
                if place not in decided and value != _plain_value(found.text, value):
                    made = file.change(found, value)
                    changes.setdefault(made.start, made)
                decided.add(place)
            if rule.required and not _needless(rule, file, self._old, new):
                findings.append(self._required(file, rule.key, rule.to, matched))
        return list(changes.values()), findings

    def _required(self, file: ParsedFile, key: str, to: str, matched: int) -> Finding:
        places = ", ".join(f"{file.path.name}:{found.line} {found.key}" for found in file.find(key))
        return Finding(
            f"{file.path.name}: {key} has the old side's {to}",
            "at least once",
            f"{matched} times; looked at {places or 'nothing: the key is not set'}",
            str(file.path),
            matched > 0,
        )

    def _findings(
        self,
        carried: Mapping[str, _Carried],
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


def _passwords(spec: ConfigurationSpec, file: ParsedFile) -> set[str]:
    """Keys that are rewritten, but never shown."""
    secret = ("database-password", "database-url")
    rules = [rule for rule in spec.rewrite if rule.to in secret]
    return {found.key for rule in rules for found in file.find(rule.key)}


def _needless(rule: RewriteSpec, file: ParsedFile, old: Installation, new: Installation) -> bool:
    """Rules for a database on a server say nothing where it is a file.  A key that is not set is
    fine where the value is the same for both sides: what is left to a default stays so."""
    if not rule.to.startswith("database-") or rule.to == "database-url":
        return False
    before, after = old.databases.get(rule.database), new.databases.get(rule.database)
    if before is None or after is None:
        return True
    kind = rule.to.removeprefix("database-")
    if kind == "password" or file.find(rule.key):
        return False
    name = "database" if kind == "name" else kind
    return before.variables()[name] == after.variables()[name]


def _plain_value(text: object, like: str | int) -> object:
    """The old value in the type of the new one, to see whether there is a change at all."""
    try:
        return int(str(text)) if isinstance(like, int) else text
    except ValueError:
        return None
