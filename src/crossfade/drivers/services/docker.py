"""The ``docker`` service: a container as the running program of one side.

A new container is made from the old one's settings and another image.  The dead-man's switch
starts and stops it without us: ``python -m crossfade.drivers.services.docker start URL NAME``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossfade.drivers.containers import LABEL, Engine, label_of
from crossfade.drivers.services.container_text import Changes, creation, restart_policy
from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import ServiceState

__all__ = ["DockerService", "DockerSpec"]

_KILLED_AFTER = 2.0


@dataclass(frozen=True, slots=True)
class DockerSpec:
    """A container by its name, and how it is made: on the new side, ``old`` is the container whose
    settings it gets, with ``changes``; both are empty for one that is there."""

    container: str
    socket: str = ""
    upgrade: str = ""
    old: str = ""
    changes: Changes | None = None


class DockerService:
    """One side's container, started and stopped through the engine."""

    def __init__(self, spec: DockerSpec) -> None:
        self.spec = spec
        self._engine = Engine(spec.socket)

    def close(self) -> None:
        """End the connections to the engine."""
        self._engine.close()

    def make(self) -> tuple[str, ...]:
        """Make the new container with its volumes, stopped; says what is otherwise than on the old
        one.  One that we made before stays.

        Raises Failed: image-missing, image-not-pinned, mount-not-mapped, container-missing,
        container-in-the-way."""
        changes = self.spec.changes
        if changes is None:
            return ()
        old = self._known(self.spec.old)
        image = self._engine.image(old["Image"]) or {}
        planned = creation(old, image, changes)
        there = self._engine.container(changes.name)
        if there is not None:
            if label_of(there) != changes.upgrade:
                what = f"A container that Crossfade did not make is called {changes.name}."
                raise Failed("container-in-the-way", what, where=self._engine.url)
            return planned.told
        self._make_volumes(changes, planned.config)
        self._engine.make(changes.name, planned.config)
        for network, endpoint in planned.networks.items():
            with self._engine.explained(f"join network {network}"):
                self._engine.api.connect_container_to_network(
                    changes.name, network, links=endpoint.get("Links")
                )
        return planned.told

    def _make_volumes(self, changes: Changes, config: Mapping[str, Any]) -> None:
        shared = {name for name, new in changes.volumes.items() if name == new}
        for mount in config["HostConfig"]["Mounts"]:
            name = mount.get("Source", "")
            if mount["Type"] != "volume" or mount["ReadOnly"] or name in shared:
                continue
            with self._engine.explained(f"make volume {name}"):
                known = self._engine.api.volumes()["Volumes"] or ()
                there = next((one for one in known if one["Name"] == name), None)
                if there is None:
                    self._engine.api.create_volume(name, labels={LABEL: changes.upgrade})
            if there is not None and label_of(there) != changes.upgrade:
                what = f"A volume that Crossfade did not make is called {name}."
                raise Failed("container-in-the-way", what, where=self._engine.url)

    def remove(self) -> None:
        """Remove the container and the volumes that were made for it, with helpers that have them.
        Only what bears the label of this upgrade; fine when they are gone."""
        self._engine.remove_container(self.spec.container, self.spec.upgrade)
        if self.spec.changes is None:
            return
        wanted = set(self.spec.changes.volumes.values())
        ours = f"{LABEL}={self.spec.upgrade}"
        with self._engine.explained("remove what this upgrade made"):
            api = self._engine.api
            made = api.volumes(filters={"label": ours})["Volumes"] or ()
            for name in (one["Name"] for one in made if one["Name"] in wanted):
                having = {"label": [ours, "crossfade.helper"], "volume": name}
                for helper in api.containers(all=True, filters=having):
                    api.remove_container(helper["Id"], force=True)
                api.remove_volume(name)

    def look(self) -> ServiceState:
        """How the container stands: state, process, health, how often it was started again."""
        found = self._engine.container(self.spec.container)
        if found is None:
            return ServiceState(False, (), f"no container {self.spec.container}")
        state = found["State"]
        words = [f"container {self.spec.container} is {state['Status']}"]
        if state.get("Health"):
            words.append(f"health {state['Health']['Status']}")
        if found.get("RestartCount"):
            words.append(f"started again {found['RestartCount']} times")
        if not state["Running"] and state.get("ExitCode"):
            words.append(f"status {state['ExitCode']}")
        running = bool(state["Running"]) or bool(state.get("Restarting"))
        pids = (int(state["Pid"]),) if state.get("Pid") else ()
        return ServiceState(running, pids, ", ".join(words))

    def command(self) -> tuple[str, ...]:
        """The command that the container runs."""
        found = self._known(self.spec.container)
        return (str(found["Path"]), *(str(word) for word in found["Args"]))

    def prepare(self) -> None:
        """Nothing of a container's start can be done before."""

    def held(self) -> list[Finding]:
        """Nothing was held."""
        return []

    def start(self) -> None:
        """Start it; fine when it already runs.  Raises Failed: service-does-not-start."""
        found = self._known(self.spec.container)
        if found["State"]["Running"]:
            return
        try:
            with self._engine.explained(f"start container {self.spec.container}"):
                self._engine.api.start(self.spec.container)
        except Failed as failed:
            if failed.code not in ("engine-refused", "container-missing"):
                raise
            raise Failed("service-does-not-start", failed.what, where=failed.where) from failed

    def stop(self, timeout: float, *, keep_prepared: bool = False) -> None:
        """Stop it by its own signal, and kill what is left after ``timeout`` seconds.

        Raises Failed(service-does-not-stop)."""
        if self._engine.container(self.spec.container) is None:
            return
        with self._engine.explained(f"stop container {self.spec.container}"):
            self._engine.api.stop(self.spec.container, timeout=max(0, round(timeout)))
        if self.look().running:
            what = "The container still runs after it was stopped."
            raise Failed("service-does-not-stop", what, where=self.look().detail)

    def disable(self) -> None:
        """The engine does not start it again by itself."""
        self._restarts({"Name": "no", "MaximumRetryCount": 0})

    def enable(self) -> None:
        """The engine starts it again by itself, as it does the old one."""
        self._restarts(restart_policy(self._known(self.spec.old or self.spec.container)))

    def _restarts(self, policy: Mapping[str, Any]) -> None:
        with self._engine.explained(f"change container {self.spec.container}"):
            self._engine.api.update_container(self.spec.container, restart_policy=dict(policy))

    def revival(self) -> tuple[str, ...]:
        """The command that starts it without us."""
        return self._without_us("start")

    def burial(self) -> tuple[str, ...]:
        """The command that stops it without us, at once."""
        return self._without_us("stop")

    def _without_us(self, verb: str) -> tuple[str, ...]:
        return (sys.executable, "-m", __name__, verb, self._engine.url, self.spec.container)

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its log (at most 200 characters each)."""
        try:
            with self._engine.explained("read the log"):
                text = self._engine.api.logs(self.spec.container, tail=lines)
        except Failed:
            return []
        return [line[:200] for line in text.decode("utf-8", "replace").splitlines()[-lines:]]

    def _known(self, name: str) -> dict[str, Any]:
        found = self._engine.container(name)
        if found is None:
            what = f"There is no container {name}."
            raise Failed("container-missing", what, where=self._engine.url)
        return found


def main(words: Sequence[str]) -> None:
    """``start URL NAME`` or ``stop URL NAME``, for the dead-man's switch."""
    verb, url, name = words
    service = DockerService(DockerSpec(name, url))
    if verb == "start":
        service.start()
    else:
        service.stop(_KILLED_AFTER)


if __name__ == "__main__":
    main(sys.argv[1:])
