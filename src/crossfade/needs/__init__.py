"""What a run needs of its machines, and whether it is there: each lack with its fix.

Each kind of need has a file here.  Most are questions that a machine's shell answers, all of them
in one command; the machines are asked side by side.  Disk space and what a database's server needs
are looked at by the plan itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from crossfade.errors import Failed
from crossfade.manifest import Manifest
from crossfade.model import Finding
from crossfade.needs import (
    _accounts,
    _clocks,
    _installing,
    _ports,
    _programs,
    _reach,
    _rights,
    _straight,
    _volumes,
)
from crossfade.needs._asking import Clock, Question, ask
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need
from crossfade.ports import Work

__all__ = ["Need", "needs_of"]

_ASKED: Final[tuple[Callable[[About, Machine], Iterator[Question]], ...]] = (
    _programs.asked,
    _installing.asked,
    _rights.asked,
    _accounts.asked,
    _reach.asked,
)
"""Questions to a machine's shell."""

_BESIDE: Final[tuple[Callable[[About], list[Need]], ...]] = (
    _reach.needs,
    _ports.needs,
    _straight.needs,
    _volumes.needs,
)
"""What is found out in other ways."""

_Answer = tuple[Clock | None, list[Need]]


def needs_of(manifest: Manifest, work: Work, straight: int | None = None) -> tuple[Need, ...]:
    """Everything that this run needs, what is lacking first.  Changes nothing, raises nothing for
    a machine that cannot be asked: that is a lack.

    straight is the port for trees that go straight between machines (0: any), None for none."""
    about = About(manifest, work, straight)
    machines = about.machines()
    with ThreadPoolExecutor(len(machines) + len(_BESIDE)) as pool:
        asked = [pool.submit(_answer, about, machine) for machine in machines]
        beside = [pool.submit(_found, about, look) for look in _BESIDE]
        answers = [one.result() for one in asked]
        found = [need for _, needs in answers for need in needs]
        if not any(need.trouble for need in found):
            found += [need for one in beside for need in one.result()]
    clocks = [(one, clock) for one, (clock, _) in zip(machines, answers, strict=True) if clock]
    found += _clocks.needs(clocks)
    return tuple(sorted(found, key=lambda need: not need.lacks))


def _answer(about: About, machine: Machine) -> _Answer:
    questions = [question for kind in _ASKED for question in kind(about, machine)]
    try:
        clock, found = ask(machine.host, questions)
    except Failed as failed:
        claim, fix = f"{machine.name} can be asked", machine.fix("true")
        return None, [Need.of_trouble(claim, failed, "docker ps" if machine.contained else fix)]
    if not machine.here:
        found.insert(0, Need("host-unreachable", _answers(machine)))
    return clock, found


def _answers(machine: Machine) -> Finding:
    return Finding(f"{machine.name} can be asked", "it can", "it answers", "asking it", True)


def _found(about: About, look: Callable[[About], list[Need]]) -> list[Need]:
    try:
        return look(about)
    except Failed as failed:
        return [Need.of_trouble(f"{about.work.new.host.name} can be asked", failed)]
