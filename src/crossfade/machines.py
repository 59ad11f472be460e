"""The machines of both sides, and what a side has on its own: program, databases, trees."""

from __future__ import annotations

import atexit
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from crossfade.drivers import driver
from crossfade.drivers.containers import Engine
from crossfade.drivers.files._far_straight import Straights
from crossfade.drivers.hosts._docker_helper import helpers
from crossfade.drivers.hosts.docker import DockerHost
from crossfade.drivers.services._compose import ComposeSpec
from crossfade.drivers.services.container_text import Changes
from crossfade.drivers.services.docker import DockerService, DockerSpec
from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.drivers.services.systemd import SystemdService, UnitSpec
from crossfade.errors import Failed
from crossfade.manifest import HostSpec, Manifest, SideSpec, is_reference, resolve
from crossfade.model import Endpoint, Installation, Side
from crossfade.ports import Database, Files, Host, Service
from crossfade.recipes import PartSpec, fill
from crossfade.serving import process_spec

__all__ = ["Machines"]


class UnmadeHost:
    """A machine that is not made yet: whatever is asked of it is refused."""

    here = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        raise Failed(
            "machine-not-made",
            "The machine of the new side is not made yet.",
            where=f"new.host.provision; {name} was asked of {self.name}",
            next="crossfade provision",
        )


@dataclass
class Machines:
    """Makes a side's parts for one manifest.  A machine's connection is shared by all of them."""

    manifest: Manifest
    label: str
    copy_rate: float | None = None
    taken: Mapping[str, str] = field(default_factory=dict)
    """Variables that the new side's service takes over from the old program."""
    brought: Collection[str] = ()
    """Those that come over with its unit, so that they need no default."""
    muted: Mapping[str, str] = field(default_factory=dict)
    """Variables that silence the rehearsal's service, whatever else gives them."""
    _hosts: dict[HostSpec, Host] = field(default_factory=dict)
    _shown: list[tuple[Mapping[str, str], tuple[Endpoint, ...]]] = field(default_factory=list)

    @cached_property
    def here(self) -> Host:
        """The machine that runs us."""
        made: Host = driver("hosts", "local")()
        return made

    def host_of(self, spec: SideSpec, there: Installation) -> Host:
        """The machine of a side.  One that is reached by a connection is made once."""
        if spec.host.unmade:
            return cast(Host, UnmadeHost(spec.host.name))
        environment = self.environment(spec, there)
        if spec.host.driver == "local":
            made: Host = driver("hosts", "local")(
                secrets=lambda: self._secrets(environment, there.databases.values())
            )
            return made
        if spec.host.driver == "docker":
            return self._container(spec, there)
        self._shown.append((environment, tuple(there.databases.values())))
        return self.reached(spec.host)

    def reached(self, spec: HostSpec) -> Host:
        """A machine that is reached by a connection, which is made once."""
        if spec not in self._hosts:
            far = driver("hosts", spec.driver)(
                spec.destination,
                config=spec.config,
                secrets=lambda: [
                    secret
                    for environment, databases in self._shown
                    for secret in self._secrets(environment, databases)
                ],
            )
            self._hosts[spec] = far.acting_as(True) if spec.sudo else far
        return self._hosts[spec]

    def any_tree(self, name: str, path: Path, host: Host) -> Files:
        """A tree on any machine, which can be copied to any other."""
        made: Files = driver("files", "far-tree")(name, path, host, rate=self._rate())
        return made

    def _container(self, spec: SideSpec, there: Installation) -> Host:
        """The container of a side as a machine; one of ours is made at its first write."""
        if spec.host not in self._hosts:
            host: DockerHost = driver("hosts", "docker")(
                spec.host.destination,
                socket=spec.host.socket,
                secrets=lambda: self._secrets(
                    self.environment(spec, there), there.databases.values()
                ),
                helper_image=spec.host.image,
                upgrade=self.label,
                make=(lambda: self._make(spec, there)) if spec != self.manifest.old else None,
                on_mounts=(spec.config, spec.data),
            )
            atexit.register(host.close)
            self._hosts[spec.host] = host
        return self._hosts[spec.host]

    def _make(self, spec: SideSpec, there: Installation) -> None:
        """Make the container of a side, with the environment that it has to have by now: what is
        muted must not be what it was when the host was first asked for."""
        process = process_spec(
            *(self.manifest, spec, there),
            mark="",
            environment=self.environment(spec, there),
            max_pause=0,
        )
        self._docker(spec, process, None).make()

    def bare(self, spec: SideSpec) -> Host:
        """The new side's program alone, without its data, as it can be asked before its container
        is made."""
        name = f"{spec.host.destination}-stock"
        host: DockerHost = driver("hosts", "docker")(
            name, socket=spec.host.socket, helper_image=spec.host.image, upgrade=self.label
        )
        atexit.register(host.close)
        return host

    def _docker(self, spec: SideSpec, process: ProcessSpec, host: Host | None) -> DockerService:
        """The container of a side as a service."""
        old, mine = self.manifest.old, spec.host
        made: DockerService = driver("services", "docker")(
            DockerSpec(
                mine.destination,
                mine.socket,
                self.label,
                old=old.host.destination if old.host.driver == "docker" else "",
                changes=None if spec == old else self._changes(spec, process),
                process=process,
                keep=self.manifest.state / "run",
                compose=self._project(mine) if mine.project and spec != old else None,
            ),
            host,
        )
        return made

    def _project(self, mine: HostSpec) -> ComposeSpec:
        """The second Compose project, which has its file beside the manifest."""
        return ComposeSpec(mine.project, self.manifest.path.parent / mine.project, mine.fresh)

    def _changes(self, spec: SideSpec, process: ProcessSpec) -> Changes:
        """What is otherwise in the new container than in the old one, or than in the image."""
        mine, address = spec.host, spec.address
        like = self.manifest.old.host.driver == "docker"
        inside = (mine.listens or address).port
        command = [fill(word, self.at(spec).variables()) for word in mine.command]
        mounts = dict(mine.mounts)
        if not like:
            for name, path in (("data", spec.data), ("config", spec.config)):
                if not any(path.is_relative_to(known) for known in mounts):
                    mounts[str(path)] = f"{mine.destination}-{name}"
        return Changes(
            mine.destination,
            mine.image,
            self.label,
            ports={f"{inside}/tcp": [{"HostIp": address.host, "HostPort": str(address.port)}]},
            environment=process.environment,
            command=command or (None if like else []),
            mounts=mounts,
            entrypoint=None if like else ([] if command else process.command),
            directory="" if like else process.directory,
            user=spec.service.user,
        )

    def at(self, spec: SideSpec) -> Installation:
        """The installation of a side."""
        side = Side.OLD if spec == self.manifest.old else Side.NEW
        return spec.installation(self.manifest.recipe.application, side)

    def leavings(self) -> list[str]:
        """What a killed run left at container engines and no run needs.  Changes nothing."""
        found = [
            f"container engine {engine.url}: container {name}"
            for engine in self._engines()
            for name in helpers(engine, self.label).values()
        ]
        found += [
            f"{host.name}: {path}" for ways, host in self._ends() for path in ways.leavings(host)
        ]
        return found

    def _ends(self) -> list[tuple[Straights, Host]]:
        """The machines between which there may be straight ways."""
        sides = (self.manifest.old, self.manifest.new)
        if self._ways is None or any(side.host.unmade for side in sides):
            return []
        return [(self._ways, self.host_of(side, self.at(side))) for side in sides]

    def clean_up(self) -> None:
        """Remove that."""
        for engine in self._engines():
            for found in helpers(engine, self.label):
                engine.remove_container(found, self.label)
        for ways, host in self._ends():
            ways.clear(host)

    def _engines(self) -> Iterator[Engine]:
        hosts = (self.manifest.old.host, self.manifest.new.host)
        for socket in sorted({host.socket for host in hosts if host.driver == "docker"}):
            with closing(Engine(socket)) as engine:
                yield engine

    def service(self, spec: SideSpec, process: ProcessSpec, host: Host) -> Service:
        """The program of a side; on the old side only started and stopped."""
        if spec.service.driver == "docker":
            return self._docker(spec, process, host)
        from crossfade.surroundings import moved

        kind = driver("services", spec.service.driver)
        if spec.service.driver != "systemd":
            made: Service = kind(process, self.manifest.state / "run")
            return made
        old = self.manifest.old
        ours = spec != old
        like: SystemdService | None = None
        paths: dict[str, str] = {}
        if ours and old.service.driver == "systemd":
            there = old.installation(self.manifest.recipe.application, Side.OLD)
            before = UnitSpec(old.service.unit, process, ours=False)
            like = kind(before, self.host_of(old, there))
            paths = moved(old, spec)
        unit = UnitSpec(spec.service.unit, process, ours, like, paths, spec.service.user)
        service: Service = kind(unit, host)
        return service

    def tree(self, part: PartSpec, there: Installation, host: Host) -> Files:
        """A tree; where either side is on another machine, or the new one's account has a name of
        its own, both are looked at by commands."""
        path = self._located(part, there)
        sides = (self.manifest.old, self.manifest.new)
        near = all(side.host.driver == "local" for side in sides)
        if near and not self.manifest.new.service.user:
            made: Files = driver("files", part.driver)(part.name, path)
            return made
        far = driver("files", f"far-{part.driver}")
        rate = self._rate() if there.side is Side.OLD else 0  # back from the new one is urgent
        straights = self._straights() if there.side is Side.OLD else None
        between: Files = far(part.name, path, host, local=self.here, rate=rate, straights=straights)
        return between

    def _straights(self) -> Straights | None:
        """The ways straight from the old machine to the new one.  Only we can keep a rate."""
        return None if self._rate() else self._ways

    @property
    def straight_port(self) -> int | None:
        """The port at which one machine would listen for trees straight from the other, 0 for any;
        None when none go straight."""
        ways = self._straights() if self.manifest.recipe.files else None
        return ways.port if ways else None

    @cached_property
    def _ways(self) -> Straights | None:
        sides = (self.manifest.old, self.manifest.new)
        copying = self.manifest.copying
        if not copying.straight or any(side.host.driver != "ssh" for side in sides):
            return None
        return Straights(sha256(self.label.encode()).hexdigest()[:10], copying.port)

    def _rate(self) -> int:
        """Bytes a second between machines; 0 for as many as go."""
        return int(self.copy_rate or self.manifest.limits.copy_rate or 0)

    def database(self, part: PartSpec, there: Installation, host: Host) -> Database:
        """A database: on a server, or a file on a machine."""
        kind = driver("databases", part.driver)
        if endpoint := there.databases.get(part.name):
            rate = self.copy_rate or self.manifest.limits.copy_rate
            made: Database = kind(part.name, endpoint, strategy=endpoint.strategy, rate=rate)
        elif host.name != "local":
            far = driver("databases", f"far-{part.driver}")
            path, scratch = self._located(part, there), self.manifest.state
            made = far(part.name, path, host, scratch=scratch, rate=self._rate())
        else:
            made = kind(part.name, self._located(part, there))
        return made

    def _located(self, part: PartSpec, there: Installation) -> Path:
        """Where a side has it: the old side's configuration says, and the new side's is beside."""
        from crossfade.configuration import locate, mapped

        spec = self.manifest.old
        old = spec.installation(self.manifest.recipe.application, Side.OLD)
        path = locate(part, old, self.host_of(spec, old))
        return path if there.side is Side.OLD else mapped(path, old, there)

    def environment(self, spec: SideSpec, there: Installation) -> dict[str, str]:
        """The service's environment; secrets stay references until the program is started."""
        given = {**self.manifest.recipe.service.environment, **spec.service.environment}
        known = dict(self.manifest.recipe.service.defaults)
        if spec != self.manifest.old:
            known = {n: value for n, value in known.items() if n not in self.brought}
            known |= self.taken
        known |= {
            name: value if is_reference(value) else fill(value, there.variables())
            for name, value in given.items()
        }
        return {**known, **self.muted} if spec == self.manifest.rehearsal else known

    def resolved_environment(self, spec: SideSpec, there: Installation) -> dict[str, str]:
        """The same with the secrets themselves, for a program that is run at once."""
        base = self.manifest.path.parent
        given = self.environment(spec, there)
        return {n: resolve(v, base) if is_reference(v) else v for n, v in given.items()}

    def _secrets(self, environment: Mapping[str, str], databases: Iterable[Endpoint]) -> list[str]:
        base = self.manifest.path.parent
        found = [resolve(value, base) for value in environment.values() if is_reference(value)]
        for endpoint in databases:
            references = {endpoint.password, endpoint.admin_password} - {""}
            found += [resolve(reference, endpoint.base) for reference in references]
        return found

    def passfiles(self, there: Installation) -> dict[str, bytes]:
        """The files that the service's command or environment refers to, by their paths."""
        from crossfade.drivers.databases.passfile import passfile_text

        service = self.manifest.recipe.service
        texts = (*service.command, *service.migrate, *service.environment.values())
        found = {}
        for name, endpoint in there.databases.items():
            words = (f"{{{name}.passfile}}", f"{{{name}.sqlalchemy}}")
            if any(word in text for word in words for text in texts):
                found[str(endpoint.passfile)] = passfile_text(endpoint)
        return found

    def write_passfiles(self, there: Installation, host: Host) -> None:
        """Write them on this machine, should they be missing.  On others they are written with the
        configuration, into a place that goes with the side."""
        if host.name == "local":
            for name, content in self.passfiles(there).items():
                path = Path(name)
                if not host.exists(path) or host.read(path) != content:
                    host.write(path, content)
