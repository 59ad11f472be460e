"""Read ``crossfade.yaml``: hold it against the schema and our own rules, then make the values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossfade.errors import UsageError
from crossfade.manifest._databases import (
    chosen,
    endpoints,
    rehearsal_endpoints,
    with_recipe,
)
from crossfade.manifest._machine import marked
from crossfade.manifest._own import with_own
from crossfade.manifest._rules import rule_complaints
from crossfade.manifest._spec import (
    BackupSpec,
    CopySpec,
    HostSpec,
    Limits,
    Manifest,
    ProvisionSpec,
    ServiceOverrides,
    SideSpec,
)
from crossfade.manifest._traffic import traffic_spec
from crossfade.model import Address, Endpoint
from crossfade.ports import Heed
from crossfade.recipes import Recipe, check_spec
from crossfade.recipes import load as load_recipe
from crossfade.recipes._validate import complain, load_schema, parse
from crossfade.recipes._yaml import Document, Keys

__all__ = ["SCHEMA", "load"]

SCHEMA = Path(__file__).parent / "crossfade.schema.json"
"""The schema of the manifest, for editors."""

Data = Mapping[str, Any]
_SERVICES = {"ssh": "systemd", "docker": "docker"}


def load(path: Path) -> Manifest:
    """Read a manifest and the recipe that it names.

    Raises UsageError: ``manifest-missing``, ``manifest-unreadable``, or ``manifest-invalid`` with
    every complaint, each with its line, key path and the nearest right key.
    """
    path = Path(os.path.normpath(path.absolute()))
    text = _text(path)
    document, complaints = parse(text, load_schema(SCHEMA))
    made = None
    if not complaints:
        made = _manifest(document, path)
        complaints = rule_complaints(document, made)
    if complaints or made is None:
        next = f"edit {path.name}, then: crossfade plan"
        complain("manifest-invalid", path.name, complaints, next)
    return made


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            "manifest-missing",
            f"there is no manifest {path.name}",
            where=str(path),
            next="crossfade init",
        ) from None
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text (byte {error.start})"
    raise UsageError(
        "manifest-unreadable",
        f"the manifest {path.name} cannot be read: {reason}",
        where=str(path),
        next="crossfade plan",
    )


def _manifest(document: Document, path: Path) -> Manifest:
    data: Any = document.data
    base = path.parent
    state = _path(base, data.get("state", ".crossfade"))
    application = load_recipe(data["application"], base)
    old = _side(document, ("old",), base, state, {}, application)
    new = _side(document, ("new",), base, state, old.databases, application)
    if new.host == old.host and new.service.unit == old.service.unit:
        new = replace(new, service=_named_apart(new, application.application))
    limits = data.get("limits", {})
    recipe = with_own(chosen(application, old.databases, new.databases), data)
    rehearsal = _rehearsal(data["new"]["rehearsal"], new, base, state)
    old, new, rehearsal = (
        replace(side, databases=with_recipe(recipe, side.databases))
        for side in (old, new, rehearsal)
    )
    return Manifest(
        path=path,
        application=recipe.application,
        state=state,
        old=old,
        new=new,
        rehearsal=rehearsal,
        traffic=traffic_spec(data["traffic"], base, _address(data["traffic"]["listen"])),
        limits=Limits(
            float(limits.get("max_pause", 60)),
            float(limits.get("watch", 10)),
            float(limits.get("lease", 8)),
            float(limits["copy_rate"]) * 1e6 if "copy_rate" in limits else None,
            _heed(data.get("watch", {})),
        ),
        backup=_backup(data.get("backup", {}), base, state, {"old": old.host, "new": new.host}),
        copying=CopySpec(**data.get("copy", {})),
        checks=tuple(
            check_spec(item, base, f"check {index + 1}")
            for index, item in enumerate(data.get("checks", ()))
        ),
        recipe=recipe,
    )


def _heed(data: Data) -> Heed:
    return Heed(
        error_rate=float(data.get("error_rate", 5)) / 100,
        client_error_rate=float(data.get("client_error_rate", 25)) / 100,
        latency=float(data["latency"]) if "latency" in data else None,
        least=data.get("least", 50),
        go_back=data.get("go_back", True),
    )


def _backup(data: Data, base: Path, state: Path, sides: Mapping[str, HostSpec]) -> BackupSpec:
    said = data.get("host", "local")
    known = sides.get(said) if isinstance(said, str) else None
    return BackupSpec(
        host=known or _host(said, base, Address("", 1)),
        place=_path(base, data["place"]) if "place" in data else state / "backups",
        keep=data.get("keep", 3),
        keep_days=float(data["keep_days"]) if "keep_days" in data else None,
        wanted=data.get("when", "cutover") == "cutover",
    )


def _side(
    document: Document,
    keys: Keys,
    base: Path,
    state: Path,
    like: Mapping[str, Endpoint],
    recipe: Recipe,
) -> SideSpec:
    name = str(keys[0])
    data: Any = document.data
    side: Data = marked(data[name], name)
    service: Data = side.get("service", {})
    address = _address(side["address"])
    host = _host(side.get("host", "local"), base, address)
    home = _path(base, side["data"])
    return SideSpec(
        version=document.raw[(*keys, "version")],
        host=host,
        root=_path(base, side["root"]),
        data=home,
        config=_path(base, side["config"]) if "config" in side else home,
        address=address,
        service=ServiceOverrides(
            log=_path(base, service["log"]) if "log" in service else state / "log" / f"{name}.log",
            environment=dict(service.get("environment", {})),
            pid_file=_path(base, service["pid_file"]) if "pid_file" in service else None,
            driver=service.get("driver", _SERVICES.get(host.driver, recipe.service.driver)),
            unit=service.get("unit", f"{recipe.application}.service"),
            user=service.get("user", ""),
        ),
        databases=endpoints(side.get("databases", {}), base, state, like),
    )


def _rehearsal(data: Data, new: SideSpec, base: Path, state: Path) -> SideSpec:
    """The new side with data, configuration, address and log of its own; a container has them at
    the same paths."""
    address = _address(data["address"])
    host, beside = new.host, _beside
    if host.driver == "docker":
        host, beside = _container_beside(host, new.address, address), Path
    home = _path(base, data["data"]) if "data" in data else beside(new.data)
    if "config" in data:
        config = _path(base, data["config"])
    else:
        config = home if new.config == new.data else beside(new.config)
    unit = f"{new.service.unit.removesuffix('.service')}-rehearsal.service"
    service = replace(new.service, log=state / "log" / "rehearsal.log", pid_file=None, unit=unit)
    return replace(
        new,
        host=host,
        data=home,
        config=config,
        address=address,
        service=service,
        databases=rehearsal_endpoints(data.get("databases", {}), new.databases, base, state),
    )


def _named_apart(new: SideSpec, application: str) -> ServiceOverrides:
    """Two units on one machine have two names."""
    return replace(new.service, unit=f"{application}-{new.version}.service")


def _host(data: str | Data, base: Path, address: Address) -> HostSpec:
    if data == "local":
        return HostSpec()
    if isinstance(data, str):
        return HostSpec("ssh", data)
    if "docker" in data:
        return HostSpec(
            "docker",
            data["docker"],
            socket=data.get("socket", ""),
            image=data.get("image", ""),
            listens=_address(data["listens"]) if "listens" in data else _anywhere(address),
            mounts=tuple(sorted(data.get("mounts", {}).items())),
            command=tuple(data.get("command", ())),
            project=data.get("compose", ""),
            fresh=tuple(data.get("fresh", ())),
        )
    config = _path(base, data["config"]) if "config" in data else None
    provision = _provision(data["provision"], base) if "provision" in data else None
    return HostSpec(
        "ssh", data.get("ssh", ""), data.get("sudo", False), config, provision=provision
    )


def _provision(data: Data, base: Path) -> ProvisionSpec:
    container: Data = data.get("container", {})
    return ProvisionSpec(
        create=tuple(data.get("create", ())),
        destroy=tuple(data.get("destroy", ())),
        timeout=float(data.get("timeout", 600)),
        image=container.get("image", ""),
        socket=container.get("socket", ""),
        key=_path(base, container["key"]) if "key" in container else None,
    )


def _anywhere(address: Address) -> Address:
    """What a program in a container listens at, when nothing else is said."""
    return Address("0.0.0.0", address.port)  # noqa: S104 (in there)


def _container_beside(host: HostSpec, usual: Address, address: Address) -> HostSpec:
    """The rehearsal's container, with places of its own."""
    return replace(
        host,
        destination=f"{host.destination}-rehearsal",
        project=f"{host.project}-rehearsal" if host.project else "",
        listens=_anywhere(address) if host.listens == _anywhere(usual) else host.listens,
        mounts=tuple((path, f"{source}-rehearsal") for path, source in host.mounts),
    )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-rehearsal")


def _path(base: Path, text: str) -> Path:
    return Path(os.path.normpath(base / text))


def _address(text: str) -> Address:
    """Addresses that do not hold are complained about by the rules; port 1 stands in for them."""
    try:
        return Address.parse(text)
    except ValueError:
        return Address(text, 1)
