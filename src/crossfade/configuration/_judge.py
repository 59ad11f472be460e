"""Merge the old side's files into the new version's stock, by verdicts and by people's answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path as FilePath

from crossfade.configuration._decisions import Decision, Decisions, holding
from crossfade.configuration._keys import leads, spelled_as
from crossfade.configuration._places import Reader
from crossfade.configuration._running import judgements
from crossfade.configuration._stock import Stock
from crossfade.configuration._told import in_the_end
from crossfade.merge import Answer, Choice, Judged, Path, Setting, Verdict, merge_files
from crossfade.model import Installation, Side
from crossfade.ports import Host, Judgement, RunSetting
from crossfade.recipes import (
    ConfigurationSpec,
    Fingerprints,
    Recipe,
    looks_secret,
    may_name_secret,
    name_is_secret,
)

__all__ = ["Judge", "Merged", "is_named", "judge_of"]

_LONGEST = 200
"""Characters of a value that are shown."""
_IDENTITY = "it makes the site what it is, so it keeps the old value"
_FRESH = (
    "it makes the site what it is, and the old side does not set it; the new version made it up"
)


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a file: its text, and what was decided about its settings.

    data is None while a question is open."""

    data: bytes | None
    settings: tuple[Judgement, ...]


class Judge:
    """Merges files by their stock texts and the site's decisions.

    Values that may be secrets are shown as fingerprints, which the decisions' key makes the same in
    every run of the site."""

    def __init__(self, stock: Stock | None, decisions: Decisions) -> None:
        self._stock = stock
        self._decisions = decisions

    def running(self, settings: Iterable[RunSetting]) -> tuple[Judgement, ...]:
        """How the old program is run, fit to be shown, with the site's decisions."""
        return judgements(settings, self._decisions)

    def told(
        self,
        spec: ConfigurationSpec,
        judged: Iterable[Judgement],
        source: FilePath,
        texts: tuple[bytes, bytes],
    ) -> tuple[Judgement, ...]:
        """The verdicts of a file, which was and is to be these ``texts``; see ``_told``."""

        def shown(path: tuple[str, ...], raw: str) -> str:
            return self._shown(raw, any(map(may_name_secret, path)))

        return in_the_end(judged, source, spec.format, *texts, shown)

    def merged(
        self, spec: ConfigurationSpec, source: FilePath, data: bytes, reader: Reader
    ) -> Merged | None:
        """A file of the old side, merged; None where the new version's stock is not known.

        Raises UsageError (``decisions-invalid``) for an answer that is none."""
        if self._stock is None or not spec.stock:
            return None
        new = self._stock.text(Side.NEW, spec.stock, reader)
        if new is None:
            return None
        base = self._stock.text(Side.OLD, spec.stock, reader)
        found = merge_files(str(source), base, data, new, spec.format)
        found = found.asking(_keys(spec, found.fresh), _FRESH)
        given = self._decisions.read()
        answers: dict[tuple[str, ...], Answer] = {}
        settings = []
        for judged in found.judged:
            binding = self._binding(judged)
            names = self._names(judged.path)
            decision = holding(given, str(source), names, binding, reader.known)
            answer = _identity(spec, judged)
            if answer:
                judged = replace(judged, verdict=Verdict.CARRIED, why=_IDENTITY, choices=())
            if decision:
                answer = self._answer(judged, decision)
            if answer:
                answers[judged.path] = answer
            settings.append(self._judgement(str(source), judged, binding, answer))
        if any(setting.open for setting in settings):
            return Merged(None, tuple(settings))
        try:
            result = found.render(answers)
        except ValueError as error:
            raise self._decisions.invalid(str(error)) from None
        if result.refused is None:
            return Merged(result.content, tuple(settings))
        return self._unproven(str(source), result.refused, data, new, settings, reader)

    def write(self, settings: Iterable[Judgement]) -> FilePath:
        """Write the questions down, with the answers that are there; where they are to be filled
        in."""
        self._decisions.write(settings, self._decisions.read())
        return self._decisions.path

    def answer(self, settings: Iterable[Judgement], given: Decision) -> None:
        """Write an answer down, beside those that are there."""
        self._decisions.write(settings, [given, *self._decisions.read()])

    def take_back(self, settings: Iterable[Judgement], setting: str) -> list[str]:
        """Take the answers about a setting back, by its name or the end of it; all of them for
        none.  The names of those that had one."""
        return self._decisions.take_back(
            settings, lambda given: not setting or is_named(given.file, given.setting, setting)
        )

    def _unproven(
        self,
        source: str,
        reason: str,
        data: bytes,
        new: bytes,
        settings: list[Judgement],
        reader: Reader,
    ) -> Merged:
        """What cannot be proven is not written; which of the whole files it shall be is asked."""
        binding = self._decisions.bound(*(sha256(one).hexdigest() for one in (data, new)))
        decision = holding(self._decisions.read(), source, (), binding, reader.known)
        whole = {Choice.YOURS: data, Choice.NEW: new}
        asked = Judgement(
            source,
            (),
            Verdict.REFUSED,
            f"the result could not be proven: {reason}",
            choices=tuple(whole),
            binding=binding,
        )
        if decision and decision.choice in tuple(whole):
            choice = Choice(decision.choice)
            return Merged(whole[choice], (*settings, replace(asked, answer=choice)))
        return Merged(None, (*settings, asked))

    def _answer(self, judged: Judged, decision: Decision) -> Answer:
        try:
            choice = Choice(decision.choice)
        except ValueError:
            name = " / ".join(self._names(judged.path))
            text = f"{name} has the choice {decision.choice}, which is none"
            raise self._decisions.invalid(text) from None
        value = decision.value
        if isinstance(value, str):
            value = _of_its_kind(value, judged)
        return Answer(choice, tuple(value) if isinstance(value, list) else value)

    def _binding(self, judged: Judged) -> str:
        """What an answer about this holds for: the three values as they stand."""
        texts = (judged.base, judged.user, judged.new)
        return self._decisions.bound(*judged.path, *(t.raw if t else None for t in texts))

    def _judgement(
        self, source: str, judged: Judged, binding: str, answer: Answer | None
    ) -> Judgement:
        secret = any(map(may_name_secret, judged.path))
        base, user, new = (
            self._shown(stands.raw, secret) if stands else ""
            for stands in (judged.base, judged.user, judged.new)
        )
        return Judgement(
            source,
            self._names(judged.path),
            judged.verdict,
            judged.why,
            base,
            user,
            new,
            line=judged.user.line if judged.user else 0,
            moved_to=".".join(self._names(judged.moved_to or ())),
            choices=judged.choices,
            proposed=judged.preselected or "",
            gone=judged.gone,
            binding=binding,
            answer=answer.choice if answer else "",
            given=self._given(answer),
        )

    def _given(self, answer: Answer | None) -> str:
        """The fingerprint of the value that somebody wants; "" where it is one of those there."""
        if answer is None or answer.choice is not Choice.VALUE:
            return ""
        return Fingerprints(self._decisions.key).of(answer.value)

    def _names(self, path: Path) -> Path:
        """The way to a setting as it may be shown: a name may be a secret as well."""
        return tuple(
            self._shown(name, secret=True) if name_is_secret(name) else name for name in path
        )

    def _shown(self, raw: str, secret: bool) -> str:
        text = raw.strip()
        if text and (secret or looks_secret(text)):
            return f"(secret, fingerprint {Fingerprints(self._decisions.key).of(text)})"
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _of_its_kind(text: str, judged: Judged) -> object:
    """What was typed, as a number, truth or list where the setting is one: text would be another
    thing to a program."""
    likes = [stands.value for stands in (judged.user, judged.new) if isinstance(stands, Setting)]
    if any(isinstance(like, int | float | tuple) for like in likes):
        with suppress(ValueError):
            return json.loads(text)
    return text


def _identity(spec: ConfigurationSpec, judged: Judged) -> Answer | None:
    """Keys that make the site what it is keep the old value, whatever the new version has."""
    allowed = not judged.choices or Choice.YOURS in judged.choices
    if allowed and _keys(spec, [judged.path]) and judged.verdict is not Verdict.ALREADY:
        return Answer(Choice.YOURS)
    return None


def _keys(spec: ConfigurationSpec, paths: Iterable[Path]) -> list[Path]:
    """Those of the settings that make the site what it is, or stand below one that does."""
    keys = spec.identity if isinstance(spec.identity, tuple) else ()
    spelling = spelled_as(spec.format)

    def known(path: Path) -> bool:
        names = [(name, name.partition("[")[0]) for name in path]
        ways = [names[: n + 1] for n in range(len(names))]
        return any(leads(key, way, spelling) for key in keys for way in ways)

    return [path for path in paths if known(path)]


def is_named(file: str, setting: tuple[str, ...], word: str) -> bool:
    """Whether a word means this setting: its name, or the end of it, perhaps after its file's."""
    name = ".".join(setting)
    return word in (name, f"{FilePath(file).name} {name}") or name.endswith(f".{word}")


def judge_of(
    recipe: Recipe,
    old: Installation,
    sides: Mapping[Side, tuple[Host, Installation]],
    state: FilePath,
) -> Judge:
    """The judge of a site.  It merges no file where the recipe knows no stock."""
    place = state / "configuration"
    known = any(spec.stock for spec in recipe.configuration)
    stock = Stock(recipe, old, sides, place / "stock") if known else None
    return Judge(stock, Decisions(place / "decisions.toml"))
