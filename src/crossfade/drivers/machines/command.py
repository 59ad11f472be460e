"""Machines that the site's own commands make and remove: Terraform, Ansible, a cloud's program."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from crossfade.drivers.machines.said import machine_of
from crossfade.errors import Failed
from crossfade.manifest import ProvisionSpec
from crossfade.ports import Completed, Host, MadeMachine

__all__ = ["CommandMachines"]


class CommandMachines:
    """Runs the commands of ``spec`` in the manifest's ``directory``, on this machine (``here``).

    Both get CROSSFADE_UPGRADE and CROSSFADE_MACHINE beside the operator's own environment; the one
    that removes gets what was said of the machine as JSON on its standard input."""

    def __init__(self, spec: ProvisionSpec, here: Host, directory: Path) -> None:
        self._spec, self._here, self._directory = spec, here, directory
        self.making = shlex.join(spec.create)
        self.removing = shlex.join(spec.destroy)

    def make(self, name: str, upgrade: str) -> MadeMachine:
        """Run ``create``, which makes the machine or finds it by its name.

        Raises Failed: provision-failed, provision-timed-out, provision-output-invalid,
        provision-not-ours."""
        done = self._run(self._spec.create, name, upgrade)
        return machine_of(done.out, name, upgrade, self.making)

    def found(self, name: str, upgrade: str) -> MadeMachine | None:
        """The machine, which ``create`` finds by its name, or makes: there is no other command that
        could say whether it is there, and bears our id."""
        return self.make(name, upgrade)

    def remove(self, machine: MadeMachine) -> None:
        """Run ``destroy``.  Raises Failed: provision-failed, provision-timed-out."""
        stdin = json.dumps(machine.as_json()).encode() + b"\n"
        self._run(self._spec.destroy, machine.name, machine.upgrade, stdin)

    def _run(self, argv: Sequence[str], name: str, upgrade: str, stdin: bytes = b"") -> Completed:
        given = {"CROSSFADE_MACHINE": name, "CROSSFADE_UPGRADE": upgrade}
        try:
            return self._here.run(
                argv, stdin=stdin, timeout=self._spec.timeout, env=given, cwd=self._directory
            )
        except Failed as failed:
            late = failed.code == "command-timed-out"
            code = "provision-timed-out" if late else "provision-failed"
            what = f"The provisioner failed: {failed.what}"
            raise Failed(code, what, where=f"machine {name}\n{failed.where}") from failed
