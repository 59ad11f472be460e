"""One attempt: what its steps get, remembered in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from crossfade.engine.crashpoints import crash_point
from crossfade.model import Run
from crossfade.ports import (
    Backups,
    Carrier,
    Check,
    Configuration,
    DeadMan,
    Front,
    Host,
    Journal,
    Limits,
    Names,
    Parts,
    Progress,
    Rendering,
    Teller,
    Traffic,
)

__all__ = ["AttemptWork", "Silent"]

T = TypeVar("T")


class Silent:
    """A teller that keeps silent."""

    def say(self, text: str) -> None:
        """One line for people."""

    @contextmanager
    def bar(self, what: str) -> Iterator[Progress]:
        """A bar for long work."""
        del what
        yield lambda done, total: None


@dataclass(slots=True)
class AttemptWork:
    """``ports.Work``, with every measured part of the step that runs now in ``parts``."""

    run: Run
    label: str
    unmuted: bool
    here: Host
    old: Parts
    new: Parts
    traffic: Traffic
    configuration: Configuration
    dead_man: DeadMan
    backups: Backups
    limits: Limits
    directory: Path
    journal: Journal
    find_carriers: Callable[[], Mapping[str, Carrier]]
    front: Front | None = None
    canaries: Sequence[Check] = ()
    checkers: Sequence[Check] = ()
    answers: Check | None = None
    teller: Teller = field(default_factory=Silent)
    accepted: frozenset[str] = frozenset()
    names: Names | None = None
    held: ExitStack = field(default_factory=ExitStack)
    straight: Rendering | None = None
    written: Mapping[str, bytes] = field(default_factory=dict)
    pause_began: float | None = None
    step: str = ""
    parts: list[dict[str, object]] = field(default_factory=list)
    found_carriers: Mapping[str, Carrier] | None = None

    @property
    def carriers(self) -> Mapping[str, Carrier]:
        """What carries each database; looked up when first asked for."""
        if self.found_carriers is None:
            self.found_carriers = self.find_carriers()
        return self.found_carriers

    def once(self, name: str, do: Callable[[], T]) -> T:
        """Do something that must not be repeated in this upgrade; its JSON result is remembered.

        What follows the first space of the name tells apart occasions of the same deed."""
        for entry in self.journal.entries(kind="once"):
            if entry["name"] == name:
                return cast(T, cast(Mapping[str, object], entry["payload"])["result"])
        deed = name.partition(" ")[0]
        self.crash_point(f"{deed}.before-act")
        result = do()
        self.crash_point(f"{deed}.after-act")
        self.journal.append(self.label, name, "once", {"result": result})
        self.crash_point(f"{deed}.after-record")
        return result

    def at_fence(self) -> Mapping[str, str]:
        """The old side's positions at the fence of the last cutover."""
        found: Mapping[str, str] = {}
        for entry in self.journal.entries(kind="step-done"):
            payload = cast(Mapping[str, Mapping[str, object]], entry["payload"])
            positions = payload["details"].get("positions")
            if entry["name"] == "stop" and positions:
                found = cast(Mapping[str, str], positions)
        return found

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a part of the step; a named place for crash tests on both ends."""
        self.crash_point(f"{name}.before-act")
        began, clock = time.time(), time.monotonic()
        try:
            yield
        finally:
            seconds = round(time.monotonic() - clock, 4)
            self.parts.append({"name": name, "began": round(began, 4), "seconds": seconds})
        self.crash_point(f"{name}.after-act")

    def crash_point(self, name: str) -> None:
        """Pass the place ``<run>.<step>.<name>``; spaces become dashes."""
        crash_point(f"{self.run}.{self.step}.{name}".replace(" ", "-"))

    def tell(self, text: str) -> None:
        """Progress for people."""
        self.teller.say(text)

    def progress(self, what: str) -> AbstractContextManager[Progress]:
        """A bar for long work."""
        return self.teller.bar(what)
