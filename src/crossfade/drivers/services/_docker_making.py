"""Making the new side's container, and removing what was made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossfade.drivers.containers import LABEL, Engine, label_of
from crossfade.drivers.services import _compose
from crossfade.drivers.services._compose import ComposeSpec
from crossfade.drivers.services.container_places import BLANK, with_places
from crossfade.drivers.services.container_text import Changes, Creation, creation
from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.errors import Failed
from crossfade.manifest import resolve

__all__ = ["DockerSpec", "make", "remove", "run_once"]


@dataclass(frozen=True, slots=True)
class DockerSpec:
    """A container by its name, and how it is made: on the new side, ``old`` is the container whose
    settings it gets (empty: there is none), with ``changes``, whose environment may hold secret
    references, and process says what migrates.  Without changes it is somebody else's.

    keep is a directory of ours, where an old container's restart policy is remembered.  With
    compose the container is made as part of a second Compose project."""

    container: str
    socket: str = ""
    upgrade: str = ""
    old: str = ""
    changes: Changes | None = None
    process: ProcessSpec | None = None
    keep: Path | None = None
    compose: ComposeSpec | None = None


def make(engine: Engine, spec: DockerSpec) -> tuple[str, ...]:
    """Make the new container with its volumes, stopped; says what is otherwise than on the old one.
    One that we made before stays.

    Raises Failed: image-missing, image-not-pinned, mount-not-mapped, mount-shared,
    container-missing, container-in-the-way; in a Compose project as ``make_project`` does."""
    if spec.changes is None:
        return ()
    planned, changes = _planned(engine, spec, spec.changes)
    there = engine.container(changes.name)
    if there is not None:
        if label_of(there) != changes.upgrade:
            what = f"A container that Crossfade did not make is called {changes.name}."
            raise Failed("container-in-the-way", what, where=engine.url)
        if spec.compose and not there["State"]["Running"]:
            _compose.start_others(engine, spec.compose.project, changes.name)
        return planned.told
    _make_volumes(engine, changes, planned.config)
    _make_directories(engine, changes)
    if spec.compose:
        old = engine.container(spec.old) or {}
        _compose.make_project(
            engine, spec.compose, old, planned.config, changes.environment, changes.name
        )
        _compose.start_others(engine, spec.compose.project, changes.name)
    else:
        _make(engine, changes.name, planned)
    return planned.told


def run_once(engine: Engine, spec: DockerSpec, words: tuple[str, ...], within: float) -> str | None:
    """Run a command in a container as the new one, which must be there, and remove that.  Returns
    what it said when it ended otherwise than with 0.

    Raises Failed as ``make`` does."""
    changes = spec.changes
    if changes is None:
        return None
    alone = replace(changes, name=f"{changes.name}-migration", ports={}, entrypoint=words)
    planned, _ = _planned(engine, spec, replace(alone, command=()))
    mounts = _planned(engine, spec, changes)[0].config["HostConfig"]["Mounts"]
    config = {**planned.config, "Healthcheck": {"Test": ["NONE"]}}
    config["HostConfig"] = {**config["HostConfig"], "Mounts": mounts}
    if spec.compose:  # in its own project's network, not in the old one's
        network = _compose.network_of(engine, changes.name)
        config |= {"NetworkingConfig": {"EndpointsConfig": {}}}
        config["HostConfig"]["NetworkMode"] = network
        planned = replace(planned, networks={})
    engine.remove_container(alone.name, changes.upgrade)
    _make(engine, alone.name, replace(planned, config=config))
    try:
        with engine.explained("run the migration"):
            engine.api.start(alone.name)
            ended = engine.api.wait(alone.name, timeout=within)
            said = engine.api.logs(alone.name, tail=5).decode("utf-8", "replace")
    finally:
        engine.remove_container(alone.name, changes.upgrade)
    status = int(ended["StatusCode"])
    return f"status {status}\n{said.strip()}" if status else None


def _planned(engine: Engine, spec: DockerSpec, changes: Changes) -> tuple[Creation, Changes]:
    old: Mapping[str, Any] = BLANK
    image: Mapping[str, Any] = {}
    if spec.old:
        found = engine.container(spec.old)
        if found is None:
            what = f"There is no container {spec.old}."
            raise Failed("container-missing", what, where=engine.url)
        old, image = found, engine.image(found["Image"]) or {}
    base = Path(spec.process.base) if spec.process else Path()
    resolved = {n: v and resolve(v, base) for n, v in changes.environment.items()}
    placed, complete = with_places(old, replace(changes, environment=resolved))
    return creation(placed, image, complete), complete


def _make(engine: Engine, name: str, planned: Creation) -> None:
    engine.make(name, planned.config)
    for network, endpoint in planned.networks.items():
        with engine.explained(f"join network {network}"):
            engine.api.connect_container_to_network(name, network, links=endpoint.get("Links"))


def _make_volumes(engine: Engine, changes: Changes, config: Mapping[str, Any]) -> None:
    shared = {name for name, new in changes.volumes.items() if name == new}
    for mount in config["HostConfig"]["Mounts"]:
        name = mount.get("Source", "")
        if mount["Type"] != "volume" or mount["ReadOnly"] or name in shared:
            continue
        with engine.explained(f"make volume {name}"):
            known = engine.api.volumes()["Volumes"] or ()
            there = next((one for one in known if one["Name"] == name), None)
            if there is None:
                engine.api.create_volume(name, labels={LABEL: changes.upgrade})
        if there is not None and label_of(there) != changes.upgrade:
            what = f"A volume that Crossfade did not make is called {name}."
            raise Failed("container-in-the-way", what, where=engine.url)


def _make_directories(engine: Engine, changes: Changes) -> None:
    """An engine of this machine wants its directories to be there; on another they have to be."""
    if engine.url.startswith("unix://"):
        for directory in changes.binds.values():
            Path(directory).mkdir(mode=0o755, parents=True, exist_ok=True)


def remove(engine: Engine, spec: DockerSpec) -> None:
    """Remove the container and the volumes that were made for it, with helpers that have them.
    Only what bears the label of this upgrade; fine when they are gone."""
    changes = spec.changes
    names: set[str] = set()
    found = engine.container(spec.container)
    if changes is not None and found is not None and label_of(found) == spec.upgrade:
        names = {str(one["Name"]) for one in found["Mounts"] if one["Type"] == "volume"}
    engine.remove_container(f"{spec.container}-migration", spec.upgrade)
    engine.remove_container(spec.container, spec.upgrade)
    if changes is None:
        return
    if spec.compose:
        _compose.remove_project(engine, spec.compose, spec.upgrade)
    wanted = {*changes.volumes.values(), *changes.mounts.values(), *names}
    ours = f"{LABEL}={spec.upgrade}"
    with engine.explained("remove what this upgrade made"):
        api = engine.api
        made = api.volumes(filters={"label": ours})["Volumes"] or ()
        for name in (one["Name"] for one in made if _is_its(one["Name"], wanted, changes.name)):
            having = {"label": [ours, "crossfade.helper"], "volume": name}
            for helper in api.containers(all=True, filters=having):
                api.remove_container(helper["Id"], force=True)
            api.remove_volume(name)


def _is_its(volume: str, wanted: set[str], container: str) -> bool:
    """Whether a volume of this upgrade is this container's: the rehearsal's has others."""
    mine = volume.startswith(f"{container}-") and not volume.startswith(f"{container}-rehearsal-")
    return volume in wanted or mine
