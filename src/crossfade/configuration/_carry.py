"""One file of the old side on its way: merged, rewritten by key, proven, and what may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossfade.configuration import _mask, _residue
from crossfade.configuration._judge import Judge
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import Change, ParsedFile, apply
from crossfade.configuration._places import Reader, translate
from crossfade.configuration._prove import identity, kept_keys, prove_file
from crossfade.model import Finding, Installation
from crossfade.ports import Judgement
from crossfade.recipes import ConfigurationSpec, Fingerprints, RewriteSpec

__all__ = ["SECRET_MODE", "CarriedFile", "Carrier", "Source"]

SECRET_MODE = 0o600
_MODE = 0o640


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the old side; key says where its path was found."""

    spec: ConfigurationSpec
    path: Path
    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """One file as it goes to the new side, with its proof and what may be shown of it."""

    path: Path
    data: bytes
    mode: int
    difference: str
    findings: tuple[Finding, ...]
    texts: tuple[_residue.Text, ...]
    settings: tuple[Judgement, ...] = ()
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries files of ``old``; see ``CarriedConfiguration`` for judge and fingerprints."""

    old: Installation
    judge: Judge | None
    fingerprints: Fingerprints

    def carried(self, source: Source, path: Path, new: Installation, reader: Reader) -> CarriedFile:
        """The file as it stands at ``path`` of the new side.  Raises Failed for one that cannot be
        carried."""
        if source.spec.format == "opaque":
            return self._opaque(source, path)
        yours = old_file = reader.parsed(source.path, source.spec.format)
        merged = self.judge and self.judge.merged(source.spec, source.path, source.data, reader)
        if merged and merged.data is not None:
            old_file = parse(source.spec.format, source.path, merged.data)
        changes, missing = self.changes(source.spec, old_file, new)
        data = old_file.encoded(apply(old_file.text, changes))
        new_file = parse(source.spec.format, path, data)
        settings = merged.settings if merged else ()
        keys = source.spec.identity if isinstance(source.spec.identity, tuple) else ()
        shown = {each.found.key for each in changes} - _passwords(source.spec, old_file)
        secret = _mask.holds_secret(old_file)
        return CarriedFile(
            path=path,
            data=data,
            mode=SECRET_MODE if secret else _MODE,
            difference=_mask.difference(yours, new_file, shown, self.fingerprints),
            findings=(
                *prove_file(old_file, new_file, changes),
                *missing,
                *identity(yours, new_file, kept_keys(keys, yours, settings), self.fingerprints),
                *(self._whole(source, path, data) if source.spec.identity is True else ()),
            ),
            texts=tuple(_residue.texts(new_file)),
            settings=settings,
            merged=bool(merged and merged.data is not None),
        )

    def _opaque(self, source: Source, path: Path) -> CarriedFile:
        return CarriedFile(
            path=path,
            data=source.data,
            mode=SECRET_MODE,
            difference=_mask.opaque_difference(source.path, path, source.data, self.fingerprints),
            findings=self._whole(source, path, source.data),
            texts=tuple(_residue.opaque_texts(path, source.data)),
        )

    def _whole(self, source: Source, path: Path, data: bytes) -> tuple[Finding, ...]:
        before, after = (self.fingerprints.of(each) for each in (source.data, data))
        claim = f"{path.name}: the whole file came over unchanged"
        return (Finding.equal(claim, before, after, str(path)),)

    def changes(
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
                value = translate(rule, found, self.old, new)
                if value is None:
                    continue
                matched += 1
                place = found.key, found.start
                if place not in decided and value != _plain_value(found.text, value):
                    made = file.change(found, value)
                    changes.setdefault(made.start, made)
                decided.add(place)
            if rule.required and not _needless(rule, file, self.old, new):
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
