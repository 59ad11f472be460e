"""How the old program is run, as it may be shown and asked: its unit's settings, its variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from crossfade.configuration._decisions import Decisions, holding
from crossfade.configuration._residue import Text
from crossfade.merge import Choice
from crossfade.model import Finding, Installation
from crossfade.ports import Judgement, RunSetting
from crossfade.recipes import Fingerprints, looks_secret, may_name_secret

__all__ = ["answer_to", "judgements", "old_servers", "texts"]

_LONGEST = 200
"""Characters of a value that are shown."""
_TAKEN = ("carried", "rewritten")


def judgements(settings: Iterable[RunSetting], decisions: Decisions) -> tuple[Judgement, ...]:
    """Fit to be shown, with the answers that people gave.  Raises UsageError
    (``decisions-invalid``)."""
    fingerprints = Fingerprints(decisions.key)
    return tuple(
        Judgement(
            one.file,
            one.setting,
            one.verdict,
            one.why,
            yours=_shown(one, one.yours, fingerprints),
            new_default=_shown(one, one.ours, fingerprints) if one.ours != one.yours else "",
            line=one.line,
            choices=(Choice.YOURS, Choice.NEW) if one.asked else (),
            binding=_binding(one, decisions),
            answer=answer_to(one, decisions) if one.asked else "",
        )
        for one in settings
    )


def answer_to(one: RunSetting, decisions: Decisions) -> str:
    """What people decided about a question: ``yours`` or ``new``; empty while it is open.

    Raises UsageError (``decisions-invalid``)."""
    binding = _binding(one, decisions)
    decision = holding(decisions.read(), one.file, one.setting, binding, ())
    if decision is None:
        return ""
    if decision.choice not in (Choice.YOURS, Choice.NEW):
        name = " / ".join(one.setting)
        raise decisions.invalid(f"{name} has the choice {decision.choice}, which is none")
    return decision.choice


def _binding(one: RunSetting, decisions: Decisions) -> str:
    return decisions.bound(one.file, *one.setting, one.yours)


def _shown(one: RunSetting, value: str, fingerprints: Fingerprints) -> str:
    if not value:
        return ""
    variable = len(one.setting) == 1 or one.setting[1:2] == ("Environment",)
    name = one.setting[-1] if variable and one.setting else ""
    if not variable and one.setting[-1].startswith(("Exec", "SetCredential")):
        name = value  # words of a command line may be secrets, or be followed by one
    plain = value.replace('"', "")  # a path between quotes is no secret
    if may_name_secret(name) or looks_secret(plain):
        return f"(secret, fingerprint {fingerprints.of(value)})"
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


def texts(settings: Iterable[RunSetting]) -> Iterator[Text]:
    """What the new side gets of them, for the search for what points at the old side."""
    for one in settings:
        if one.verdict in _TAKEN:
            yield Text(_place(one), one.ours)


def old_servers(
    settings: Iterable[RunSetting], old: Installation, new: Installation
) -> Iterator[Finding]:
    """The finding for each database on a server that is another one: nothing of what comes over
    names the old one's.  None where the new side has the same server's and database's names, or
    nothing comes over."""
    taken = [one for one in settings if one.verdict in _TAKEN]
    if not taken:
        return
    for name, before in old.databases.items():
        after = new.databases.get(name)
        if after is None or (before.address, before.database) == (after.address, after.database):
            continue
        said = f"{before.address}/{before.database}"
        told = re.escape(str(before.address) if before.address != after.address else said)
        names = re.compile(rf"(?<![\w.]){told}(?![\w-])")
        places = [_place(one) for one in taken if names.search(one.ours)]
        yield Finding(
            claim=f"nothing that the program is run with names the old side's database {name}",
            expected="nothing",
            observed=f"still in {', '.join(places)}" if places else "nothing",
            source="the old unit and the program's environment",
            holds=not places,
        )


def _place(one: RunSetting) -> str:
    return f"{PurePath(one.file).name}:{one.line} {'.'.join(one.setting)}"
