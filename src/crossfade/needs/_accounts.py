"""Accounts: the one that the new side's program runs as exists on its machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crossfade.errors import Failed
from crossfade.model import Finding, Side
from crossfade.needs._asking import Question
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need

__all__ = ["asked"]

_IS_THERE: Final = 'id -u -- "$1"'
_OF_UNIT: Final = 'systemctl show --property=User --value -- "$1"'


def asked(about: About, machine: Machine) -> Iterator[Question]:
    """Of the new side's machine, whether it has the account that the manifest names; of the old
    side's, which one its unit has, for the new unit gets the same."""
    new, old = about.new, about.old
    user = new.service.user if new.service.driver != "process" else ""
    if machine.new and _named(user):
        yield Question(_IS_THERE, (user,), lambda told: [_need(machine, user, told.strip())])
    units = new.service.driver == old.service.driver == "systemd"
    if units and not user and Side.OLD in dict(machine.sides) and machine.new is None:
        yield Question(_OF_UNIT, (old.service.unit,), lambda told: _of_unit(about, told.strip()))


def _named(user: str) -> bool:
    """Whether it is an account that has to be there; a number needs none."""
    return user not in ("", "root") and not user.isdigit() and ":" not in user


def _of_unit(about: About, user: str) -> Iterator[Need]:
    """It takes a second command, which only the other machine can answer."""
    if not _named(user):
        return
    machine = next(one for one in about.machines() if one.new)
    try:
        done = machine.host.run(("sh", "-c", f"{_IS_THERE} 2>/dev/null; :", "sh", user))
    except Failed:
        return  # that machine has its own finding
    yield _need(machine, user, done.out.decode("ascii", "replace").strip())


def _need(machine: Machine, user: str, uid: str) -> Need:
    seen = f"number {uid}" if uid else "there is none"
    claim = f"{machine.name} has the account {user}, which the new version runs as"
    finding = Finding(claim, "it has", seen, "id -u", bool(uid))
    fix = machine.fix("useradd", "--system", "--user-group", user)
    if machine.contained:
        fix = "edit crossfade.yaml   (name an account of the image in new.service.user)"
    return Need("account-missing", finding, fix)
