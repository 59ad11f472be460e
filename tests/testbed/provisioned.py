"""A site of the Notes application whose new side is on a machine that Crossfade has made."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.testbed.engine import Engine
from tests.testbed.far import HOME, PORT, FarSite
from tests.testbed.site import HERE, Result, make_wheel

from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_ports

__all__ = ["ProvisionedSite", "provisioned_site_at"]

COMMANDS: Mapping[str, Any] = {
    "create": ["./provision.sh", "create"],
    "destroy": ["./provision.sh", "destroy"],
    "timeout": 60,
}


class ProvisionedSite(FarSite):
    """As ``FarSite``; the old side is on this machine.  ``provision`` is what the manifest says of
    how the new side's machine is made."""

    def __init__(
        self, directory: Path, engine: Engine, provision: Mapping[str, Any], **given: Any
    ) -> None:
        self.engine, self.provision = engine, provision
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy2(HERE / "provision.sh", directory)
        self.login = directory / "login.ssh"
        self.login.write_text(f"IdentityFile {engine.key}\nIdentitiesOnly yes\n")
        super().__init__(directory, None, None, **given)

    def run(self, *words: str, env: Mapping[str, str] | None = None, **given: Any) -> Result:
        """As ``Site.run``, with what the provisioner reads from the operator's environment."""
        own = {
            "ENGINE": str(self.engine.socket),
            "IMAGE": self.engine.machine_image(),
            "KEY": str(self.engine.key.with_suffix(".pub")),
        }
        return super().run(*words, env={**own, **(env or {})}, **given)

    def _side(
        self, side: Side, version: str, root: str, data: str, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        if side is Side.OLD:
            return super()._side(side, version, root, data, environment)
        return {
            **self.on_the_machine(version),
            "service": {"environment": dict(environment), "user": "notes"},
            "rehearsal": {"address": f"{{machine}}:{PORT + 2}", "data": str(HOME / "try")},
        }

    def on_the_machine(self, version: str) -> dict[str, Any]:
        """The side on the machine, as a manifest has it."""
        host = {"ssh": "root@{machine}", "config": str(self.login), "provision": self.provision}
        return {
            "version": version,
            "host": dict(host),
            "root": str(HOME / "app2"),
            "data": str(HOME / "new"),
            "address": f"{{machine}}:{PORT + 1}",
        }

    def next_upgrade(self) -> None:
        """From 2.0 on its machine to 3.0 on this one."""
        make_wheel(self.directory / "app3-wheel", "3.0")
        d, (new, rehearsal) = self.directory, free_ports(2)
        self.new = Address("127.0.0.1", new)
        side = {
            "version": "3.0",
            "root": str(d / "app3"),
            "data": str(d / "new3"),
            "address": str(self.new),
            "rehearsal": {"address": f"127.0.0.1:{rehearsal}", "data": str(d / "try3")},
        }
        text = self.manifest.read_text(encoding="utf-8")
        before, after = text.partition("old:")[0], text.partition("traffic:")[2]
        self.manifest.write_text(
            f"{before}old: {json.dumps(self.on_the_machine('2.0'))}\n"
            f"new: {json.dumps(side)}\ntraffic:{after}"
        )

    def prepare(self, name: str) -> None:
        """The account and what is installed from, on a machine of the engine."""
        script = f"useradd --system --user-group notes; mkdir -p {HOME}"
        self.engine.docker("exec", name, "sh", "-c", script)
        self.engine.docker("cp", str(self.directory / "app2-wheel"), f"{name}:{HOME}/")

    def machines_there(self) -> list[str]:
        """The machines of this state directory's upgrades that the engine has."""
        names = {known.machine.name for known in self.wired().provisioning.known()}
        there = self.engine.docker("ps", "--all", "--format", "{{.Names}}").split()
        return sorted(names & set(there))

    def close(self) -> None:
        """End everything that was started here, and remove the machines."""
        for name in self.machines_there():
            self.engine.docker("rm", "--force", "--volumes", name)
        self.wired().traffic.stop()
        self._end_watchers()
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                if str(self.directory) in words and int(process.name) != os.getpid():
                    os.kill(int(process.name), signal.SIGTERM)


@contextlib.contextmanager
def provisioned_site_at(
    directory: Path, engine: Engine, provision: Mapping[str, Any] = COMMANDS, **given: Any
) -> Iterator[ProvisionedSite]:
    """A started site that is closed in the end."""
    site = ProvisionedSite(directory, engine, provision, **given)
    try:
        site.start()
        yield site
    finally:
        site.close()
        shutil.rmtree(directory, ignore_errors=True)
