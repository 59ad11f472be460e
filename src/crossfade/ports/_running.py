"""How the old program is run, besides its configuration files."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunSetting"]


@dataclass(frozen=True, slots=True)
class RunSetting:
    """One setting of how the old program is run, a directive of its unit or a variable, and what
    the new side makes of it.  Its values are as they are: not fit to be shown.

    file and line are where it stands on the old side (line 0: in no line), setting its names from
    the outside in.  ours is what the new side has for it, empty where that has nothing.  verdict is
    a word of ``crossfade.merge``.  asked: only people can decide; the new side gets ``yours`` when
    they say so.
    """

    file: str
    setting: tuple[str, ...]
    verdict: str
    why: str
    yours: str = ""
    ours: str = ""
    line: int = 0
    asked: bool = False
