"""A site of the Notes application in a Compose project, with another service beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from tests.testbed.contained import DATA, INSIDE, ContainedSite
from tests.testbed.engine import LABEL, Engine

from crossfade.model import Side

__all__ = ["ComposedSite", "composed_site_at"]


class ComposedSite(ContainedSite):
    """As ``ContainedSite``, where both sides are Compose projects of a program and a cache, and the
    cache has a volume of its own.  extra are more volumes of the program's: names and paths."""

    extra: ClassVar[Mapping[str, str]] = {}

    def __init__(self, directory: Path, engine: Engine, **given: Any) -> None:
        super().__init__(directory, engine, None, **given)

    @property
    def project(self) -> Path:
        """The directory of the old project."""
        return self.directory / "project"

    def _create(self, volume: str) -> None:
        image = self.engine.machine_image()
        described = {
            "version": "2.4",
            "services": {
                "web": {
                    "image": self.images["1.0"],
                    "labels": {LABEL: ""},
                    "ports": [f"{self.old}:{INSIDE}"],
                    "environment": {"NOTES_COLOUR": "${COLOUR}", "NOTES_SIGN": "a$$b"},
                    "volumes": [f"data:{DATA}", *(f"{n}:{p}" for n, p in self.extra.items())],
                    "restart": "unless-stopped",
                    "mem_limit": "512m",
                    "depends_on": ["cache"],
                },
                "cache": {
                    "image": image,
                    "labels": {LABEL: ""},
                    "command": ["python3", "-m", "http.server", "--directory", "/srv/kept", "7000"],
                    "ports": ["127.0.0.1::7000"],
                    "volumes": ["kept:/srv/kept"],
                },
            },
            "volumes": {
                "data": {"external": True, "name": volume},
                **dict.fromkeys(("kept", *self.extra)),
            },
        }
        self.project.mkdir(parents=True)
        (self.project / "docker-compose.yml").write_text(yaml.safe_dump(described))
        (self.project / ".env").write_text("COLOUR=blue\n")
        self.compose("up", "--no-start")
        self.engine.docker("start", f"{self.name}_cache_1")

    def compose(self, *words: str) -> None:
        """Run Compose on the old project, as its owner does."""
        done = subprocess.run(
            ("docker-compose", "-p", self.name, *words),
            cwd=self.project,
            env={**os.environ, "DOCKER_HOST": f"unix://{self.engine.socket}"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]

    def containers(self) -> Mapping[Side, str]:
        """What Compose of version 1 calls the old one, and what the manifest calls the new one."""
        return {Side.OLD: f"{self.name}_web_1", Side.NEW: f"{self.name}-2-web"}

    def after_retire(self) -> dict[str, set[str]]:
        """The new project, and of the old one what Crossfade does not stop."""
        new, second = self.containers()[Side.NEW], f"{self.name}-2"
        return {
            "containers": {new, f"{second}_cache_1", f"{self.name}_cache_1"},
            "volumes": {
                *(f"{new}-{self.name}-data", f"{second}_{self.name}_kept", f"{self.name}_kept")
            },
            "networks": {f"{second}_default", f"{self.name}_default"},
        }

    def _side(
        self, side: Side, version: str, root: str, data: str, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        said = super()._side(side, version, root, data, environment)
        if side is Side.NEW:
            said["host"] |= {"compose": f"{self.name}-2", "fresh": ["cache"]}
        return said


@contextlib.contextmanager
def composed_site_at(
    directory: Path, engine: Engine, kind: type[ComposedSite] = ComposedSite, **given: Any
) -> Iterator[ComposedSite]:
    """A started site that is closed in the end."""
    site = kind(directory, engine, **given)
    try:
        site.start()
        yield site
    finally:
        with contextlib.suppress(FileNotFoundError):
            site.close()
        shutil.rmtree(directory, ignore_errors=True)
