"""Merge a configuration file three ways, setting by setting, in the new version's own text.

Pure: text in, text and verdicts out.  Nothing is written out of a model; spans of the new version's
stock text are edited, so that every byte nobody decided about stays.
"""

from crossfade.merge._apply import Answers, Open
from crossfade.merge._files import FileMerge, Result, merge_files
from crossfade.merge._types import Commented, Path, Setting
from crossfade.merge._verdicts import Answer, Choice, Judged, Verdict

__all__ = [
    "Answer",
    "Answers",
    "Choice",
    "Commented",
    "FileMerge",
    "Judged",
    "Open",
    "Path",
    "Result",
    "Setting",
    "Verdict",
    "merge_files",
]
