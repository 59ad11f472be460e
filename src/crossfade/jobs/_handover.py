"""The jobs of both sides, handed over; what was found stands in a record on this machine.

The record is written before the first job is touched, and is there as long as one of the old side
may be off or one of the new side may stand.  It is what every later act goes by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from crossfade.errors import Failed
from crossfade.jobs._acts import act, order
from crossfade.jobs._carry import Job, Move, NotCarried, accounts, carried, ended
from crossfade.jobs._find import find
from crossfade.model import Finding, Side
from crossfade.ports import Host

__all__ = ["HandedOver", "Handover"]

_Pair = tuple[Job, Job | None]
_ABLE: Final = r"""
[ "$(id -u)" = 0 ] || echo 'no root'
while [ $# -ge 2 ]; do
    case $1 in
    path) if [ -e "$2" ] || [ -h "$2" ]; then printf 'there\t%s\n' "$2"; fi
        [ -d "${2%/*}" ] || printf 'without\t%s\n' "${2%/*}" ;;
    unit) state=$(systemctl show -p LoadState --value -- "$2" 2>/dev/null)
        [ -n "$state" ] || printf 'without\tsystemd\n'
        [ "$state" = not-found ] || printf 'there\t%s\n' "$2" ;;
    user) id -- "$2" >/dev/null 2>&1 || printf 'without\tthe account %s\n' "$2" ;;
    esac
    shift 2
done; :
"""


@dataclass
class Handover:
    """What is found on the old side and handed over.  nobody: why the new side can have no jobs;
    then the old side's are only switched off, and on again by whatever goes back."""

    record: Path
    application: str
    places: Sequence[Path]
    move: Move
    old: Callable[[], Host]
    new: Callable[[], Host]
    here: Host
    nobody: str = ""
    _found: tuple[list[_Pair], list[str], dict[str, str]] | None = field(default=None)

    def look(self, *, again: bool = False) -> tuple[list[_Pair], list[str], dict[str, str]]:
        """Those that can be switched, each with its like on the new side, the others in words with
        the reason, and a digest of each by its name.  Reads only; once, unless asked again."""
        if self._found is None or again:
            self._found = self._look()
        return self._found

    def _look(self) -> tuple[list[_Pair], list[str], dict[str, str]]:
        pairs: list[_Pair] = []
        told: list[str] = []
        seen: dict[str, str] = {}
        for job in find(self.old(), self.places, self.move.unit[0]):
            read = {n: lines for n, lines in job.seen.items() if n != "active"}
            seen[job.words] = sha256(repr(read).encode("utf-8", "replace")).hexdigest()[:16]
            try:
                if self.nobody:
                    pairs.append((ended(job, self.places, self.move), None))
                    continue
                old, new = carried(job, self.places, self.move, self.application)
                self._must_fit(new, [one for _, one in pairs if one])
                pairs.append((old, new))
            except NotCarried as why:
                told.append(f"{job.words} ({why})")
        return pairs, told, seen

    def _must_fit(self, job: Job, others: Sequence[Job]) -> None:
        """The new side can have it.  Raises NotCarried."""
        if any(job.name == other.name for other in others):
            raise NotCarried(f"two jobs would be {job.name}")
        ours = {name for other in self.read()[Side.NEW] for name in (*other.files, other.aside)}
        asked: list[str] = []
        for path, (text, _) in job.files.items():
            if path not in ours:
                units = job.kind == "timer"
                asked += ["unit", Path(path).name] if units else ["path", path]
            if path.startswith("/etc/cron.d/"):
                asked += [word for user in accounts(text) for word in ("user", user)]
        done = self.new().run(("sh", "-c", _ABLE, "sh", *asked), ok=(0, 1))
        for line in done.out.decode("utf-8", "replace").splitlines():
            what, _, which = line.partition("\t")
            if what == "no root":
                raise NotCarried("that takes root's rights on the new side")
            if what == "there":
                raise NotCarried(f"the new side has {which} already")
            raise NotCarried(f"the new side is without {which}")

    def read(self) -> dict[Side, list[Job]]:
        """The jobs in the record, by side."""
        if not self.record.exists():
            return {Side.OLD: [], Side.NEW: []}
        said = json.loads(self.record.read_text(encoding="utf-8"))
        return {side: [_job(job) for job in said[side]] for side in (Side.OLD, Side.NEW)}

    def write(self, jobs: dict[Side, list[Job]]) -> None:
        """Write the record, or remove it when there are none."""
        if any(jobs.values()):
            said = {str(side): [asdict(job) for job in some] for side, some in jobs.items()}
            self.here.write(self.record, json.dumps(said, indent=1).encode())
        else:
            self.here.remove(self.record)


def _job(said: dict[str, Any]) -> Job:
    files = {path: (text, mode) for path, (text, mode) in said["files"].items()}
    some = {name: tuple(said[name]) for name in ("lines", "places")}
    return Job(**{**said, **some, "files": files})


@dataclass
class HandedOver:
    """One side's jobs: ``ports.Jobs``.  Without a handover (a rehearsal) there are none."""

    side: Side
    host: Host
    handover: Handover | None

    @property
    def _mine(self) -> list[Job]:
        return self.handover.read()[self.side] if self.handover else []

    def known(self) -> list[str]:
        """Those that stand in the record, each by its timer or file."""
        return [job.name for job in self._mine]

    def found(self) -> tuple[list[str], list[str]]:
        """What would be handed over, and what would not, in words."""
        if not self.handover:
            return [], []
        pairs, told, _ = self.handover.look()
        return [f"{_words(old)} becomes {_words(new)}" for old, new in pairs if new], told

    def ending(self) -> tuple[list[str], str]:
        """What would only be switched off, in words, and why."""
        if not self.handover or not self.handover.nobody:
            return [], ""
        pairs, _, _ = self.handover.look()
        return [_words(old) for old, _ in pairs], self.handover.nobody

    def facts(self) -> dict[str, str]:
        """A digest of each job that was found, by its name."""
        return self.handover.look()[2] if self.handover else {}

    def carry(self) -> None:
        """Look again, write the record, and write the new side's jobs, switched off."""
        if not (handover := self.handover):
            return
        if any(handover.read().values()):
            self.remove()
        pairs, _, _ = handover.look(again=True)
        if not pairs:
            return
        news = [new for _, new in pairs if new]
        handover.write({Side.OLD: [old for old, _ in pairs], Side.NEW: news})
        for job in news:
            for path, (text, mode) in job.files.items():
                place = Path(job.aside or path)
                self.host.write(place, text.encode("utf-8", "surrogateescape"), mode=mode)
        self._reload(news)

    def switch(self, on: bool, wait: float = 0) -> list[Finding]:
        """Switch them on or off, and read back.  wait: at most so many seconds for what runs."""
        if not (jobs := self._mine) or not self.handover:
            return []
        verb = "on" if on else "off"
        seen = act(self.host, verb, self.handover.move.mark, jobs, wait)
        claim = f"the {self.side} side's jobs are {verb}"
        expected = ", ".join(f"{job.name} {verb}" for job in jobs)
        shown = [f"{job.name} {is_}" for job, is_ in zip(jobs, seen, strict=False)]
        shown += [f"a unit {left}" for left in seen[len(jobs) :]]
        return [Finding.equal(claim, expected, ", ".join(shown), "the machine, read back")]

    def revival(self) -> list[tuple[str, ...]]:
        """The commands with which somebody else (the dead-man's switch) switches them on."""
        if not (jobs := self._mine) or not self.handover:
            return []
        return [self.host.outside(order("on", self.handover.move.mark, jobs))]

    def remove(self) -> list[Finding]:
        """Remove what we made on the new side; fine when there is nothing."""
        if self.side is not Side.NEW or not self.handover:
            return []
        if not (jobs := self._mine):
            self.handover.write({Side.OLD: [], Side.NEW: []})
            return []
        return self._remove(self.handover, jobs, {Side.OLD: [], Side.NEW: []})

    def retire(self, archive: Path) -> list[Finding]:
        """Keep the old side's below ``archive``, on this machine, then remove them."""
        if self.side is not Side.OLD or not (jobs := self._mine) or not self.handover:
            return []
        for job in jobs:
            for path, (text, _) in job.files.items():
                kept = archive / "jobs" / path.lstrip("/")
                self.handover.here.write(kept, text.encode("utf-8", "surrogateescape"))
        return self._remove(self.handover, jobs, {**self.handover.read(), Side.OLD: []})

    def _remove(
        self, handover: Handover, jobs: list[Job], left: dict[Side, list[Job]]
    ) -> list[Finding]:
        seen = act(self.host, "remove", handover.move.mark, jobs)
        if bad := [one for one in seen if one != "off"]:
            what = f"Jobs of the {self.side} side cannot be switched off: {', '.join(bad)}."
            raise Failed("job-does-not-stop", what, where=", ".join(job.name for job in jobs))
        for job in jobs:
            for place in map(Path, job.places):
                self.host.remove(place)
                if place.parent.name.endswith(".d"):
                    empty = ("rmdir", "--ignore-fail-on-non-empty", str(place.parent))
                    self.host.run(empty, ok=(0, 1))
        self._reload(jobs)
        handover.write(left)
        claim = f"the {self.side} side's jobs are removed"
        return [Finding.equal(claim, len(jobs), len(seen), "the machine, read back")]

    def _reload(self, jobs: Sequence[Job]) -> None:
        if any(job.kind == "timer" for job in jobs):
            self.host.run(("systemctl", "daemon-reload"))


def _words(job: Job) -> str:
    if job.kind == "lines":
        return f"{len(job.lines)} of the lines of {job.name}"
    return job.name
