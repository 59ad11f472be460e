"""The machines that upgrades make: making them, removing them, and the journal's record of both.

What was made is read from the journal, of every upgrade in the state directory: the new side's
machine of one upgrade is the old side's of the next.  Only what stands there is ever removed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from crossfade.drivers import driver
from crossfade.drivers.machines import login
from crossfade.engine import history, made
from crossfade.engine.crashpoints import crash_point
from crossfade.engine.journal import SqliteJournal
from crossfade.engine.made import GOING, GONE, MADE, WANTED, Known
from crossfade.errors import CrossfadeError, Failed, UsageError
from crossfade.manifest import HostSpec, Manifest, ProvisionSpec, SideSpec, with_machine
from crossfade.model import Finding, Run, Side
from crossfade.ports import Host, MadeMachine, Provisioner, Teller
from crossfade.recipes import is_secret_name

__all__ = ["Provisioning", "SideMachine"]

_SILENT: Final = ("host-unreachable", "host-unknown", "host-key-changed")
"""What ssh says when a machine is gone; another one may have its address already."""
_LONGEST_WAIT: Final = 60.0
_SHORTEST_SECRET: Final = 8


class Provisioning:
    """The machines of one state directory, for the upgrade whose id is ``upgrade``."""

    def __init__(
        self, manifest: Manifest, journal: SqliteJournal, upgrade: str, teller: Teller
    ) -> None:
        self._written, self._journal, self.upgrade = manifest, journal, upgrade
        self._teller = teller

    def known(self) -> list[Known]:
        """Every machine in the journal, oldest first, as it was last seen."""
        return made.known(self._journal)

    def of(self, side: Side) -> Known | None:
        """The machine of a side: of the new one what this upgrade has made and not removed, of the
        old one what an earlier upgrade has made for this version and cut over to."""
        given = self._written
        if self.spec(side).host.provision is None:
            return None
        if side is Side.NEW:
            mine = [k for k in self.known() if k.machine.upgrade == self.upgrade and k.there]
        else:
            mine = [
                k
                for k in self.known()
                if k.machine.upgrade != self.upgrade
                and (k.application, k.version) == (given.application, given.old.version)
                and made.took_over(self._journal, k)
            ]
        there = [k for k in mine if k.there] or mine
        return there[-1] if there else None

    def spec(self, side: Side) -> SideSpec:
        """A side as the manifest has it."""
        return self._written.old if side is Side.OLD else self._written.new

    def manifest(self) -> Manifest:
        """The manifest with the addresses of the machines that are known.

        Raises UsageError(machine-not-recorded) when the old side's is not."""
        manifest = self._written
        for side in Side:
            if self.spec(side).host.provision is None:
                continue
            known = self.of(side)
            if known is None and side is Side.OLD:
                raise self._not_recorded()
            if known and (side is Side.OLD or known.state == MADE):
                manifest = self._filled(manifest, side, known.machine, known.there)
        return manifest

    def _filled(
        self, manifest: Manifest, side: Side, machine: MadeMachine, there: bool = True
    ) -> Manifest:
        """The manifest with the machine of one side, whose keys ssh then knows."""
        config = self.spec(side).host.config
        if there:
            config = login.ssh_config(machine, self._place, config)
        return with_machine(manifest, side, machine.name, machine.address, config)

    @property
    def _place(self) -> Path:
        return self._written.state / "machines"

    def _not_recorded(self) -> UsageError:
        old = self._written.old
        return UsageError(
            "machine-not-recorded",
            f"No upgrade in this state directory has made a machine for version {old.version}, so "
            "old.host.provision names none.",
            where=f"old.host.provision; the journal below {self._written.state}",
            next="edit crossfade.yaml (name the machine, without provision), then: crossfade plan",
        )

    def machine_of(self, side: Side) -> SideMachine | None:
        """The machine of a side as a step sees it; None when no upgrade has made one."""
        known = self.of(side)
        return SideMachine(known.machine.name, self, side) if known else None

    def account(self) -> list[dict[str, str]]:
        """The machines of both sides, for ``status``: side, name, address, state."""
        return [
            {
                "side": str(side),
                "name": known.machine.name,
                "address": known.machine.address,
                "state": known.state,
            }
            for side in Side
            if (known := self.of(side))
        ]

    def making(self) -> str:
        """What making the new side's machine would do, in words."""
        return f"make the machine {self._next().name}: {self._provisioner(Side.NEW).making}"

    def removing(self, side: Side) -> str:
        """What removing a side's machine would do, in words."""
        return self._provisioner(side).removing

    def make(self) -> None:
        """Make the new side's machine, unless it is there, and wait until it lets us in.

        The name is in the journal before anything is made, so that a crash never leads to a second
        machine.  Raises Failed: what the provisioner and the ssh host raise."""
        known = self.of(Side.NEW)
        if known and known.state == MADE:
            return
        provisioner = self._provisioner(Side.NEW)
        if known and known.state == GOING:
            self.remove(Side.NEW)
        given = self._written
        wanted = Known(self._next(), WANTED, given.application, given.new.version)
        name = wanted.machine.name
        with _told("crossfade provision"):
            made.note(self._journal, wanted)
            self._teller.say(f"making the machine {name}")
            crash_point("provision.machine.before-act")
            machine = provisioner.make(name, self.upgrade)
            crash_point("provision.machine.after-act")
            made.note(self._journal, replace(wanted, machine=machine, state=MADE))
            crash_point("provision.machine.after-record")
            self._wait_for(Side.NEW, machine)

    def _next(self) -> MadeMachine:
        """A name that no machine has had: with the upgrade's id, and fit for a host name."""
        mine = [k for k in self.known() if k.machine.upgrade == self.upgrade]
        if mine and mine[-1].state == WANTED:
            return mine[-1].machine
        slug = re.sub("[^a-z0-9]+", "-", self.upgrade.rpartition(".")[0].lower()).strip("-")[:38]
        mark = sha256(self.upgrade.encode()).hexdigest()[:8]
        return MadeMachine(f"crossfade-{slug}-{mark}-{len(mine) + 1}", self.upgrade, "")

    def _wait_for(self, side: Side, machine: MadeMachine) -> None:
        """Until it lets us in; it may still boot, or be about to be given our key."""
        began, timeout = time.monotonic(), self._provision(side).timeout
        patience = {"host-unreachable": timeout, "host-login-refused": min(timeout, _LONGEST_WAIT)}
        while (trouble := self._trouble(side, machine)) is not None:
            if time.monotonic() - began > patience.get(trouble.code, 0.0):
                raise trouble
            time.sleep(0.2)

    def remove(self, side: Side) -> list[Finding]:
        """Remove a side's machine, if there is one, and see that it does not answer any more.

        Raises Failed: what the provisioner raises; machine-still-there."""
        known = self.of(side)
        if known is None:
            return []
        machine = known.machine
        claim = f"the machine {machine.name} answers"
        if not known.there:
            return [Finding.equal(claim, False, False, "removed before, says the journal")]
        with _told("crossfade retire" if side is Side.OLD else "crossfade provision --remove"):
            provisioner = self._provisioner(side)
            if known.state == WANTED:  # it may have been made: then it is found by its name
                found = provisioner.found(machine.name, machine.upgrade)
                if found is None:
                    made.note(self._journal, replace(known, state=GONE))
                    return [Finding.equal(claim, False, False, "it was never made")]
                machine = found
            made.note(self._journal, replace(known, machine=machine, state=GOING))
            crash_point("provision.removal.before-act")
            self._teller.say(f"removing the machine {machine.name}")
            provisioner.remove(machine)
            crash_point("provision.removal.after-act")
            if machine.address:
                self._until_silent(side, machine)
        made.note(self._journal, replace(known, machine=machine, state=GONE))
        login.forget(machine, self._place)
        return [Finding.equal(claim, False, False, f"ssh to {machine.address}")]

    def _until_silent(self, side: Side, machine: MadeMachine) -> None:
        until = time.monotonic() + min(_LONGEST_WAIT, self._provision(side).timeout)
        while True:
            trouble = self._trouble(side, machine)
            if trouble is not None and trouble.code in _SILENT:
                return
            if time.monotonic() > until:
                what = f"The machine {machine.name} still answers after its removal."
                where = f"ssh to {machine.address}; {self._provisioner(side).removing}"
                raise Failed("machine-still-there", what, where=where)
            time.sleep(0.2)

    def _trouble(self, side: Side, machine: MadeMachine) -> Failed | None:
        """What keeps us from logging in to a side's machine now."""
        filled = self._filled(self._written, side, machine)
        spec: HostSpec = (filled.old if side is Side.OLD else filled.new).host
        host = driver("hosts", "ssh")(
            spec.destination, config=spec.config, connect_timeout=3, patience=0.0
        )
        try:
            host.connect()
        except Failed as failed:
            return failed
        finally:
            host.close()
        return None

    def leavings(self) -> list[str]:
        """The machines that no run needs, each in words, with the command that removes it."""
        sides = (Side.OLD,) if self._given_up() else tuple(Side)
        needed = {k.machine.name for side in sides if (k := self.of(side)) and k.state == MADE}
        named = self._written.old.host.destination
        left = []
        for k in self.known():
            machine, address = k.machine, re.escape(k.machine.address)
            if not k.there or machine.name in needed:
                continue
            if machine.address and re.search(rf"(?<![\w.:-]){address}(?![\w.-])", named):
                continue  # it is the old side's, which retire leaves as it is
            ours = machine.upgrade == self.upgrade
            words = f"machine {machine.name} {machine.address}".rstrip()
            words += f": {k.state} for {k.application} {k.version}"
            words += "" if ours else f" by {k.upgrade}, with its manifest"
            left.append(f"{words}: crossfade provision --remove")
        return left

    def _given_up(self) -> bool:
        """Whether the last run says that the new side is not wanted for now."""
        runs = list(history.runs(self._journal))
        return bool(runs) and (
            runs[-1].outcome in ("failed", "went-back") or runs[-1].run is Run.ROLLBACK
        )

    def _provision(self, side: Side) -> ProvisionSpec:
        given = self.spec(side).host.provision
        if given is None:
            raise UsageError(
                "nothing-to-provision",
                f"The manifest does not say how the {side} side's machine is made.",
                where=f"{side}.host.provision",
                next="edit crossfade.yaml, then: crossfade plan",
            )
        return given

    def _provisioner(self, side: Side) -> Provisioner:
        given = self._provision(side)
        here: Host = driver("hosts", "local")(secrets=_secrets)
        kind = driver("machines", given.driver)
        provisioner: Provisioner = kind(given, here, self._written.path.parent)
        return provisioner


@dataclass
class SideMachine:
    """``ports.Machine``: the machine of a side that an upgrade has made."""

    name: str
    provisioning: Provisioning
    side: Side

    def describe(self) -> str:
        """How it will be removed, in a sentence."""
        return f"remove the machine {self.name}: {self.provisioning.removing(self.side)}"

    def going(self) -> bool:
        """Whether its removal was begun before."""
        known = self.provisioning.of(self.side)
        return known is not None and known.state in (GOING, GONE)

    def remove(self) -> list[Finding]:
        """Remove it, and see that it does not answer any more."""
        return self.provisioning.remove(self.side)


@contextmanager
def _told(next: str) -> Iterator[None]:
    """Errors with the command that tries the same again, unless they know a better one."""
    try:
        yield
    except CrossfadeError as error:
        error.next = error.next or next
        raise


def _secrets() -> Collection[str]:
    """What a provisioner may have of the operator's environment and must not be shown."""
    return [
        value
        for name, value in os.environ.items()
        if is_secret_name(name) and len(value) >= _SHORTEST_SECRET
    ]
