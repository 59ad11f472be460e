"""Merge the old side's files into the new version's stock, by verdicts and by people's answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from crossfade.configuration._decisions import Decision, Decisions
from crossfade.configuration._places import Reader
from crossfade.configuration._running import judgements
from crossfade.configuration._stock import Stock
from crossfade.configuration._told import in_the_end
from crossfade.merge import Answer, Choice, Judged, Setting, Verdict, merge_files
from crossfade.model import Installation, Side
from crossfade.ports import Host, Judgement, RunSetting
from crossfade.recipes import (
    ConfigurationSpec,
    Fingerprints,
    Recipe,
    looks_secret,
    may_name_secret,
)

__all__ = ["Judge", "Merged", "judge_of"]

_LONGEST = 200
"""Characters of a value that are shown."""
_IDENTITY = "it makes the site what it is, so it keeps the old value"


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
        source: Path,
        texts: tuple[bytes, bytes],
    ) -> tuple[Judgement, ...]:
        """The verdicts of a file, which was and is to be these ``texts``; see ``_told``."""

        def shown(path: tuple[str, ...], raw: str) -> str:
            return self._shown(raw, any(map(may_name_secret, path)))

        return in_the_end(judged, source, *texts, shown, opaque=spec.format == "opaque")

    def merged(
        self, spec: ConfigurationSpec, source: Path, data: bytes, reader: Reader
    ) -> Merged | None:
        """A file of the old side, merged; None where the new version's stock is not known.

        Raises UsageError (``decisions-invalid``) for an answer that is none."""
        if self._stock is None or not spec.stock:
            return None
        new = self._stock.text(Side.NEW, spec.stock, reader)
        if new is None:
            return None
        base = self._stock.text(Side.OLD, spec.stock, reader)
        found = merge_files(str(source), base, data, new)
        given = self._decisions.read()
        answers: dict[tuple[str, ...], Answer] = {}
        settings = []
        for judged in found.judged:
            binding = self._binding(judged)
            decision = given.get((str(source), judged.path))
            answer = _identity(spec, judged)
            if answer:
                judged = replace(judged, verdict=Verdict.CARRIED, why=_IDENTITY, choices=())
            if decision and decision.choice and decision.binding == binding:
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
        return self._unproven(str(source), result.refused, data, new, settings)

    def write(self, settings: Iterable[Judgement]) -> Path:
        """Write the questions down, with the answers that are there; where they are to be filled
        in."""
        given = {decision.binding: decision for decision in self._decisions.read().values()}
        self._decisions.write(settings, given)
        return self._decisions.path

    def answer(self, settings: Iterable[Judgement], given: Mapping[str, Decision]) -> None:
        """Write answers down, by their binding, beside those that are there."""
        before = {decision.binding: decision for decision in self._decisions.read().values()}
        self._decisions.write(settings, {**before, **given})

    def _unproven(
        self, source: str, reason: str, data: bytes, new: bytes, settings: list[Judgement]
    ) -> Merged:
        """What cannot be proven is not written; which of the whole files it shall be is asked."""
        binding = self._decisions.bound(*(sha256(one).hexdigest() for one in (data, new)))
        decision = self._decisions.read().get((source, ()))
        whole = {Choice.YOURS: data, Choice.NEW: new}
        asked = Judgement(
            source,
            (),
            Verdict.REFUSED,
            f"the result could not be proven: {reason}",
            choices=tuple(whole),
            binding=binding,
        )
        if decision and decision.binding == binding and decision.choice in tuple(whole):
            choice = Choice(decision.choice)
            return Merged(whole[choice], (*settings, replace(asked, answer=choice)))
        return Merged(None, (*settings, asked))

    def _answer(self, judged: Judged, decision: Decision) -> Answer:
        try:
            choice = Choice(decision.choice)
        except ValueError:
            name = " / ".join(judged.path)
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
            judged.path,
            judged.verdict,
            judged.why,
            base,
            user,
            new,
            line=judged.user.line if judged.user else 0,
            moved_to=".".join(judged.moved_to or ()),
            choices=judged.choices,
            proposed=judged.preselected or "",
            gone=judged.gone,
            binding=binding,
            answer=answer.choice if answer else "",
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
    keys = spec.identity if isinstance(spec.identity, tuple) else ()
    known = {".".join(judged.path[: n + 1]) for n in range(len(judged.path))}
    allowed = not judged.choices or Choice.YOURS in judged.choices
    if allowed and known.intersection(keys) and judged.verdict is not Verdict.ALREADY:
        return Answer(Choice.YOURS)
    return None


def judge_of(
    recipe: Recipe,
    old: Installation,
    sides: Mapping[Side, tuple[Host, Installation]],
    state: Path,
    *,
    merges: bool = True,
) -> Judge:
    """The judge of a site.  It merges no file without ``merges``, or where the recipe knows no
    stock."""
    place = state / "configuration"
    known = merges and any(spec.stock for spec in recipe.configuration)
    stock = Stock(recipe, old, sides, place / "stock") if known else None
    return Judge(stock, Decisions(place / "decisions.toml"))
