"""One administrator's file, merged and compared with the truth."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from tests.merge.administrators import by_keys, by_lines
from tests.merge.pairs import Pair
from tests.merge.truth import Truth

from crossfade.merge import Answer, Choice, FileMerge, merge_files
from crossfade.merge._text import clean_merge
from crossfade.merge.formats import detect

__all__ = ["WAYS", "Outcome", "administrated", "measured"]

WAYS = ("keys", "lines")
"""How administrators edit."""


@dataclass(slots=True)
class Outcome:
    """What became of one file.  wrong are settings, with the answers that they came of; seconds
    are the processor's."""

    user: str
    customised: int
    conflicts: int
    format: str | None
    questions: int = 0
    refused: str | None = None
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    by_lines: str = ""
    copying_loses: int = 0

    @property
    def needless(self) -> bool:
        """Whether something was asked, or the file refused, where nothing had to be decided."""
        return not self.conflicts and bool(self.questions or self.refused)


def administrated(pair: Pair, way: str, number: int) -> str:
    """The old template as administrator ``number`` left it."""
    old, _ = pair.texts()
    if way == "lines":
        return by_lines(pair.kind, old, number)
    format = detect(pair.file, old)
    assert format is not None, f"no format knows {pair.name}"
    return by_keys(format, pair.kind, old, number)


def measured(pair: Pair, user: str) -> Outcome:
    """Merge it, answer everything once with the new version's and once with yours, and compare."""
    old, new = pair.texts()
    truth = Truth(pair.kind, old, user, new)
    began = time.process_time()
    merge = merge_files(pair.file, old.encode(), user.encode(), new.encode())
    if not merge.questions:
        merge.render()
    took = time.process_time() - began
    outcome = Outcome(user, truth.customised(), len(truth.conflicts()), merge.format)
    outcome.seconds, outcome.refused = took, merge.refused
    outcome.questions = len(merge.questions)
    for name in ("new", "yours") if merge.refused is None else ():
        _compare(truth, merge, name, outcome)
    plain = clean_merge(old, user, new)
    if plain is None:
        outcome.by_lines = "asks"
    else:
        outcome.by_lines = "wrong" if truth.wrong(plain) else "right"
    outcome.copying_loses = sum(
        path not in truth.base and path not in truth.user for path in truth.new
    )
    return outcome


def _compare(truth: Truth, merge: FileMerge, name: str, outcome: Outcome) -> None:
    first = (Choice.YOURS,) if name == "yours" else (Choice.NEW, Choice.DROP)
    answers = {
        judged.path: Answer(next((c for c in first if c in judged.choices), judged.choices[0]))
        for judged in merge.questions
    }
    result = merge.render(answers)
    if result.refused is not None:
        outcome.refused = result.refused
        return
    asked = [re.sub(r"\[.*", "", path[-1]) or path[-1].strip("[]") for path in answers]
    wrong = truth.wrong(result.content.decode(), asked)
    outcome.wrong += [f"{'/'.join(path)} ({name})" for path in wrong]
