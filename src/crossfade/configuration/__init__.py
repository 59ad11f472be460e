"""Configuration: carry the old side's files over, merged into the new version's where its stock is
known, and rewrite what belongs to a side.

``CarriedConfiguration`` implements ``crossfade.ports.Configuration``.
"""

from crossfade.configuration._carried import CarriedConfiguration, facts
from crossfade.configuration._decisions import Decision, Decisions
from crossfade.configuration._judge import Judge, is_named, judge_of
from crossfade.configuration._places import Reads, locate, mapped
from crossfade.configuration._private import write_private
from crossfade.configuration._running import answer_to
from crossfade.configuration._stock import Stock

__all__ = [
    "CarriedConfiguration",
    "Decision",
    "Decisions",
    "Judge",
    "Reads",
    "Stock",
    "answer_to",
    "facts",
    "is_named",
    "judge_of",
    "locate",
    "mapped",
    "write_private",
]
