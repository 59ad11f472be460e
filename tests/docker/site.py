"""What tests make at an engine, and its removal."""

from __future__ import annotations

import json
import subprocess
from secrets import token_hex
from typing import Any

from crossfade.drivers.containers import Engine


class Site:
    """An engine with what one test module makes there; ``end`` removes all of it."""

    def __init__(self, socket: str, image: str) -> None:
        self.socket, self.image = socket, image
        self.upgrade = f"t{token_hex(4)}"
        self.engine = Engine(socket)
        self._made: list[tuple[str, ...]] = []

    def docker(self, *words: str) -> str:
        """What the program ``docker`` says."""
        done = subprocess.run(
            ("docker", "-H", self.engine.url, *words), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        """A container as the engine describes it."""
        found: dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return found

    def named(self, kind: str) -> str:
        """A new name that is removed at the end."""
        name = f"{self.upgrade}-{token_hex(3)}"
        self._made.append((kind, name))
        return name

    def volume(self) -> str:
        """A new volume."""
        return self.docker("volume", "create", self.named("volume"))

    def network(self) -> str:
        """A new network."""
        name = self.named("network")
        self.docker("network", "create", name)
        return name

    def container(
        self, *, binds: list[str] | None = None, ports: Any = None, config: Any = None, **host: Any
    ) -> str:
        """A new container that runs; what it is given stands in the engine's own words."""
        name = self.named("container")
        whole = {
            "Image": self.image,
            "Cmd": ["sh", "-c", 'trap "exit 0" TERM; sleep infinity & wait'],
            "HostConfig": {"Binds": binds or [], "PortBindings": ports or {}, **host},
            "ExposedPorts": {port: {} for port in ports or {}},
            **(config or {}),
        }
        self.engine.make(name, whole)
        self.engine.api.start(name)
        return name

    def end(self) -> None:
        """Remove everything that was made, the newest first."""
        for kind, name in reversed(self._made):
            force = () if kind == "network" else ("-f",)
            more = ("-v",) if kind == "container" else ()
            subprocess.run(
                ("docker", "-H", self.engine.url, kind, "rm", *force, *more, name),
                capture_output=True,
                check=False,
            )
        self.engine.close()
