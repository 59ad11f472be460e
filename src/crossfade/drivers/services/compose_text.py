"""A second Compose project, made from what the files of the first one come to.  Pure functions.

Compose appends to lists when it lays one file over another, so that an override cannot take back a
published port or a mount: the second project has one whole file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crossfade.drivers.containers import LABEL
from crossfade.errors import Failed
from crossfade.manifest import is_pinned

__all__ = ["PROJECT", "SERVICE", "Second", "in_the_way", "second_project"]

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
_OF_ONE: Final = ("build", "mac_address", "container_name", "ports", "pull_policy")
"""What only one project on a machine can have, or what would have its image be any."""


@dataclass(frozen=True, slots=True)
class Second:
    """What is otherwise in the second project: its name, the application's service, and what the
    new container of that is made with, as an engine describes it.  fresh names the other services
    that may begin with empty volumes, or single volumes of theirs."""

    project: str
    upgrade: str
    service: str
    container: str
    config: Mapping[str, Any]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    fresh: Collection[str] = ()


def second_project(
    files: Mapping[str, Any], running: Mapping[str, Mapping[str, Any]], second: Second
) -> dict[str, Any]:
    """The second project's file, from the first one's as Compose understands them, and from its
    containers by their services.  Services that the first project does not run are left out.

    Raises Failed: compose-service-missing, compose-service-writes, compose-data-stays."""
    known = files.get("services") or {}
    if second.service not in known or second.service not in running:
        what = f"The Compose files say nothing of the service {second.service}."
        raise Failed("compose-service-missing", what, where=f"services: {', '.join(known)}")
    app = running[second.service]
    volumes: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for name, said in known.items():
        if name not in running:
            continue
        kept = {key: value for key, value in said.items() if key not in _OF_ONE}
        kept["labels"] = {**_pairs(kept.get("labels")), LABEL: second.upgrade}
        kept["networks"] = _joined(kept.get("networks"))
        kept["depends_on"] = _needed(kept.get("depends_on"), running)
        if name == second.service:
            kept |= _application(kept, second, volumes)
        else:
            kept |= _companion(name, running[name], app, second, volumes)
        services[name] = {key: value for key, value in kept.items() if value not in ({}, [], None)}
    rest = {key: files[key] for key in ("configs", "secrets") if files.get(key)}
    if version := files.get("version"):
        rest["version"] = str(version)
    networks = {name: _network(said, second) for name, said in _networks(files, services).items()}
    return {**rest, "services": services, "networks": networks, "volumes": volumes}


def _application(
    kept: Mapping[str, Any], second: Second, volumes: dict[str, Any]
) -> dict[str, Any]:
    config = second.config
    environment = {**_pairs(kept.get("environment"))}
    for name, value in second.environment.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value.replace("$", "$$")
    made: dict[str, Any] = {
        "image": config["Image"],
        "container_name": second.container,
        "environment": environment,
        "ports": [
            f"{at['HostIp']}:{at['HostPort']}:{inside}"
            for inside, places in config["HostConfig"].get("PortBindings", {}).items()
            for at in places
        ],
        "volumes": [],
    }
    for key, name in (("command", "Cmd"), ("entrypoint", "Entrypoint")):
        if config.get(name):
            made[key] = [word.replace("$", "$$") for word in config[name]]
    for mount in config["HostConfig"].get("Mounts") or ():
        made["volumes"].append(_mounted(mount["Type"], mount["Source"], mount))
        if mount["Type"] == "volume":
            volumes[mount["Source"]] = {"external": True, "name": mount["Source"]}
    return made


def _mounted(kind: str, source: str, mount: Mapping[str, Any]) -> dict[str, Any]:
    read_only = bool(mount.get("ReadOnly", not mount.get("RW", True)))
    target = mount.get("Target") or mount["Destination"]
    return {"type": kind, "source": source, "target": target, "read_only": read_only}


def _companion(
    name: str,
    container: Mapping[str, Any],
    app: Mapping[str, Any],
    second: Second,
    volumes: dict[str, Any],
) -> dict[str, Any]:
    """Another service, which begins anew and has nothing in common with the first project's."""
    if problem := in_the_way(name, container, app, second.fresh):
        raise problem
    mounts = []
    for one in container.get("Mounts") or ():
        source = _source(one)
        if one["Type"] == "bind" and one.get("RW", True):
            what = f"Both projects' services {name} would write to {source}."
            raise Failed("mount-shared", what, where=f"service {name}")
        if one["Type"] == "volume" and one.get("RW", True):
            source = f"{second.project}_{source}"
            volumes[source] = {"name": source, "labels": {LABEL: second.upgrade}}
        elif one["Type"] == "volume":
            volumes[source] = {"external": True, "name": source}
        mounts.append(_mounted(one["Type"], source, one))
    image = str(container["Config"]["Image"])
    return {"image": image if is_pinned(image) else container["Image"], "volumes": mounts}


def in_the_way(
    name: str, container: Mapping[str, Any], app: Mapping[str, Any], fresh: Collection[str]
) -> Failed | None:
    """Why the project of another service cannot be upgraded beside it; None when it can."""
    writes = {_source(one) for one in container.get("Mounts") or () if one.get("RW", True)}
    shared = writes & {_source(one) for one in app.get("Mounts") or ()}
    if container["Image"] == app["Image"] or shared:
        what = (
            f"The service {name} runs the application's image or writes to its volumes, and "
            "Crossfade stops and starts one service only: it would write on during the pause."
        )
        return Failed("compose-service-writes", what, where=f"service {name}")
    left = sorted(writes - set(fresh)) if name not in fresh else []
    if left:
        what = (
            f"The service {name} keeps data in {', '.join(left)}, and Crossfade would "
            "not carry them over: it does so for the application's own volumes."
        )
        return Failed("compose-data-stays", what, where=f"service {name}")
    return None


def _source(mount: Mapping[str, Any]) -> str:
    return str(mount.get("Name") or mount.get("Source", ""))


def _pairs(said: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    """A mapping that may be written as a list of ``NAME=VALUE``."""
    if isinstance(said, Mapping):
        return dict(said)
    return dict(one.partition("=")[::2] for one in said or ())


def _joined(said: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    """The networks of a service with its other names there, and without fixed addresses."""
    if not isinstance(said, Mapping):
        return dict.fromkeys(said or ())
    return {
        name: {"aliases": list(how["aliases"])} if how and how.get("aliases") else None
        for name, how in said.items()
    }


def _needed(
    said: Mapping[str, Any] | Sequence[str] | None, running: Collection[str]
) -> dict[str, Any] | list[str]:
    if isinstance(said, Mapping):
        return {name: how for name, how in said.items() if name in running}
    return [name for name in said or () if name in running]


def _networks(files: Mapping[str, Any], services: Mapping[str, Any]) -> dict[str, Any]:
    """The networks that services are in; one of the files' own making is not spelt out there."""
    used = {
        name
        for one in services.values()
        if "network_mode" not in one
        for name in one.get("networks") or ("default",)
    }
    said = files.get("networks") or {}
    return {name: said.get(name) for name in sorted(used)}


def _network(said: Mapping[str, Any] | None, second: Second) -> dict[str, Any]:
    """A network of the second project's own: on one that both are in, a service's name would stand
    for both projects' containers."""
    kept = ("driver", "driver_opts", "internal", "enable_ipv6")
    made = {key: value for key, value in (said or {}).items() if key in kept and value}
    return {**made, "labels": {**_pairs((said or {}).get("labels")), LABEL: second.upgrade}}
