"""A container's settings: read off the old one, and made into the new one's.  Pure functions.

What an engine tells of a container has the form in which it wants a new one described, so settings
are carried as they stand there.  What the old image itself sets is not carried: the new image has
its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crossfade.drivers.containers import LABEL
from crossfade.errors import Failed
from crossfade.manifest import is_pinned

__all__ = ["USUAL_POLICY", "Changes", "Creation", "creation", "own_variables", "restart_policy"]

_FROM_IMAGE: Final = (
    *("Cmd", "Entrypoint", "WorkingDir", "User", "Healthcheck", "StopSignal", "Shell"),
)
_CONFIG: Final = ("Hostname", "Domainname", "Tty", "OpenStdin", "StdinOnce", "StopTimeout")
_CONFIG_KNOWN: Final = (
    *_FROM_IMAGE,
    *_CONFIG,
    *("Env", "Labels", "ExposedPorts", "Volumes", "Image", "MacAddress", "NetworkDisabled"),
    *("AttachStdin", "AttachStdout", "AttachStderr", "ArgsEscaped", "OnBuild"),
)
_HOST: Final = (
    *("Memory", "MemorySwap", "MemoryReservation", "MemorySwappiness", "NanoCpus", "CpuShares"),
    *("CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus"),
    *("CpusetMems", "CpuCount", "CpuPercent", "PidsLimit", "Ulimits", "OomKillDisable"),
    *("OomScoreAdj", "BlkioWeight", "BlkioWeightDevice", "BlkioDeviceReadBps"),
    *("BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "CapAdd", "CapDrop"),
    *("ExtraHosts", "Dns", "DnsOptions", "DnsSearch", "LogConfig", "Devices", "DeviceRequests"),
    *("DeviceCgroupRules", "Tmpfs", "ReadonlyRootfs", "SecurityOpt", "Init", "ShmSize"),
    *("Sysctls", "Privileged", "GroupAdd", "Runtime", "UsernsMode", "IpcMode", "PidMode"),
    *("UTSMode", "CgroupnsMode", "Cgroup", "CgroupParent", "Isolation", "MaskedPaths"),
    *("ReadonlyPaths", "StorageOpt", "KernelMemory", "KernelMemoryTCP", "Annotations"),
)
_HOST_KNOWN: Final = (
    *_HOST,
    *("Binds", "Mounts", "NetworkMode", "PortBindings", "RestartPolicy", "ContainerIDFile"),
    *("AutoRemove", "ConsoleSize", "PublishAllPorts", "IOMaximumIOps", "IOMaximumBandwidth"),
)
_MOVING: Final = re.compile(r"(container|service):")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is otherwise on the new side.

    volumes and binds name what stands in place of each volume and each directory that the old one
    may write; one that maps to itself is shared on purpose.  ports are those to publish, such as
    ``{"8008/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18008"}]}``: the old one's are not taken.
    environment adds variables, or removes those that are None.  mounts says the same as volumes and
    binds, by the path in the container.  command, entrypoint, directory and user are the old one's,
    or the image's, when they are None or empty.
    """

    name: str
    image: str
    upgrade: str
    volumes: Mapping[str, str] = field(default_factory=dict)
    binds: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    environment: Mapping[str, str | None] = field(default_factory=dict)
    command: Sequence[str] | None = None
    mounts: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] | None = None
    directory: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Creation:
    """How the new container is made: its description, the networks that it joins besides the
    first, and sentences on what is otherwise than on the old one."""

    config: Mapping[str, Any]
    networks: Mapping[str, Mapping[str, Any]]
    told: tuple[str, ...]


def creation(old: Mapping[str, Any], image: Mapping[str, Any], changes: Changes) -> Creation:
    """The new container from what is known of the old one and of the old one's image.

    Raises Failed: image-not-pinned, mount-not-mapped."""
    if not is_pinned(changes.image):
        what = "The new image is named without a version or a digest, so it could be any."
        raise Failed("image-not-pinned", what, where=f"image {changes.image}")
    told: list[str] = []
    config, host = old["Config"], old["HostConfig"]
    made = {key: config[key] for key in _CONFIG if config.get(key)}
    defaults = image.get("Config") or {}
    made |= {
        key: config[key]
        for key in _FROM_IMAGE
        if config.get(key) and config[key] != defaults.get(key)
    }
    if str(old["Id"]).startswith(str(made.get("Hostname", "-"))):
        del made["Hostname"]  # the engine's own choice
    if changes.command is not None:
        made["Cmd"] = list(changes.command)
    if changes.entrypoint is not None:
        made["Entrypoint"] = list(changes.entrypoint)
    made |= {"WorkingDir": changes.directory} if changes.directory else {}
    made |= {"User": changes.user} if changes.user else {}
    made["Image"] = changes.image
    made["Env"] = _environment(config, defaults, changes.environment)
    made["Labels"] = _labels(config, defaults, changes.upgrade, told)
    made["ExposedPorts"] = {
        **(config.get("ExposedPorts") or {}),
        **{port: {} for port in changes.ports},
    }
    made["HostConfig"] = _host(old, host, changes, told)
    first, others = _networks(old, told)
    made["NetworkingConfig"] = {"EndpointsConfig": first}
    told += _unknown("setting", config, _CONFIG_KNOWN) + _unknown("setting", host, _HOST_KNOWN)
    return Creation(made, others, tuple(told))


USUAL_POLICY: Final = {"Name": "unless-stopped", "MaximumRetryCount": 0}


def restart_policy(old: Mapping[str, Any]) -> dict[str, Any]:
    """When the engine starts the old container again by itself."""
    found = old["HostConfig"].get("RestartPolicy") or {}
    return dict(found) if found.get("Name") else {"Name": "no", "MaximumRetryCount": 0}


def own_variables(config: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, str]:
    """Variables that somebody set on the container, not those of its image."""
    set_by_image = set(image.get("Env") or ())
    return dict(
        one.partition("=")[::2] for one in config.get("Env") or () if one not in set_by_image
    )


def _environment(
    config: Mapping[str, Any], image: Mapping[str, Any], changed: Mapping[str, str | None]
) -> list[str]:
    given = own_variables(config, image)
    for name, value in changed.items():
        given.pop(name, None)
        if value is not None:
            given[name] = value
    return [f"{name}={value}" for name, value in given.items()]


def _labels(
    config: Mapping[str, Any], image: Mapping[str, Any], upgrade: str, told: list[str]
) -> dict[str, str]:
    """The container's own labels, and ours; not those by which Compose knows its containers."""
    of_image = image.get("Labels") or {}
    labels = {}
    for name, value in (config.get("Labels") or {}).items():
        if name.startswith("com.docker.compose."):
            told.append(f"label {name} is not carried: Compose would take both for one")
        elif of_image.get(name) != value:
            labels[name] = value
    return {**labels, LABEL: upgrade}


def _host(
    old: Mapping[str, Any], host: Mapping[str, Any], changes: Changes, told: list[str]
) -> dict[str, Any]:
    made = {key: host[key] for key in _HOST if host.get(key) not in (None, "", [], {}, 0)}
    for key in ("IpcMode", "PidMode", "UTSMode"):
        if _MOVING.match(str(made.get(key, ""))):
            others = made.pop(key)
            told.append(f"{key} {others} is not carried: that is another container's")
    if made.get("Runtime") == "runc":
        del made["Runtime"]
    if "Ulimits" in made:  # Podman tells them by the kernel's names, and does not take those
        made["Ulimits"] = [
            {**one, "Name": str(one["Name"]).removeprefix("RLIMIT_").lower()}
            for one in made["Ulimits"]
        ]
    made["Mounts"] = _mounts(old, changes, told)
    made["PortBindings"] = {port: list(at) for port, at in changes.ports.items()}
    for port, places in (host.get("PortBindings") or {}).items():
        if port not in changes.ports:
            where = ", ".join(
                f"{p.get('HostIp', '')}:{p.get('HostPort', '')}" for p in places or ()
            )
            told.append(f"port {port} is not published: the old side has it at {where}")
    if host.get("PublishAllPorts"):
        told.append("ports are not published all at once: only those that are named")
    if host.get("AutoRemove"):
        told.append("the container is not removed when it ends, as the old one is")
    made["RestartPolicy"] = {"Name": "no"}
    network = str(host.get("NetworkMode") or "default")
    if _MOVING.match(network):
        told.append(f"network {network} is not carried: that is another container's")
        network = "none"
    made["NetworkMode"] = network
    if network == "host":  # what it listens at is published as it is
        del made["PortBindings"]
    return made


def _mounts(old: Mapping[str, Any], changes: Changes, told: list[str]) -> list[dict[str, Any]]:
    """Volumes and directories, each in its own place on the new side."""
    given = {one["Target"]: one for one in old["HostConfig"].get("Mounts") or ()}
    made, missing = [], []
    for one in old.get("Mounts") or ():
        kind, path, writes = one["Type"], one["Destination"], one.get("RW", True)
        if kind == "tmpfs":
            made.append(given.get(path, {"Type": "tmpfs", "Target": path}))
            continue
        source = str(one["Name"] if kind == "volume" else one["Source"])
        target = (changes.volumes if kind == "volume" else changes.binds).get(source)
        if target is None and writes:
            missing.append(f"{kind} {source} at {path}")
            continue
        if target in (None, source):
            told.append(f"{kind} {source} at {path} is shared with the old side")
        mount = {"Type": kind, "Source": target or source, "Target": path, "ReadOnly": not writes}
        if kind == "bind" and one.get("Propagation"):
            mount["BindOptions"] = {"Propagation": one["Propagation"]}
        made.append(mount)
    if missing:
        what = "The old container may write to places for which the new side names none."
        raise Failed("mount-not-mapped", what, where="\n".join(missing))
    return made


def _networks(
    old: Mapping[str, Any], told: list[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The networks that it joins: the first one, and the others.  The old side's addresses and
    names there stay its own."""
    found: dict[str, dict[str, Any]] = {}
    mode = str(old["HostConfig"].get("NetworkMode") or "default")
    own = {str(old["Id"])[:12], str(old["Name"]).lstrip("/")}
    for name, one in (old.get("NetworkSettings", {}).get("Networks") or {}).items():
        if name in ("none", "host") or _MOVING.match(mode):
            continue
        aliases = [alias for alias in one.get("Aliases") or () if alias not in own]
        if aliases:
            told.append(f"in network {name} it is not called {', '.join(aliases)}: the old one is")
        fixed = {k: v for k, v in (one.get("IPAMConfig") or {}).items() if v}
        if fixed:
            told.append(f"in network {name} it has not the fixed address of the old side")
        found[name] = {key: one[key] for key in ("Links", "DriverOpts") if one.get(key)}
    first = mode if mode in found else next(iter(found), "")
    return ({first: found.pop(first)} if first else {}), found


def _unknown(word: str, found: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    return [f"{word} {key} is not carried" for key in found if key not in known and found[key]]
