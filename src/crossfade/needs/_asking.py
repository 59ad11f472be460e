"""All questions to one machine in one command.

A question is a fixed text for the machine's ``sh``; what belongs to this site stands in its words
$1, $2 and so on, and is never looked at by a shell's parser.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crossfade.needs._need import Need
from crossfade.ports import Host

__all__ = ["Clock", "Question", "ask"]

_BETWEEN: Final = "\x1e"
_BEGIN: Final = "LC_ALL=C; export LC_ALL; date +%s.%N\n"
_ONE: Final = "printf '\\036'\n(\nset -- {words}\n{text}\n) </dev/null 2>/dev/null\n"
_LONGEST: Final = 60.0
_TIME: Final = re.compile(r"\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Clock:
    """By how many seconds a machine is ahead of this one, give or take ``unsure``."""

    ahead: float
    unsure: float


@dataclass(frozen=True, slots=True)
class Question:
    """judge makes needs of what the text printed."""

    text: str
    words: Sequence[str]
    judge: Callable[[str], Iterable[Need]]


def ask(host: Host, questions: Sequence[Question]) -> tuple[Clock | None, list[Need]]:
    """The machine's clock, if it says one, and what the answers mean.  Raises Failed."""
    script, words = [_BEGIN], list[str]()
    for one in questions:
        first = len(words) + 1
        words += one.words
        given = " ".join(f'"${{{n}}}"' for n in range(first, len(words) + 1))
        script.append(_ONE.format(words=given, text=one.text))
    began = time.time()
    argv = ("sh", "-c", "".join((*script, ":")), "sh", *words)
    said = host.run(argv, timeout=_LONGEST).out.decode("utf-8", "replace")
    ended = time.time()
    time_there, *answers = said.split(_BETWEEN)
    found = [need for one, told in zip(questions, answers, strict=True) for need in one.judge(told)]
    return _clock(time_there.strip(), began, ended), found


def _clock(there: str, began: float, ended: float) -> Clock | None:
    """The answer was given at an unknown moment between two of ours."""
    if not _TIME.fullmatch(there):
        return None
    return Clock(float(there) - (began + ended) / 2, (ended - began) / 2)
