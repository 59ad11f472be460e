"""What becomes of each setting of an old unit: told by comparing it with the unit that we write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from crossfade.drivers.services.environment_text import Variable, in_directive, in_file
from crossfade.drivers.services.systemd import SystemdService
from crossfade.drivers.services.unit_old import OldUnit, shipped
from crossfade.drivers.services.unit_text import Setting, moved_in, placed, rewritten
from crossfade.ports import RunSetting

__all__ = ["account", "compared"]

_ONCE: Final = re.compile(
    r"Limit\w+|Nice|User|Group|Type|Restart\w*|WorkingDirectory|UMask|OOM\w+|Timeout\w+|Kill\w+"
    r"|Description|Memory\w+|CPU(Quota|Weight|Shares)\w*|Tasks\w+|IOWeight|Protect\w+|Private\w+"
    r"|NoNewPrivileges|Standard\w+|SyslogIdentifier|Slice|PIDFile"
)
"""Settings of which the last one counts."""
_COMES_OVER: Final = "it comes over with the old unit"
_WHY: Final = {
    "ExecStart": "the recipe says what the new side runs",
    "WorkingDirectory": "the new side runs in its own data directory",
    "User": "new.service.user in crossfade.yaml says the account",
    "Type": "the new side's command stays in the foreground",
}
_PROGRAMS: Final = "it runs programs of the old version, and the new unit runs none besides its own"


def account(ours: SystemdService) -> list[RunSetting]:
    """What becomes of each setting of the old unit that no package ships so, and of each variable
    that it sets; nothing where the unit is like none.  Raises Failed."""
    if ours.spec.like is None:
        return []
    old = ours.spec.like.old_unit()
    return compared(ours, old, placed(shipped(ours.spec.like.host, old)))


def compared(ours: SystemdService, old: OldUnit, base: Sequence[Setting]) -> list[RunSetting]:
    """The same of an old unit of which a package ships ``base``."""
    new = _Written(ours, old)
    moved = {**ours.spec.moved, **old.variables_moved(ours.variables_place)}
    return [
        *_directives(old, base, new.settings, moved),
        *_variables(old, base, new.variables(), moved),
        *_left_out(old, base, new.settings),
    ]


class _Written:
    """The unit that we write: what holds in it, and its variables."""

    def __init__(self, ours: SystemdService, old: OldUnit) -> None:
        unit = ours.spec.unit
        files = ours.planned(old)
        drop_ins = sorted(n for n in files if n.startswith(f"{unit}.d/") and n.endswith(".conf"))
        self.settings = placed((name, files[name]) for name in (unit, *drop_ins))
        self._files = {PurePath(name).name: text for name, text in files.items()}

    def variables(self) -> dict[str, str]:
        """By name, as the program has them."""
        found: dict[str, str] = {}
        for kind in ("Environment", "EnvironmentFile"):  # the files win
            for one in self.settings:
                if (one.section, one.name) != ("Service", kind):
                    continue
                text = self._files.get(PurePath(one.value).name, "")
                known = in_directive(one.value) if kind == "Environment" else in_file(text)
                found |= {variable.name: variable.value for variable in known}
        unset = [s.value.split() for s in self.settings if s.name == "UnsetEnvironment"]
        return {n: v for n, v in found.items() if not any(n in names for names in unset)}


def _directives(
    old: OldUnit, base: Iterable[Setting], new: Iterable[Setting], moved: Mapping[str, str]
) -> Iterator[RunSetting]:
    known, written = set(base), list(new)
    settings = old.settings()
    last = {(s.section, s.name): s for s in settings}
    for one in settings:
        superseded = _ONCE.fullmatch(one.name) and last[one.section, one.name] is not one
        if one in known or one.name == "Environment" or superseded:
            continue
        yield _directive(one, written, moved)


def _directive(one: Setting, new: list[Setting], moved: Mapping[str, str]) -> RunSetting:
    values = [s.value for s in new if (s.section, s.name) == (one.section, one.name)]
    values = values[-1:] if _ONCE.fullmatch(one.name) else values
    there = rewritten(f"{one.name}={one.value}", moved).partition("=")[2]
    if one.value in values and one.name != "ExecStart":
        verdict, why, ours = "carried", _COMES_OVER, one.value
    elif there in values and one.name != "ExecStart":
        verdict, why, ours = "rewritten", _which(one.value, moved), there
    elif values:
        why = _WHY.get(one.name, "the new side's unit says it otherwise")
        verdict, ours = "kept-new", values[-1]
    else:
        why = _PROGRAMS if one.name.startswith("Exec") else "the new side's unit takes it back"
        verdict, ours = "removed", ""
    return RunSetting(
        one.file, (one.section, one.name), verdict, why, one.value, ours, line=one.line
    )


def _which(value: str, moved: Mapping[str, str]) -> str:
    """Which paths are others on the new side."""
    pairs = [(a, b) for a, b in moved.items() if moved_in(value, {a: b}) != value and a != b]
    return ", ".join(f"{a} is {b} on the new side" for a, b in sorted(pairs))


def _variables(
    old: OldUnit, base: Iterable[Setting], new: Mapping[str, str], moved: Mapping[str, str]
) -> Iterator[RunSetting]:
    """Each variable where it is said last: the files win over the directives."""
    known = set(base)
    found: dict[str, tuple[Setting | None, str, Variable]] = {}
    for one in old.settings():
        if (one.section, one.name) == ("Service", "Environment"):
            found |= {v.name: (one, one.file, v) for v in in_directive(one.value)}
    for part in old.variables:
        found |= {v.name: (None, path, v) for path, v in part.variables()}
    for name, (said, path, variable) in found.items():
        if said in known:
            continue
        verdict, why = _variable(variable, new.get(name), moved)
        setting = ("Service", "Environment", name) if said else (name,)
        line = said.line if said else variable.line
        ours = new.get(name, "")
        yield RunSetting(path, setting, verdict, why, variable.value, ours, line=line)


def _variable(one: Variable, new: str | None, moved: Mapping[str, str]) -> tuple[str, str]:
    if new is None:
        return "removed", "the new side's unit takes it back"
    if new == one.value:
        return "carried", "it comes over with the old unit"
    if new == moved_in(one.value, moved):
        return "rewritten", _which(one.value, moved)
    return "kept-new", "the recipe or crossfade.yaml gives the new side another value"


def _left_out(
    old: OldUnit, base: Iterable[Setting], new: Iterable[Setting]
) -> Iterator[RunSetting]:
    """What the shipped unit says and the old one, which stands in its place, does not."""
    said = {(s.section, s.name) for s in old.settings()} | {(s.section, s.name) for s in new}
    for one in base:
        if (one.section, one.name) not in said:
            why = f"the unit that a package ships ({one.file}) has it, and yours has not"
            yield RunSetting(old.files[0][0], (one.section, one.name), "removed", why)
