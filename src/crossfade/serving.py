"""One side: its parts, joined; and the description of its running program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.manifest import Manifest, SideSpec, is_reference
from crossfade.model import Address, Installation, Side
from crossfade.ports import Check, Database, Files, Host, Install, Jobs, Machine, Service
from crossfade.recipes import fill

__all__ = ["Joined", "held_installation", "process_spec"]

_DOOR_PORTS = range(16000, 20000)
_OF_MIGRATION = " (migration)"

Doors = Mapping[str, tuple[str, str]]


@dataclass
class Joined:
    """One side: ``ports.Parts``.  Databases and trees are looked up when first asked for."""

    installation: Installation
    held: Installation | None
    host: Host
    install: Install
    service: Service
    installed_version: Check
    health: Check
    checks: Sequence[Check]
    jobs: Jobs
    find_databases: Callable[[], Mapping[str, Database]]
    find_files: Callable[[], Mapping[str, Files]]
    machine: Machine | None = None

    @cached_property
    def databases(self) -> Mapping[str, Database]:
        """This side's databases by name."""
        return self.find_databases()

    @cached_property
    def files(self) -> Mapping[str, Files]:
        """This side's trees by name."""
        return self.find_files()


def process_spec(
    manifest: Manifest,
    spec: SideSpec,
    there: Installation,
    *,
    mark: str,
    environment: Mapping[str, str],
    max_pause: float,
) -> ProcessSpec:
    """What to run on this side, and the same as a held start sees it.

    environment is the program's, filled in; secrets in it are still references.  max_pause is the
    longest pause, in seconds."""
    service = manifest.recipe.service
    new = there.side is Side.NEW

    def filled(words: Sequence[str], at: Installation) -> tuple[str, ...]:
        return tuple(fill(word, at.variables()) for word in words)

    plain = ProcessSpec(
        mark=mark,
        command=filled(service.command, there),
        directory=str(spec.data),
        log=str(spec.service.log),
        environment=environment,
        preload=service.preload,
        base=str(manifest.path.parent),
        address=str(spec.address),
        strict=new,
        pid_file="" if new else str(spec.service.pid_file or ""),
        migrate=filled(service.migrate, there) if new else (),
    )
    if not (new and service.held_start and there.databases):
        return plain
    doors = _doors(there, mark)
    program, migration = (_behind(there, doors, suffix) for suffix in ("", _OF_MIGRATION))
    given = {**service.environment, **spec.service.environment}
    held_migrate = filled(service.migrate, migration)
    migrate_environment = _changed(given, migration, environment)
    # a migration that takes its database from a file cannot be told another door; it is run plainly
    own_doors = held_migrate != plain.migrate or bool(migrate_environment)
    if not own_doors:
        doors = {name: door for name, door in doors.items() if not name.endswith(_OF_MIGRATION)}
    return replace(
        plain,
        doors=doors,
        sends_on=tuple(n for n in doors if _sends_on(there, n.removesuffix(_OF_MIGRATION))),
        held_command=filled(service.command, program),
        held_environment=_changed(given, program, environment),
        migrate_doors=tuple(name for name in doors if name.endswith(_OF_MIGRATION)),
        held_migrate=held_migrate,
        held_migrate_environment=migrate_environment,
        ready_within=service.start_timeout,
        hold_at_most=max(300.0, max_pause + 60.0),
    )


def held_installation(there: Installation, doors: Doors) -> Installation | None:
    """The installation whose databases are behind the program's doors; None without doors."""
    return _behind(there, doors, "") if doors else None


def _behind(there: Installation, doors: Doors, suffix: str) -> Installation:
    databases = dict(there.databases)
    for name, endpoint in there.databases.items():
        if door := doors.get(name + suffix):
            beyond = endpoint.address if _sends_on(there, name) else None
            databases[name] = replace(endpoint, address=Address.parse(door[0]), beyond=beyond)
    return replace(there, databases=databases)


def _sends_on(there: Installation, name: str) -> bool:
    """Whether the door of a database can stand first in a list of hosts; SQLAlchemy does not
    understand IPv6 addresses in one."""
    endpoint = there.databases[name]
    return endpoint.host_lists and ":" not in endpoint.address.host


def _doors(there: Installation, mark: str) -> dict[str, tuple[str, str]]:
    """A door for each database, and another one for the migration.  Should a port be taken, the
    start is a plain one."""
    names = [name + suffix for name in there.databases for suffix in ("", _OF_MIGRATION)]
    first = int(sha256(mark.encode()).hexdigest(), 16)
    ports = [_DOOR_PORTS[(first + n) % len(_DOOR_PORTS)] for n in range(len(names))]
    return {
        name: (f"127.0.0.1:{port}", str(there.databases[name.removesuffix(_OF_MIGRATION)].address))
        for name, port in zip(names, ports, strict=True)
    }


def _changed(
    given: Mapping[str, str], at: Installation, plain: Mapping[str, str]
) -> dict[str, str]:
    """The variables whose value is another behind the doors."""
    filled = {n: v if is_reference(v) else fill(v, at.variables()) for n, v in given.items()}
    return {name: value for name, value in filled.items() if value != plain.get(name)}
