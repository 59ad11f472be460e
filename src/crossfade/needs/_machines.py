"""The machines of a run, and what each has to do in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from crossfade.manifest import HostSpec, Manifest, SideSpec
from crossfade.model import Run, Side
from crossfade.ports import Host, Work

__all__ = ["About", "Machine"]

_HERE = HostSpec()


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with the sides that are on it; this one has none, or one, or both."""

    host: Host
    spec: HostSpec
    sides: tuple[tuple[Side, SideSpec], ...]

    @property
    def here(self) -> bool:
        """Whether it is the one that runs us."""
        return self.spec.driver == "local"

    @property
    def contained(self) -> bool:
        """Whether it is a container."""
        return self.spec.driver == "docker"

    @property
    def name(self) -> str:
        """What people call it."""
        return "this machine" if self.here else self.spec.name

    @property
    def new(self) -> SideSpec | None:
        """The new side, if that is on it."""
        return dict(self.sides).get(Side.NEW)

    def fix(self, *words: str) -> str:
        """A command for this machine as the operator types it here."""
        if self.here:
            return shlex.join(words)
        config = ("-F", str(self.spec.config)) if self.spec.config else ()
        sudo = ("sudo",) if self.spec.sudo else ()
        return shlex.join(("ssh", *config, self.spec.destination, shlex.join((*sudo, *words))))

    def install(self, package: str) -> str:
        """How a package of Debian gets onto it."""
        if self.contained:
            return f"edit crossfade.yaml   (name an image with {package} for {self.name})"
        return self.fix("apt-get", "install", package)


@dataclass(frozen=True, slots=True)
class About:
    """One run: what is planned, and where.

    straight is the port at which one machine would listen for trees that go straight to it, 0 for
    any; None when none go straight."""

    manifest: Manifest
    work: Work
    straight: int | None = None

    @property
    def new(self) -> SideSpec:
        """The new side of this run."""
        rehearsal = self.work.run is Run.REHEARSAL
        return self.manifest.rehearsal if rehearsal else self.manifest.new

    @property
    def old(self) -> SideSpec:
        """The old side."""
        return self.manifest.old

    @property
    def wide(self) -> bool:
        """Whether files and databases go from or to another machine."""
        return any(side.host.driver != "local" for side in (self.old, self.new))

    @property
    def keeps_elsewhere(self) -> bool:
        """Whether this run keeps a backup, on another machine."""
        kept = self.manifest.backup
        cutover = self.work.run is Run.CUTOVER
        return cutover and kept.wanted and kept.host.driver != "local"

    def machines(self) -> list[Machine]:
        """This machine, those of both sides, and the one for the kept backup, each once."""
        work = self.work
        hosts: dict[HostSpec, Host] = {_HERE: work.here}
        sides: dict[HostSpec, list[tuple[Side, SideSpec]]] = {_HERE: []}
        for side, spec, host in (
            (Side.OLD, self.old, work.old.host),
            (Side.NEW, self.new, work.new.host),
        ):
            key = _HERE if spec.host.driver == "local" else spec.host
            hosts.setdefault(key, host)
            sides.setdefault(key, []).append((side, spec))
        kept = self.work.backups.host
        if self.keeps_elsewhere and kept is not None:
            hosts.setdefault(self.manifest.backup.host, kept)
            sides.setdefault(self.manifest.backup.host, [])
        return [Machine(hosts[key], key, tuple(on)) for key, on in sides.items()]
