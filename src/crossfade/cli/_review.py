"""Verdicts and questions about settings, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossfade.ports import Judgement, Rendering

__all__ = ["Answered", "answered", "one", "overview", "question"]

_KEYS = {"yours": "y", "new": "n", "value": "v", "drop": "d", "move": "m"}
_WORDS = {
    "carried": "carried as they are",
    "added": "that only you have, added",
    "removed": "that you took out, taken out",
    "already": "already the same in the new version",
    "rewritten": "rewritten for the new installation",
    "moved": "moved to another name",
    "decided": "that you decided about",
    "out-of-scope": "out of scope",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a question; without a choice it is left open."""

    choice: str = ""
    value: str | None = None


def overview(rendering: Rendering) -> str:
    """What happens to all settings, and what is open."""
    settings = rendering.settings
    decided = [setting for setting in settings if not setting.open]
    counts = Counter(
        "decided" if setting.decided else setting.verdict
        for setting in decided
        if setting.verdict != "kept-new"
    )
    files = {setting.file for setting in settings}
    lines = [f"{len(settings)} verdicts in {len(files)} files"]
    lines += [f"  {count:4} {_WORDS.get(verdict, verdict)}" for verdict, count in counts.items()]
    lines += _whole(rendering)
    lines += _defaults([setting for setting in decided if setting.verdict == "kept-new"])
    asked = rendering.questions
    if not asked:
        return "\n".join([*lines, "nothing is open"])
    lines.append(f"NEED YOU ({len(asked)})")
    lines += [question(setting) for setting in asked]
    return "\n".join([*lines, "next: crossfade config review"])


def _whole(rendering: Rendering) -> Iterator[str]:
    judged = {setting.file for setting in rendering.settings}
    for path in rendering.sources.values():
        if path not in judged:
            yield f"taken whole, as it is on the old side: {path}"


def _defaults(settings: list[Judgement]) -> Iterator[str]:
    if settings:
        yield "defaults that change, and that you never set:"
    for setting in settings:
        yield f"  {_name(setting)}: {setting.old_default} -> {setting.new_default}"


def question(setting: Judgement) -> str:
    """One question with its values."""
    offered = "  ".join(
        f"[{_KEYS[choice]}]{choice[1:]}" + (" (proposed)" if choice == setting.proposed else "")
        for choice in setting.choices
    )
    return "\n".join([one(setting), f"    {offered}"])


def one(setting: Judgement) -> str:
    """All that is known of one setting."""
    lines = [f"{_name(setting)}   {setting.verdict}: {setting.why}"]
    if setting.setting:  # of a whole file nothing is shown
        lines += _values(setting)
    if setting.moved_to:
        lines.append(f"    looks moved to              {setting.moved_to}")
    if setting.answer:
        lines.append(f"    decided                     {setting.answer}")
    return "\n".join(lines)


def _values(setting: Judgement) -> list[str]:
    return [
        f"    the old version's default   {_value(setting.old_default)}",
        f"    yours                       {_value(setting.yours)}"
        + (f"   ({setting.file}:{setting.line})" if setting.line else ""),
        f"    the new version's default   {_value(setting.new_default)}",
    ]


def _name(setting: Judgement) -> str:
    return f"{Path(setting.file).name}  {'.'.join(setting.setting) or 'the whole file'}"


def _value(text: str) -> str:
    return text.replace("\n", "\n" + " " * 32) or "not set"


def answered(setting: Judgement, ask: Callable[[str], str]) -> Answered | None:
    """Ask until there is an answer; ``ask`` shows a prompt and gives the line that was typed.

    None when the person wants to stop.  Nothing is chosen by an empty line but to leave it open."""
    keys = {_KEYS[choice]: choice for choice in setting.choices}
    prompt = f"    {'/'.join([*keys, 's', 'q'])} (s: leave it open, q: stop): "
    while True:
        try:
            typed = ask(prompt).strip().lower()
        except EOFError:
            return None
        if typed == "q":
            return None
        if typed in ("", "s"):
            return Answered()
        choice = keys.get(typed) or (typed if typed in setting.choices else "")
        if choice == "value":
            return Answered(choice, ask("    the value: "))
        if choice:
            return Answered(choice)
