"""What one site's ``crossfade.yaml`` says, as frozen values.  All paths are absolute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crossfade.model import Address, Endpoint, Installation, Side
from crossfade.ports import Heed
from crossfade.recipes import CheckSpec, Recipe

__all__ = [
    "BackupSpec",
    "CopySpec",
    "DnsSpec",
    "FrontSpec",
    "HostSpec",
    "Limits",
    "Manifest",
    "NameSpec",
    "ProvisionSpec",
    "ServiceOverrides",
    "SideSpec",
    "TrafficSpec",
]


@dataclass(frozen=True, slots=True)
class ProvisionSpec:
    """How a machine is made and removed: by the site's own commands, or as a container.

    timeout is seconds for each.  Of a container: its image, the engine's socket, and the public key
    that is let in (None for the operator's own)."""

    create: tuple[str, ...] = ()
    destroy: tuple[str, ...] = ()
    timeout: float = 600.0
    image: str = ""
    socket: str = ""
    key: Path | None = None

    @property
    def driver(self) -> str:
        """The kind of driver that does it."""
        return "container" if self.image else "command"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """The machine of one side: ``local``, one that ``ssh destination`` reaches, or a container.

    sudo says that root's rights come from sudo there; config is an ssh configuration in place of
    the operator's.  Of a container: the engine's socket, the image that the new one is made of,
    where its program listens in there, its volumes and directories by their paths in there,
    its command (empty for the usual one), the Compose project that it is made in, and what begins
    empty: that project's services, single volumes, or paths of the old container's.

    provision says how the machine is made; machine is its name once it was."""

    driver: str = "local"
    destination: str = ""
    sudo: bool = False
    config: Path | None = None
    socket: str = ""
    image: str = ""
    listens: Address | None = None
    mounts: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    project: str = ""
    fresh: tuple[str, ...] = ()
    provision: ProvisionSpec | None = None
    machine: str = ""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.destination or self.driver

    @property
    def unmade(self) -> bool:
        """Whether the machine is still to be made."""
        return self.provision is not None and not self.machine


@dataclass(frozen=True, slots=True)
class ServiceOverrides:
    """What this site says about one side's service, besides the recipe.

    environment values may be secret references (see ``resolve``); pid_file is where the old side's
    own pid file is, if it has one.  driver and unit say how it runs; user is the account that a new
    unit runs as, empty for the old unit's.
    """

    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pid_file: Path | None = None
    driver: str = "process"
    unit: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class SideSpec:
    """One side, or the rehearsal's copy of the new side (same program, data of its own).

    databases are those on servers, by the recipe's names."""

    version: str
    host: HostSpec
    root: Path
    data: Path
    config: Path
    address: Address
    service: ServiceOverrides
    databases: Mapping[str, Endpoint] = field(default_factory=dict)

    def installation(self, application: str, side: Side) -> Installation:
        """The noun that steps and drivers work with.  On another machine, what the program reads
        its databases' passwords from is among its data."""
        databases = self.databases
        if self.host.driver != "local":
            databases = {
                name: replace(endpoint, passfile=self.data / f".{name}.passfile")
                for name, endpoint in databases.items()
            }
        return Installation(
            application=application,
            version=self.version,
            side=side,
            host=self.host.name,
            root=self.root,
            config=self.config,
            data=self.data,
            address=self.address,
            listens=self.host.listens,
            databases=databases,
        )


@dataclass(frozen=True, slots=True)
class FrontSpec:
    """The web server before the gate: its kind, its main configuration file, and a URL that the
    application answers through it; at is connected to in place of what the URL's name leads to.
    check and reload are commands, empty for the usual ones.  public is the application's own
    address that is led to the gate where no server is in front; file then only names it."""

    driver: str
    file: Path
    url: str
    at: Address | None = None
    check: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    public: Address | None = None


@dataclass(frozen=True, slots=True)
class NameSpec:
    """A name in the DNS: its kind of record, and its values while either side serves."""

    name: str
    kind: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DnsSpec:
    """The names that lead to the application, all of one zone.

    options are what the driver reads, as written: secrets are references.  ttl is the low one,
    patience how long servers may take to follow, and stragglers for how long nobody may have come
    to the old address before it is retired, all in seconds."""

    driver: str
    zone: str
    names: tuple[NameSpec, ...]
    options: Mapping[str, Any]
    ttl: int = 60
    patience: float = 300.0
    stragglers: float = 86400.0


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """TLS at the gate: the application's certificate with its chain, and its key.  sides are those
    that are asked by TLS; they have that very certificate, or one for ``name`` from an authority
    of the file ``trust``."""

    certificate: Path
    key: Path
    sides: tuple[Side, ...] = (Side.OLD, Side.NEW)
    trust: Path | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    """The gate: its kind, where it listens for clients, and what its driver is told besides; the
    web server before it, and the names that lead there; whether it lets reads pass in a pause.
    names are those that requests ask the application for; None where the operator did not say."""

    driver: str
    listen: Address
    options: Mapping[str, Any] = field(default_factory=dict)
    tls: TlsSpec | None = None  # at the gate, where the application terminates it itself
    front: FrontSpec | None = None
    dns: DnsSpec | None = None
    reads_in_pause: bool = False
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows, in seconds: the longest pause, the watch after it, and the lease:
    how long a pause outlives a Crossfade that died, before the old side is started again.
    copy_rate is bytes a second for databases on servers, None for as fast as does no harm, and for
    copies between machines before the pause, None for as fast as goes; heed is what the watch goes
    by."""

    max_pause: float = 60.0
    watch: float = 10.0
    lease: float = 8.0
    copy_rate: float | None = None
    heed: Heed = field(default_factory=Heed)


@dataclass(frozen=True, slots=True)
class BackupSpec:
    """Where cutovers' backups are kept, of how many upgrades, for how many days at most (None: for
    ever); wanted is False when none is made.  host is the machine of the place: this one, or one
    that is reached by ssh."""

    place: Path
    keep: int = 3
    keep_days: float | None = None
    wanted: bool = True
    host: HostSpec = HostSpec()


@dataclass(frozen=True, slots=True)
class CopySpec:
    """How trees go between two machines: straight where that can be, and at which port the one
    listens to the other; 0 for any."""

    straight: bool = True
    port: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One site's upgrade.  ``path`` is the manifest's own file; checks are the site's own."""

    path: Path
    application: str
    state: Path
    old: SideSpec
    new: SideSpec
    rehearsal: SideSpec
    traffic: TrafficSpec
    limits: Limits
    backup: BackupSpec
    copying: CopySpec
    checks: tuple[CheckSpec, ...]
    recipe: Recipe
