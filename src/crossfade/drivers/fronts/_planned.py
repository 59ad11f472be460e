"""What is to be changed in a web server's configuration: looked at, and shown.  Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossfade.drivers.fronts._changes import Change, Kept, difference, line_of, without_us
from crossfade.drivers.fronts._files import read, unwritable
from crossfade.drivers.fronts._places import Place, names, replaced
from crossfade.drivers.fronts.way import Way
from crossfade.errors import Failed
from crossfade.manifest import FrontSpec
from crossfade.model import Address, Side
from crossfade.ports import Completed, FrontMemory, FrontPlan, Host

__all__ = ["PlannedFront", "differing"]

_PLAIN = ("", "http", "ws")


class PlannedFront:
    """A web server that is told its upstreams by files, on this machine.

    directory keeps the original of each file that is changed, by its checksum."""

    programs: tuple[str, ...] = ()
    """What its processes are called."""
    title = ""
    reload_loses = ""
    """What of its clients' requests its own reload may lose; empty when nothing of note."""

    def __init__(
        self, spec: FrontSpec, way: Way, host: Host, directory: Path, memory: FrontMemory
    ) -> None:
        self.spec = spec
        self.file = spec.file
        self.name = f"{self.title} ({spec.file})"
        self.way = way
        self.directory = directory
        self.memory = memory
        self._host = host

    # What a server's own module says.

    def usual_check(self) -> tuple[str, ...]:
        """The command that checks the configuration."""
        raise NotImplementedError

    def usual_reload(self) -> tuple[str, ...]:
        """The command that makes it read its configuration again, without loss."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """Every file of the configuration."""
        raise NotImplementedError

    def places(self, text: str) -> Iterator[Place]:
        """Every upstream in a file's text."""
        raise NotImplementedError

    def unfit(self, place: Place) -> str:
        """Why the gate cannot stand in for an upstream; empty when it can."""
        if place.scheme not in _PLAIN:
            return f"{place.scheme}:// is not what the gate speaks"
        return ""

    # Looking.

    @property
    def check(self) -> tuple[str, ...]:
        """The command that checks the configuration, as the manifest says or as usual."""
        return self.spec.check or self.usual_check()

    def run(self, argv: Sequence[str]) -> Completed:
        """Run a command on the server's machine.  Raises Failed."""
        return self._host.run(argv, timeout=60.0)

    def must_hold(self, what: str) -> None:
        """Let the server check its configuration.  Raises Failed(front-config-invalid)."""
        if not self.check:  # a server without a checker
            return
        try:
            self.run(self.check)
        except Failed as failed:
            raise Failed(
                "front-config-invalid",
                f"The configuration of {what} does not pass its own check.",
                where=failed.where,
                next=" ".join(self.check),
            ) from failed

    def noted(self) -> Mapping[str, Any]:
        """What was noted of the insertion that stands; empty when none does."""
        noted = self.memory.last()
        return noted if noted.get("state") == "in" else {}

    def inserted_by(self) -> str:
        """Who asked for the insertion that stands; empty when none does."""
        return str(self.noted().get("by", ""))

    def renew(self) -> None:
        """Nothing: files outlast a restart of the machine."""

    def plan(self) -> FrontPlan:
        """What ``insert`` would change; see the port."""
        self.must_hold(self.name)
        shown = self._shown(self.insertion())
        if not self.reload_loses or not shown.difference:
            return shown
        before = (
            f"{self.reload_loses}; to have that reload at a quiet hour, and none in the cutover: "
            "crossfade gate install"
        )
        return replace(shown, warnings=(*shown.warnings, before))

    def plan_out(self, to: Side) -> FrontPlan:
        """What ``take_out`` would change; see the port."""
        self.must_hold(self.name)
        return self._shown(self.removal(to))

    # What is to be.

    def insertion(self) -> list[Change]:
        """Every file, as it is to be with the gate in it.  Raises Failed."""
        gate = str(self.way.gate)
        changes, by_hand = [], False
        for path, text, base in self._bases():
            places = self._naming(base, self.way.old)
            self._must_fit(path, base, places)
            by_hand |= bool(self._naming(base, self.way.gate))
            after = replaced(base, places, [gate])
            texts = tuple(place.text for place in places)
            changes.append(Change(path, text, after, base, texts))
        if not by_hand and not any(change.texts for change in changes):
            raise Failed(
                "front-names-nobody",
                f"The configuration of {self.name} does not name the old side ({self.way.old}).",
                where=", ".join(str(change.path) for change in changes),
                next="crossfade plan   (with old.address as that configuration names it)",
            )
        return changes

    def removal(self, to: Side) -> list[Change]:
        """Every file, as it is to be without the gate.  Raises Failed."""
        changes = []
        for path, text, base in self._bases():
            after = base
            if to is Side.NEW:
                new = str(self.way.sides[Side.NEW])
                places = [*self._naming(base, self.way.old), *self._naming(base, self.way.gate)]
                after = replaced(base, places, [new])
            changes.append(Change(path, text, after, base, ()))
        return changes

    def must_be_writable(self, changes: Iterable[Change]) -> None:
        """Every file that is to change can be replaced.  Raises Failed(front-unwritable)."""
        for change in changes:
            if why := unwritable(change.path):
                raise Failed(
                    "front-unwritable",
                    f"The configuration file {change.path} cannot be written: {why}.",
                    where=str(change.path),
                )

    def _bases(self) -> Iterator[tuple[Path, str, str]]:
        """Every file once, whatever links lead to it: its text now, and what it is without us."""
        noted = self.noted()
        for path in dict.fromkeys(file.resolve() for file in self.files()):
            text, kept = read(path), Kept.of(noted, path)
            ours = self._naming(text, self.way.gate)
            yield path, text, without_us(path, text, kept, ours, self._original(kept))

    def _naming(self, text: str, address: Address) -> list[Place]:
        found = (place for place in self.places(text) if names(place.address, address))
        return sorted(found, key=lambda place: place.start)

    def _original(self, kept: Kept | None) -> str:
        """The kept copy of a file; nothing where it is gone."""
        with suppress(Failed):
            return read(self.directory / kept.original) if kept else ""
        return ""

    def _must_fit(self, path: Path, base: str, places: Iterable[Place]) -> None:
        for place in places:
            if why := self.unfit(place):
                raise Failed(
                    "front-unfit",
                    f"The gate cannot stand between {self.title} and the old side: {why}.",
                    where=f"{path}, line {line_of(base, place.start)}: {place.what}",
                    next="crossfade plan   (once the old side is asked by plain HTTP there)",
                )

    # Showing.

    def _shown(self, changes: Sequence[Change]) -> FrontPlan:
        wanted = differing(changes)
        self.must_be_writable(wanted)
        places = [
            f"{change.path}:{line_of(change.base, place.start)}"
            for change in wanted
            for place in self._naming(change.base, self.way.old)
        ]
        warnings = [word for change in changes for word in self._warnings(change)]
        return FrontPlan(tuple(places), difference(wanted), tuple(warnings))

    def _warnings(self, change: Change) -> Iterator[str]:
        """What names the old side still, and who else is chosen where it is."""
        old, base = self.way.old, change.base
        ours = self._naming(base, old)
        mine = {line_of(base, place.start) for place in ours}
        written = re.compile(re.escape(str(old)) + r"(?!\d)")
        for number, line in enumerate(base.split("\n"), 1):
            if number not in mine and written.search(re.sub(r"(^|\s)#.*", "", line)):
                yield f"{change.path}:{number} names the old side and stays as it is"
        groups = {place.group for place in ours if place.group >= 0}
        for place in self.places(base):
            if place.group in groups and not names(place.address, old):
                where = f"{change.path}:{line_of(base, place.start)}"
                yield f"{where}: requests that go to {place.address} are not held by the gate"


def differing(changes: Iterable[Change]) -> list[Change]:
    """Those that change something."""
    return [change for change in changes if change.before != change.after]
