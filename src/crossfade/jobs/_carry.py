"""What becomes of a job that was found: how it is switched off, and its like on the new side.

Pure functions.  What cannot be carried for certain is told and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from crossfade.drivers.services.unit_text import rewritten
from crossfade.jobs._find import TIMER, Found, is_comment
from crossfade.recipes import mentions

__all__ = ["Job", "Move", "NotCarried", "accounts", "carried", "ended"]

_UNITS: Final = "/etc/systemd/system"
_SCRIPTS: Final = re.compile(r"/etc/cron\.(hourly|daily|weekly|monthly)/[^/\n\t]+")
_TABLES: Final = ("/etc/crontab", "/etc/cron.d", "/var/spool/cron", "/var/spool/cron/crontabs")
_SETTING: Final = re.compile(r"""\s*["']?[A-Za-z_]\w*["']?\s*=""")
_SCHEDULE: Final = re.compile(r"\s*(@\w+|(?:\S+\s+){4}\S+)\s+(.*)")


class NotCarried(Exception):
    """Why a job is told and not handed over, as half a sentence."""


@dataclass(frozen=True)
class Job:
    """One job of one side, as it is switched.

    kind is timer (name; service: what it starts, empty for the program itself), lines (name: a
    file of cron's; lines: those of it that are the side's), or file (name; switched off it is at
    aside).  files are what describes it, by path: text and mode; places are a timer's own files."""

    kind: str
    name: str
    aside: str = ""
    service: str = ""
    active: bool = True
    lines: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """From one side to the other: moved maps directories, unit is the program's unit on each side,
    apart what names bear on the new side (empty where the old name is free), before what they bear
    from an earlier upgrade; port is the old side's, when the new one has another."""

    mark: str
    moved: Mapping[str, str]
    unit: tuple[str, str]
    apart: str = ""
    before: str = ""
    port: int = 0

    def name(self, name: str) -> str:
        """A name on the new side."""
        return name.removesuffix(f"-{self.before}") + (f"-{self.apart}" if self.apart else "")

    def unit_name(self, unit: str) -> str:
        """The same for a unit."""
        stem, _, kind = unit.rpartition(".")
        return f"{self.name(stem)}.{kind}"

    def text(self, text: str, units: Mapping[str, str]) -> str:
        """A text for the new side.  Raises NotCarried when it would still point at the old one."""
        first, end, rest = text.partition("\n")
        if first.startswith("#!"):  # for the rewriting a comment, but somebody acts on it
            first = "#!" + rewritten(first[2:], self.moved)
        else:
            first = rewritten(first, self.moved)
        made = first + end + rewritten(rest, self.moved)
        for old, new in units.items():
            made = re.sub(rf"(?<![\w.@:-]){re.escape(old)}(?![\w.@:-])", _always(new), made)
        acted = [line for line in made.splitlines() if not is_comment(line)]
        ends = {p for pair in self.moved.items() for p in pair}
        for place in (old for old, new in self.moved.items() if old != new):
            if any(self._still(line, place, ends) for line in acted):
                raise NotCarried(f"it would still name {place}")
        if self.port and any(re.search(rf":{self.port}(?!\d)", line) for line in acted):
            raise NotCarried(f"it names the old side's port {self.port}")
        return made

    def _still(self, line: str, place: str, ends: set[str]) -> bool:
        for longer in sorted(ends, key=len, reverse=True):  # the new place may be below the old one
            if longer != place and PurePosixPath(longer).is_relative_to(place):
                line = line.replace(longer, "")
        return mentions(line, place)

    def both(self, text: str) -> str | None:
        """A place of the new side that the old side's job names already."""
        lines = [line for line in text.splitlines() if not is_comment(line)]
        news = [new for old, new in self.moved.items() if old != new and new not in self.moved]
        return next((new for new in news for line in lines if mentions(line, new)), None)


def _always(word: str) -> Callable[[object], str]:
    return lambda _: word


def ended(job: Found, places: Sequence[Path], move: Move) -> Job:
    """The job on the old side, as it is switched.  Raises NotCarried."""
    if not job.root:
        raise NotCarried("that takes root's rights on the old side")
    if "odd" in job.seen or any("\udc80" <= letter <= "\udcff" for letter in job.text("line")):
        raise NotCarried("its file is a link, long, or not text")
    if job.kind == TIMER:
        return _timer_here(job, move)
    path = Path(job.where)
    if _SCRIPTS.fullmatch(job.where):
        if "." in path.name or path.name.endswith("~"):
            raise NotCarried("cron may pass over a script of this name")
        return _file(path, move.mark, job.text("line"), 0o755)
    if job.where in _TABLES or str(path.parent) in _TABLES:
        mine = _lines_here(job, places)
        return Job("lines", job.where, lines=mine, files={job.where: (job.text("line"), 0o600)})
    raise NotCarried("of this kind of cron job we know too little")


def carried(job: Found, places: Sequence[Path], move: Move, application: str) -> tuple[Job, Job]:
    """The job on the old side and its like on the new one.  Raises NotCarried."""
    here = ended(job, places, move)
    whole = "".join(job.text(name) for name in job.seen if name == "line" or " of " in name)
    if there := move.both(whole):
        raise NotCarried(f"it names {there} of the new side as well")
    if here.kind == "timer":
        return here, _timer(job, move, here.active)
    if here.kind == "file":
        path = Path(job.where)
        name = re.sub(r"[^\w-]", "-", move.name(path.name), flags=re.ASCII)
        text = move.text(job.text("line"), {})
        return here, _file(path.with_name(name), move.mark, text, 0o755)
    return here, _lines(job, here.lines, move, application)


def _timer(job: Found, move: Move, active: bool) -> Job:
    service = (job.seen.get("unit") or [""])[0]
    timer, own = move.unit_name(job.where), service == move.unit[0]
    if own and not move.unit[1]:
        raise NotCarried("it starts the old side's unit, and the new side has none")
    units = {job.where: timer, service: move.unit[1] if own else move.unit_name(service)}
    if all(move.unit):
        units[move.unit[0]] = move.unit[1]
    files = {}
    for old in (job.where,) if own else (job.where, service):
        text = move.text(job.text(f"text of {old}"), units)
        if old == job.where and not re.search(r"^\s*Unit\s*=", text, re.MULTILINE):
            text += f"\n[Timer]\nUnit={units[service]}\n"
        files[f"{_UNITS}/{units[old]}"] = (text, 0o644)
    new = "" if own else units[service]
    return Job("timer", timer, "", new, active, files=files, places=tuple(files))


def _timer_here(job: Found, move: Move) -> Job:
    service = (job.seen.get("unit") or [""])[0]
    if "@" in job.where + service or not service.endswith(".service"):
        raise NotCarried(f"it starts {service or 'nothing'}, which is not carried")
    own = service == move.unit[0]
    kept = {
        f"{_UNITS}/{name.removeprefix('text of ')}": (job.text(name), 0o644)
        for name in job.seen
        if name.startswith("text of ") and not (own and name == f"text of {service}")
    }
    active = job.seen.get("active") == ["active"]
    started = "" if own else service
    mine = {job.where, started}
    places = [Path(file) for file in job.seen.get("file", ()) if file.startswith(f"{_UNITS}/")]
    own_files = tuple(str(p) for p in places if {p.name, p.parent.name.removesuffix(".d")} & mine)
    return Job("timer", job.where, "", started, active, files=kept, places=own_files)


def _lines_here(job: Found, places: Sequence[Path]) -> tuple[str, ...]:
    """The lines of a file of cron's that are the side's."""
    mine: list[str] = []
    for line in job.seen.get("line", ()):
        named = any(mentions(line, str(place)) for place in places)
        if not line.strip() or is_comment(line) or not named:
            continue
        if _SETTING.match(line):
            raise NotCarried("a variable in it names the old side's place")
        mine.append(line)
    return tuple(mine)


def _lines(job: Found, mine: Sequence[str], move: Move, application: str) -> Job:
    path = Path(job.where)
    system = path.parent in (Path("/etc"), Path("/etc/cron.d"))
    kept = [f"# Made by Crossfade from {path}."]
    for line in job.seen.get("line", ()):
        if not line.strip() or is_comment(line):
            continue
        if _SETTING.match(line):
            kept.append(line)
        elif line in mine:
            kept.append(line if system else _for_user(line, path.name))
    base = path.name if path.parent == Path("/etc/cron.d") else f"{application}-{path.name}"
    name = re.sub(r"[^\w-]", "-", move.name(base), flags=re.ASCII)
    text = move.text("".join(f"{line}\n" for line in kept), {})
    return _file(Path("/etc/cron.d") / name, move.mark, text, 0o600)


def accounts(text: str) -> list[str]:
    """The accounts that the lines of a file in /etc/cron.d name."""
    lines = [line for line in text.splitlines() if not is_comment(line) and line.strip()]
    schedules = [_SCHEDULE.fullmatch(line) for line in lines if not _SETTING.match(line)]
    return sorted({found[2].split()[0] for found in schedules if found and found[2].strip()})


def _for_user(line: str, user: str) -> str:
    """A line of a user's crontab as the machine's own tables have it."""
    if not (parts := _SCHEDULE.fullmatch(line)):
        raise NotCarried("it has a line that we do not understand")
    return f"{parts[1]} {user} {parts[2]}"


def _file(path: Path, mark: str, text: str, mode: int) -> Job:
    aside = path.with_name(f".{path.name}.crossfade-{mark}~")  # a name that cron passes over
    return Job("file", str(path), aside=str(aside), files={str(path): (text, mode)})
