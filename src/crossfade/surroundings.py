"""How the old program is run besides its configuration files, and what the new side takes of that.

A unit comes over with its drop-ins and files of variables, and a container with its variables; the
drivers do that, and say here what becomes of each.  Variables that the old program has and that
nothing of this explains are asked about: a start script or somebody's shell gave them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from crossfade.configuration import Decisions, answer_to, write_private
from crossfade.drivers.services.docker import DockerService
from crossfade.drivers.services.spawn import PASSED_ON
from crossfade.drivers.services.systemd import SystemdService
from crossfade.drivers.services.unit_account import account
from crossfade.drivers.services.unit_text import moved_in
from crossfade.errors import Failed
from crossfade.finding import usual
from crossfade.manifest import SideSpec, is_reference
from crossfade.ports import Host, RunSetting, Service
from crossfade.recipes import looks_secret, may_name_secret

__all__ = ["PROGRAM", "Surroundings", "moved"]

PROGRAM: Final = "the running program"
"""Stands for a file where a variable is in none that we know."""
_OURS: Final = "CROSSFADE_"
_ASKED: Final = "the running program has it, and nothing that comes over gives it to the new side"
_RUNS: Final = "the recipe says what the new side runs"
_GIVEN: Final = "the recipe or crossfade.yaml gives the new side a value of its own"
_DEFAULT: Final = "the old program has it, which goes before what the recipe would give"


def moved(old: SideSpec, new: SideSpec) -> dict[str, str]:
    """The old side's directories, and what they are on the new side."""
    pairs = ((old.root, new.root), (old.config, new.config), (old.data, new.data))
    return {str(here): str(there) for here, there in pairs}


@dataclass(frozen=True, slots=True)
class _Seen:
    """The old program's own variables, and which of them its container or unit sets on purpose."""

    variables: Mapping[str, str]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What runs the two sides: the names of their service drivers."""

    old: str
    new: str


class Surroundings:
    """Of one attempt.  service and host are the old side's; given are the variables that recipe and
    manifest give each side, defaults those of the recipe that yield to what the old program has.
    What was seen is kept below ``keep`` (mode 0600), because in a pause the old program does not
    run any more."""

    def __init__(
        self,
        specs: tuple[SideSpec, SideSpec],
        service: Service,
        host: Host,
        given: tuple[Mapping[str, str], Mapping[str, str]],
        defaults: Mapping[str, str],
        keep: Path,
    ) -> None:
        old, new = specs
        self._kinds = _Kinds(old.service.driver, new.service.driver)
        # from one container to another they go as they are
        self._moved = {} if self._carried_by_driver else moved(old, new)
        self._service, self._host = service, host
        self._given_old, self._given_new = given
        said = new.service.environment
        self._yielding = {name: value for name, value in defaults.items() if name not in said}
        self._keep = keep
        self._decisions = Decisions(keep / "decisions.toml")
        self._about = " ".join(map(str, (old.host.name, old.root, old.data, old.address)))
        self._trouble = ""
        self._command: tuple[str, ...] = ()  # that somebody else has started, if it is not ours
        self._seen = self._remembered()
        self._of_unit: list[RunSetting] | None = None  # asked for once, and not in a pause

    def taken(self) -> dict[str, str]:
        """The variables that the new side's service is given for this; secrets as references to
        files of mode 0600.  Raises UsageError (``decisions-invalid``)."""
        return {
            one.setting[-1]: self._as_given(one.setting[-1], one.ours)
            for one in self._of_program()
            if not self._carried_by_driver or one.setting[-1] in self._yielding
            if one.verdict in ("carried", "rewritten")
            or (one.asked and answer_to(one, self._decisions) == "yours")
        }

    def brought(self) -> set[str]:
        """The recipe's defaults that the old unit has a value of, which comes over with it."""
        units = self._kinds == _Kinds("systemd", "systemd")
        return {*self._seen.told} & {*self._yielding} if units else set()

    @property
    def _carried_by_driver(self) -> bool:
        return self._kinds == _Kinds("docker", "docker")

    def settings(self, ours: Service) -> list[RunSetting]:
        """What becomes of everything, ours being the new side's service.  Raises Failed."""
        found = list(self._of_program())
        if self._trouble:
            why = f"its environment could not be read ({self._trouble}), so compare it yourself"
            found.append(RunSetting(PROGRAM, (), "out-of-scope", why))
        if self._command:
            before, after = (" ".join(words) for words in (self._command, ours.command()))
            start = ("Service", "ExecStart")
            found.append(RunSetting(PROGRAM, start, "kept-new", _RUNS, before, after))
        if isinstance(ours, SystemdService):
            if self._of_unit is None:
                self._of_unit = account(ours)
            return [*self._of_unit, *found]
        if isinstance(self._service, SystemdService):
            unit = self._service.old_unit()
            why = "the new side has no unit: its own container or command has to be told"
            found += [
                RunSetting(s.file, (s.section, s.name), "out-of-scope", why, s.value, line=s.line)
                for s in unit.settings()
                if s.section == "Service" and not s.name.startswith(("Exec", "Environment"))
            ]
        return found

    # -- the variables of the program --

    def _of_program(self) -> Iterator[RunSetting]:
        """Those that no file of a unit brings over."""
        on_it = "it was set on the container" if self._kinds.old == "docker" else "its unit sets it"
        for name, value in self._seen.variables.items():
            there = moved_in(value, self._moved)
            one = RunSetting(PROGRAM, (name,), "needs-review", _ASKED, value, there)
            if name in self._yielding:
                if value != self._yielding[name]:
                    verdict = "carried" if there == value else "rewritten"
                    yield replace(one, verdict=verdict, why=_DEFAULT)
                continue
            if self._given_old.get(name) == value and name in self._given_new:
                continue
            if name in self._given_new:
                yield replace(one, verdict="kept-new", why=_GIVEN, ours="")
            elif name in self._given_old:
                why = "crossfade.yaml gives it to the old side only"
                yield replace(one, verdict="removed", why=why, ours="")
            elif name in self._seen.told:
                verdict = "carried" if there == value else "rewritten"
                yield replace(one, verdict=verdict, why=on_it)
            else:
                asked = replace(one, asked=True)
                dropped = answer_to(asked, self._decisions) == "new"
                yield replace(asked, ours="") if dropped else asked

    def _remembered(self) -> _Seen:
        """What the old program has; what it last had where it does not run."""
        kept = self._keep / "running.json"
        try:
            found = self._look()
        except Failed as failed:
            found, self._trouble = None, failed.what
        if found is not None:
            given = {*self._given_old, *self._given_new} - {*self._yielding}  # never taken
            variables = {n: value for n, value in found.variables.items() if n not in given}
            data = {"of": self._about, "variables": variables, "told": found.told}
            write_private(kept, json.dumps(data).encode())
            return found
        if kept.exists():
            data = json.loads(kept.read_text(encoding="utf-8"))
            if data["of"] == self._about:
                return _Seen(dict(data["variables"]), tuple(data["told"]))
        return _Seen({}, ())

    def _look(self) -> _Seen | None:
        """None while it does not run.  Raises Failed."""
        if isinstance(self._service, DockerService):
            found = self._without_usual(self._service.variables())
            found.pop("container", None)  # engines say so to every program
            return _Seen(found, tuple(found))
        state = self._service.look()
        pids, self._command = state.pids, state.foreign
        if not pids:
            return None
        said = self._host.run(("cat", f"/proc/{pids[0]}/environ")).out.split(b"\0")
        pairs = [one.decode("utf-8", "surrogateescape").partition("=") for one in said if one]
        found = self._without_usual({name: value for name, _, value in pairs})
        if not isinstance(self._service, SystemdService):
            return _Seen(found, ())
        known = self._service.old_unit().names()
        if self._kinds.new == "systemd":  # its unit brings them
            found = {name: value for name, value in found.items() if name not in known}
        return _Seen(found, tuple(known))

    def _without_usual(self, found: Mapping[str, str]) -> dict[str, str]:
        """Without what shells and systemd give to everything, and what it would be given anyway."""
        ours = {n: os.environ.get(n) for n in PASSED_ON} if self._kinds.new == "process" else {}
        return {
            name: value
            for name, value in sorted(found.items())
            if not usual(name) and not name.startswith(_OURS) and ours.get(name) != value
        }

    def _as_given(self, name: str, value: str) -> str:
        """A value for the service: what may be a secret is written to a file, and named."""
        if not (may_name_secret(name) or looks_secret(value) or is_reference(value)):
            return value
        path = self._keep / "variables" / name
        write_private(path, f"{value}\n".encode("utf-8", "surrogateescape"))
        return f"file:{path}"
