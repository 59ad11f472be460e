"""Clocks: how far the machines' differ, more than the way there and back explains.

We compare no times of different machines, so no run fails half way for it.  The application does.
After the switch its clock jumps by the difference between old and new: sessions and tokens that
the old side signed count as not yet valid or as expired, and rows and identifiers that are ordered
by time go backwards.  That cannot be told apart from good data later, and one command prevents it;
so more than a minute between the two is refused.  Less, or a difference to this machine only (whose
clock alone measures leases), makes reports and logs hard to read, and is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crossfade.model import Finding, Side
from crossfade.needs._asking import Clock
from crossfade.needs._machines import Machine
from crossfade.needs._need import Need

__all__ = ["needs"]

_TOLD: Final = 5.0
_REFUSED: Final = 60.0


def needs(clocks: Sequence[tuple[Machine, Clock]]) -> list[Need]:
    """One need for each machine but this one, and one for old and new together."""
    found = [_beside_ours(machine, clock) for machine, clock in clocks if not machine.here]
    sides = {side: (machine, clock) for machine, clock in clocks for side, _ in machine.sides}
    if len(sides) == len(Side) and sides[Side.OLD][0] is not sides[Side.NEW][0]:
        found.append(_between(sides[Side.OLD], sides[Side.NEW]))
    return found


def _beside_ours(machine: Machine, clock: Clock) -> Need:
    differs = abs(clock.ahead) - clock.unsure
    seen = f"{abs(clock.ahead):.1f} s {'ahead' if clock.ahead > 0 else 'behind'}"
    if differs <= 0:
        seen = "no difference that can be seen"
    finding = Finding(
        f"the clock of {machine.name} is that of this machine",
        f"at most {_TOLD:.0f} s of difference",
        seen,
        "date",
        differs <= _TOLD,
    )
    return Need("clocks-differ", finding, _set(machine), stops=False)


def _between(old: tuple[Machine, Clock], new: tuple[Machine, Clock]) -> Need:
    (there, was), (machine, now) = old, new
    differs = abs(now.ahead - was.ahead) - was.unsure - now.unsure
    wrong = machine if abs(now.ahead) > abs(was.ahead) else there
    finding = Finding(
        f"the clocks of {there.name} (old side) and {machine.name} (new side) agree",
        f"at most {_REFUSED:.0f} s of difference",
        f"{max(differs, 0):.1f} s of difference",
        "date on both",
        differs <= _REFUSED,
    )
    return Need("clocks-differ", finding, _set(wrong))


def _set(machine: Machine) -> str:
    if machine.contained:
        return "timedatectl set-ntp true   (on the machine of the container's engine)"
    return machine.fix("timedatectl", "set-ntp", "true")
