"""The drivers: parts for one kind of host, service, database, files, traffic, fronts, dns,
install, machines or check.

Built-ins are listed here, for reading; they also stand under the entry-point group
``crossfade.drivers``, where an outsider's driver is found as ``<kind>.<name>``.  Each kind has one
way to be made:

    hosts      Driver(secrets=callable); another machine: Driver(destination, secrets=callable)
    installs   Driver(host, root, packages, **options of the recipe)
    services   Driver(spec, keep); systemd: Driver(unit, host)
    databases  Driver(name, path or endpoint); far-…: Driver(name, path, host)
    files      Driver(name, path); far-…: Driver(name, path, host)
    traffic    Driver(listen, directory, **options of the manifest)
    fronts     Driver(spec of traffic.front, way, host, directory, memory)
    dns        Driver(zone, options of traffic.dns, callable that reads secrets)
    machines   Driver(spec of host.provision, here, directory of the manifest)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crossfade.errors import UsageError

__all__ = ["BUILT_IN", "GROUP", "driver"]

GROUP = "crossfade.drivers"
BUILT_IN = {
    "hosts.local": "crossfade.drivers.hosts.local:LocalHost",
    "hosts.docker": "crossfade.drivers.hosts.docker:DockerHost",
    "hosts.ssh": "crossfade.drivers.hosts.ssh:SshHost",
    "services.process": "crossfade.drivers.services.process:ProcessService",
    "services.systemd": "crossfade.drivers.services.systemd:SystemdService",
    "services.docker": "crossfade.drivers.services.docker:DockerService",
    "databases.sqlite": "crossfade.drivers.databases.sqlite:SqliteDatabase",
    "databases.far-sqlite": "crossfade.drivers.databases.sqlite_far:FarSqlite",
    "databases.postgres": "crossfade.drivers.databases.postgres.database:PostgresDatabase",
    "databases.mysql": "crossfade.drivers.databases.mysql.database:MysqlDatabase",
    "files.far-tree": "crossfade.drivers.files.far:FarTree",
    "files.tree": "crossfade.drivers.files.tree:TreeFiles",
    "traffic.gateway": "crossfade.drivers.traffic.gateway:GatewayTraffic",
    "traffic.haproxy": "crossfade.drivers.traffic.haproxy:HaproxyTraffic",
    "fronts.nginx": "crossfade.drivers.fronts.nginx:NginxFront",
    "fronts.apache": "crossfade.drivers.fronts.apache:ApacheFront",
    "fronts.caddy": "crossfade.drivers.fronts.caddy:CaddyFront",
    "fronts.traefik": "crossfade.drivers.fronts.traefik:TraefikFront",
    "fronts.redirect": "crossfade.drivers.fronts.redirect:RedirectFront",
    "dns.rfc2136": "crossfade.drivers.dns.rfc2136:Rfc2136Zone",
    "dns.powerdns": "crossfade.drivers.dns.powerdns:PowerDnsZone",
    "dns.lexicon": "crossfade.drivers.dns.lexicon:LexiconZone",
    "installs.python": "crossfade.drivers.installs.python:PythonInstall",
    "installs.apt": "crossfade.drivers.installs.apt:AptInstall",
    "installs.tarball": "crossfade.drivers.installs.tarball:TarballInstall",
    "installs.npm": "crossfade.drivers.installs.npm:NpmInstall",
    "installs.image": "crossfade.drivers.installs.image:ImageInstall",
    "machines.command": "crossfade.drivers.machines.command:CommandMachines",
    "machines.container": "crossfade.drivers.machines.container:ContainerMachines",
}


def driver(kind: str, name: str) -> Any:
    """The class of a driver, such as ``driver("databases", "sqlite")``.

    Raises UsageError naming the drivers of that kind when there is none of this name."""
    key = f"{kind}.{name}"
    if key in BUILT_IN:
        module, _, attribute = BUILT_IN[key].partition(":")
        return getattr(import_module(module), attribute)
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=GROUP)}
    if key in found:
        return found[key].load()
    names = (n.partition(".")[2] for n in {*BUILT_IN, *found} if n.startswith(f"{kind}."))
    known = sorted(n for n in names if not n.startswith("far-"))  # those are chosen by the host
    raise UsageError(
        "driver-unknown",
        f"There is no driver {name!r} for {kind}; there is {', '.join(known)}.",
        next="edit crossfade.yaml, then: crossfade plan",
    )
