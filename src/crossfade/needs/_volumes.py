"""Volumes: whatever the old container, or its Compose project, keeps is carried, or is refused.

What is carried is what the recipe knows: trees, databases and configuration.  A volume with none
of them would be an empty one on the new side, and nobody would have said so.  The operator says it
with ``fresh``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from crossfade.configuration import locate
from crossfade.drivers.containers import Engine
from crossfade.drivers.services.compose_text import PROJECT, SERVICE, in_the_way
from crossfade.drivers.services.container_places import source_of
from crossfade.model import Finding, Side
from crossfade.needs._machines import About
from crossfade.needs._need import Need

__all__ = ["needs"]

_CARRIED: Final = "it is carried, or fresh names it"

Container = Mapping[str, Any]


def needs(about: About) -> list[Need]:
    """One for each place that the old container may write, each other service of its project, and
    each volume of the project that no container has.  Raises Failed."""
    host = about.old.host
    if host.driver != "docker":
        return []
    fresh = frozenset((*host.fresh, *about.new.host.fresh))
    with closing(Engine(host.socket)) as engine:
        app = engine.container(host.destination)
        if app is None:  # it has its own finding
            return []
        found = list(_of_places(app, _trees(about), _others(about), fresh))
        project = (app["Config"].get("Labels") or {}).get(PROJECT)
        if project and about.new.host.project:
            found += _of_project(engine, project, app, fresh)
        return found


def _trees(about: About) -> dict[str, Path]:
    """Trees by what they are called."""
    return {f"tree {name}": tree.path for name, tree in about.work.old.files.items()}


def _others(about: About) -> dict[str, Path]:
    """Everything else that is carried, or that the manifest names, by what it is called."""
    old = about.old
    there = old.installation(about.manifest.recipe.application, Side.OLD)
    found = {"data": old.data, "configuration": old.config}
    for part in about.manifest.recipe.databases:
        if part.name not in there.databases:
            found[f"database {part.name}"] = locate(part, there, about.work.old.host)
    return found


def _of_places(
    app: Container, trees: Mapping[str, Path], others: Mapping[str, Path], fresh: frozenset[str]
) -> Iterator[Need]:
    for mount in app.get("Mounts") or ():
        if mount["Type"] not in ("volume", "bind") or not mount.get("RW", True):
            continue
        at, source = Path(mount["Destination"]), source_of(mount)
        inside = [name for name, path in {**trees, **others}.items() if path.is_relative_to(at)]
        inside += [name for name, path in trees.items() if at.is_relative_to(path)]
        known = dict.fromkeys(inside)
        empty = bool(fresh & {source, str(at)})
        seen = f"it has {', '.join(known)}" if known else "it begins empty, as fresh says"
        if not known and not empty:
            seen = "nothing that the recipe or the manifest names is in it: it would stay behind"
        claim = f"{mount['Type']} {source} at {at} is not left behind"
        finding = Finding(claim, _CARRIED, seen, "engine and recipe", bool(known) or empty)
        fix = (
            f"edit crossfade.yaml   (fresh: [{at}] in new.host lets it begin empty; to carry it, "
            "name a tree there in the recipe)"
        )
        yield Need("volume-stays", finding, fix)


def _of_project(engine: Engine, project: str, app: Container, fresh: frozenset[str]) -> list[Need]:
    """The other services, and volumes that only a service without a container would use."""
    wanted = {"label": f"{PROJECT}={project}"}
    with engine.explained(f"look for project {project}"):
        listed = engine.api.containers(all=True, filters=wanted)
        volumes = engine.api.volumes(filters=wanted)["Volumes"] or ()
    containers = [one for each in listed if (one := engine.container(each["Id"]))]
    found = []
    for one in containers:
        labels = one["Config"]["Labels"]
        if one["Id"] == app["Id"] or labels.get("com.docker.compose.oneoff") == "True":
            continue
        found.append(_of_service(labels[SERVICE], one, app, fresh))
    used = {source_of(mount) for one in containers for mount in one.get("Mounts") or ()}
    for name in sorted({volume["Name"] for volume in volumes} - used):
        fine = name in fresh
        seen = "it begins empty, as fresh says" if fine else "no container has it: it would stay"
        claim = f"volume {name} of project {project} is not left behind"
        finding = Finding(claim, _CARRIED, seen, "engine", fine)
        fix = (
            f"edit crossfade.yaml   (fresh: [{name}] in new.host, if the new side needs none of it)"
        )
        found.append(Need("compose-data-stays", finding, fix))
    return found


def _of_service(name: str, one: Container, app: Container, fresh: frozenset[str]) -> Need:
    problem = in_the_way(name, one, app, fresh)
    what = problem.what if problem else ""
    claim = f"service {name} can begin anew beside the application"
    finding = Finding(claim, "it can", what or "it can", "engine", not what)
    fix = f"edit crossfade.yaml   (fresh: [{name}] in new.host, if it may begin with empty volumes)"
    if problem and problem.code == "compose-service-writes":
        fix = f"docker compose stop {name}   (and docker compose rm {name}; Crossfade cannot do it)"
    return Need(problem.code if problem else "compose-data-stays", finding, fix)
