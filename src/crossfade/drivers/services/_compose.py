"""The second Compose project: its file, its containers, and removing them again.

``docker compose``, or else ``docker-compose``, is run on this machine: it reads the old project's
files, and makes the containers from ours.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from crossfade.drivers.containers import LABEL, Engine, label_of
from crossfade.drivers.services.compose_text import PROJECT, SERVICE, Second, second_project
from crossfade.errors import Failed

__all__ = [
    "ComposeSpec",
    "make_project",
    "network_of",
    "others_of",
    "remove_project",
    "start_others",
]

_WITHIN: Final = 300.0


@dataclass(frozen=True, slots=True)
class ComposeSpec:
    """The second project's name, the directory that its file is written to, and which of its other
    services may begin with empty volumes."""

    project: str
    directory: Path
    fresh: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """What Compose is told of the project."""
        return self.directory / "docker-compose.yml"


def make_project(
    engine: Engine,
    spec: ComposeSpec,
    old: Mapping[str, Any],
    config: Mapping[str, Any],
    environment: Mapping[str, str | None],
    container: str,
) -> None:
    """Write the file, and make the project with the container stopped.

    Raises Failed: container-in-the-way, compose-missing, compose-files-missing, compose-changed,
    compose-failed, and as ``second_project`` does."""
    labels = old["Config"].get("Labels") or {}
    if PROJECT not in labels:
        what = f"The old container {old['Name'].lstrip('/')} is of no Compose project."
        raise Failed("compose-files-missing", what, where=engine.url)
    first, service = labels[PROJECT], labels[SERVICE]
    running = {
        str(one["Config"]["Labels"][SERVICE]): one for one in _containers(engine, first).values()
    }
    upgrade = config["Labels"][LABEL]
    mine = {spec.project, spec.project.removesuffix("-rehearsal")}  # told before the cutover is
    if first in mine or any(
        label_of(one) != upgrade for one in _containers(engine, spec.project).values()
    ):
        what = f"A Compose project that Crossfade did not make is called {spec.project}."
        raise Failed("container-in-the-way", what, where=engine.url)
    said = _understood(engine, labels, service)
    second = Second(spec.project, upgrade, service, container, config, environment, spec.fresh)
    written = yaml.safe_dump(second_project(said, running, second), sort_keys=False)
    spec.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = spec.file.with_suffix(".part")
    beside.touch(mode=0o600)
    beside.write_text(written, encoding="utf-8")
    beside.replace(spec.file)
    _compose(engine, ("-p", spec.project, "-f", str(spec.file), "up", "--no-start"), spec.directory)


def start_others(engine: Engine, project: str, container: str) -> None:
    """Start the project's other services; the container itself only starts when we say so."""
    others = _containers(engine, project)
    with engine.explained(f"start project {project}"):
        engine.api.update_container(
            container, restart_policy={"Name": "no", "MaximumRetryCount": 0}
        )
        for name, one in others.items():
            if one["Name"] != f"/{container}":
                engine.api.start(name)


def network_of(engine: Engine, container: str) -> str:
    """The network that a container has first; empty when there is no such container."""
    found = engine.container(container)
    return str(found["HostConfig"]["NetworkMode"]) if found else ""


def others_of(engine: Engine, labels: Mapping[str, str]) -> list[str]:
    """The names of the containers of the project that a container with these labels was of."""
    if PROJECT not in labels:
        return []
    there = _containers(engine, labels[PROJECT]).values()
    return sorted(one["Name"].lstrip("/") for one in there)


def remove_project(engine: Engine, spec: ComposeSpec, upgrade: str) -> None:
    """Remove what was made for the project, which bears the upgrade's label, and its file."""
    both = {"label": [f"{PROJECT}={spec.project}", f"{LABEL}={upgrade}"]}
    with engine.explained(f"remove project {spec.project}"):
        for one in engine.api.containers(all=True, filters=both):
            engine.api.remove_container(one["Id"], force=True, v=True)
        for one in engine.api.networks(filters=both):
            having = {"label": [f"{LABEL}={upgrade}", "crossfade.helper"], "network": one["Id"]}
            for helper in engine.api.containers(all=True, filters=having):
                engine.api.remove_container(helper["Id"], force=True)
            engine.api.remove_network(one["Id"])
        for one in engine.api.volumes(filters=both)["Volumes"] or ():
            engine.api.remove_volume(one["Name"])
    spec.file.unlink(missing_ok=True)
    if spec.directory.is_dir() and not any(spec.directory.iterdir()):
        spec.directory.rmdir()


def _containers(engine: Engine, project: str) -> dict[str, dict[str, Any]]:
    with engine.explained(f"look for project {project}"):
        listed = engine.api.containers(all=True, filters={"label": f"{PROJECT}={project}"})
    found = {one["Id"]: engine.container(one["Id"]) for one in listed}
    return {
        name: one
        for name, one in found.items()
        if one and one["Config"]["Labels"].get("com.docker.compose.oneoff", "False") == "False"
    }


def _understood(engine: Engine, labels: Mapping[str, str], service: str) -> dict[str, Any]:
    """The first project's files as Compose understands them, if they still say what runs."""
    home = Path(labels.get(f"{PROJECT}.working_dir", "."))
    files = [home / one for one in labels.get(f"{PROJECT}.config_files", "").split(",") if one]
    missing = [str(one) for one in files if not one.is_file()]
    if missing or not files:
        what = f"The files of the Compose project {labels[PROJECT]} are not on this machine."
        raise Failed("compose-files-missing", what, where=", ".join(missing) or str(home))
    words = ["-p", labels[PROJECT], "--project-directory", str(home)]
    for one in labels.get(f"{PROJECT}.environment_file", "").split(","):
        words += ["--env-file", one] if one else []
    for file in files:
        words += ["-f", str(file)]
    if _compose(engine, ("version", "--short"), home).strip() == labels.get(
        "com.docker.compose.version"
    ):
        told = _compose(engine, (*words, "config", "--hash", service), home).split()
        if told[-1:] != [labels.get("com.docker.compose.config-hash", "")]:
            what = f"The files of project {labels[PROJECT]} were changed since {service} was made."
            raise Failed("compose-changed", what, where=str(files[0]))
    return dict(yaml.safe_load(_compose(engine, (*words, "config"), home)))


@cache
def _program() -> tuple[str, ...]:
    for words in (("docker", "compose"), ("docker-compose",)):
        try:
            subprocess.run((*words, "version"), check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue
        return words
    what = "Neither docker compose nor docker-compose is installed on this machine."
    raise Failed("compose-missing", what, where="PATH")


def _compose(engine: Engine, words: Sequence[str], directory: Path) -> str:
    """What Compose says; its own output may hold secrets, so that only its errors are shown."""
    program = _program()
    at = {**os.environ, "DOCKER_HOST": engine.url}
    try:
        done = subprocess.run(
            (*program, *words),
            cwd=directory,
            env=at,
            capture_output=True,
            check=False,
            timeout=_WITHIN,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        what = f"{' '.join(program)} did not end: {type(error).__name__}."
        raise Failed("compose-failed", what, where=str(directory)) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        what = f"{' '.join(program)} ended with status {done.returncode}: {' '.join(said)}"
        raise Failed("compose-failed", what, where=str(directory))
    return done.stdout.decode("utf-8", "replace")
