"""A container as a machine: it boots systemd and sshd, and lets the operator in as root."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from crossfade.drivers.containers import LABEL, Engine, label_of
from crossfade.errors import Failed
from crossfade.manifest import ProvisionSpec
from crossfade.ports import Host, MadeMachine

__all__ = ["ContainerMachines"]

_OWN_KEYS: Final = """
mark=/etc/ssh/crossfade-host-keys
[ -e $mark ] || { rm -f /etc/ssh/ssh_host_*_key*; ssh-keygen -q -A && : >$mark; } || exit 1
systemctl restart ssh.service 2>/dev/null || systemctl restart sshd.service || exit 1
cat /etc/ssh/ssh_host_*_key.pub
"""
"""The keys in an image are those of everybody who has it."""
_KINDS: Final = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
_STATE: Final = ("systemctl", "is-system-running")
_BOOTED: Final = ("running", "degraded")
_BOOTING: Final = ("initializing", "starting")
_LONGEST_SILENCE: Final = 10.0
_SAID: Final = 400


class ContainerMachines:
    """Makes containers of ``spec.image`` at the engine of ``spec.socket``, with the upgrade's id as
    their label; only such are removed.  They are never privileged."""

    def __init__(self, spec: ProvisionSpec, here: Host, directory: Path) -> None:
        del here, directory
        self._spec = spec
        self._engine = Engine(spec.socket)
        self.making = f"a container of {spec.image} at {self._engine.url}"
        self.removing = f"remove the container at {self._engine.url}"

    def make(self, name: str, upgrade: str) -> MadeMachine:
        """Make and boot the container, or find it by its name; each has host keys of its own.

        Raises Failed: provision-not-ours, provision-failed, provision-timed-out, image-missing and
        what the engine says."""
        try:
            found = self._container(name, upgrade) or self._made(name, upgrade)
            if not found["State"]["Running"]:
                with self._engine.explained(f"start container {name}"):
                    self._engine.api.start(found["Id"])
            self._let_in(name)
            self._wait(name)
            keys = self._run(name, ("sh", "-c", _OWN_KEYS)).splitlines()
            found = self._container(name, upgrade) or found
            address = _address(found)
            if not address:
                what = "The container has no address in any network."
                raise Failed("provision-failed", what, where=f"container {name}, {self.making}")
            return MadeMachine(name, upgrade, address, _public(keys), str(found["Id"]))
        finally:
            self._engine.close()

    def found(self, name: str, upgrade: str) -> MadeMachine | None:
        """The container of this name, whether it has booted or not."""
        try:
            found = self._container(name, upgrade)
            return (
                MadeMachine(name, upgrade, _address(found), id=str(found["Id"])) if found else None
            )
        finally:
            self._engine.close()

    def remove(self, machine: MadeMachine) -> None:
        """Remove the container and its unnamed volumes.  Raises Failed(provision-not-ours)."""
        try:
            if found := self._container(machine.name, machine.upgrade):
                with self._engine.explained(f"remove container {machine.name}"):
                    self._engine.api.remove_container(found["Id"], force=True, v=True)
        finally:
            self._engine.close()

    def _container(self, name: str, upgrade: str) -> dict[str, Any] | None:
        """The container, if there is one; it has to be ours."""
        found = self._engine.container(name)
        if found is not None and label_of(found) != upgrade:
            what = f"There is a container {name} that does not bear this upgrade's id."
            raise Failed("provision-not-ours", what, where=f"container {name}, {self._engine.url}")
        return found

    def _made(self, name: str, upgrade: str) -> dict[str, Any]:
        if self._engine.image(self._spec.image) is None:
            what = f"The container engine does not have the image {self._spec.image}."
            raise Failed("image-missing", what, where=self._engine.url)
        host = {
            "CapAdd": ["SYS_ADMIN"],  # systemd mounts what its units ask for
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            "Binds": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
            "Tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec"},  # noqa: S108 (in there)
            "RestartPolicy": {"Name": "unless-stopped"},
        }
        config = {
            "Image": self._spec.image,
            "Hostname": name[:63],
            "Labels": {LABEL: upgrade},
            "HostConfig": host,
        }
        self._engine.make(name, config)
        return self._engine.container(name) or {}

    def _let_in(self, name: str) -> None:
        """Put the operator's public key in, for root."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            directory = tarfile.TarInfo("root/.ssh")
            directory.type, directory.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(directory)
            key = self._key()
            file = tarfile.TarInfo("root/.ssh/authorized_keys")
            file.size, file.mode = len(key), 0o600
            archive.addfile(file, io.BytesIO(key))
        with self._engine.explained(f"put a key into container {name}"):
            self._engine.api.put_archive(name, "/", packed.getvalue())

    def _key(self) -> bytes:
        home = Path.home() / ".ssh"
        places = [self._spec.key] if self._spec.key else [home / kind for kind in _KINDS]
        for place in places:
            if place.is_file():
                return place.read_bytes()
        what = "There is no public key that the machine could let in."
        raise Failed("provision-failed", what, where=", ".join(map(str, places)))

    def _wait(self, name: str) -> None:
        """Until it has booted."""
        began, timeout = time.monotonic(), self._spec.timeout
        while True:
            found, said = self._engine.container(name), "it ended"
            runs = found is not None and found["State"]["Running"]
            if runs and (said := self._asked(name, _STATE)[1].strip()) in _BOOTED:
                return
            waited = time.monotonic() - began
            silent = said not in _BOOTING and waited > min(timeout, _LONGEST_SILENCE)
            if not runs or silent:
                what = "The container does not boot systemd, which its image should."
                where = f"container {name}, {self.making}: {said[-_SAID:]}"
                raise Failed("provision-failed", what, where=where)
            if waited > timeout:
                what = f"The container did not boot within {timeout:g} seconds."
                raise Failed("provision-timed-out", what, where=f"container {name}: {said}")
            time.sleep(0.2)

    def _run(self, name: str, argv: Sequence[str]) -> str:
        """The output of a command in the container, which has to succeed."""
        status, text = self._asked(name, argv)
        if status:
            what = "The container does not become a machine: it needs systemd and sshd."
            where = f"container {name}\n{text.strip()[-_SAID:]}"
            raise Failed("provision-failed", what, where=where)
        return text

    def _asked(self, name: str, argv: Sequence[str]) -> tuple[int, str]:
        """Status and output of a command in the container."""
        with self._engine.explained(f"run {argv[0]} in container {name}"):
            begun = self._engine.api.exec_create(name, list(argv), user="0:0")["Id"]
            said: bytes = self._engine.api.exec_start(begun)
            status = int(self._engine.api.exec_inspect(begun)["ExitCode"])
        return status, said.decode(errors="replace")


def _address(found: dict[str, Any]) -> str:
    """The address on the first network that it has one in; empty when it has none."""
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    return next((str(n["IPAddress"]) for n in networks.values() if n.get("IPAddress")), "")


def _public(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        " ".join(line.split()[:2]) for line in lines if line.startswith(("ssh-", "ecdsa-"))
    )
