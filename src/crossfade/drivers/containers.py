"""The container engine (Docker, or Podman's socket of the same kind), and how its errors are told.

The library is imported only when an engine is asked, so that commands without one stay quick.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from crossfade.errors import Failed

__all__ = ["LABEL", "Engine", "label_of"]

LABEL: Final = "crossfade.upgrade"
"""The label of everything that we make at an engine; its value is the upgrade's id."""

_DEFAULT: Final = "unix:///var/run/docker.sock"
_SECONDS: Final = 60
_LONGEST: Final = 600
_POLICIES_SINCE: Final = (5, 1)


class Engine:
    """An engine at ``socket``: a path, or an address such as ``tcp://127.0.0.1:2375``.

    Without one it is what ``DOCKER_HOST`` names, else Docker's usual place.  Threads may share it.
    """

    def __init__(self, socket: str = "") -> None:
        place = socket or os.environ.get("DOCKER_HOST", "") or _DEFAULT
        self.url = f"unix://{place}" if place.startswith("/") else place
        self._api: Any = None
        self._lock = threading.Lock()

    @property
    def api(self) -> Any:
        """The library's client of this engine.  Raises Failed: engine-unreachable,
        engine-not-allowed, engine-refused."""
        with self._lock:
            if self._api is None:
                self._api = self._connected()
            return self._api

    def _connected(self) -> Any:
        import docker

        with self.explained("connect"):
            if self.url.startswith("unix://"):  # this tells the reason best
                with sockets.socket(sockets.AF_UNIX) as tried:
                    tried.connect(self.url.removeprefix("unix://"))
            return docker.APIClient(base_url=self.url, version="auto", timeout=_SECONDS)

    def changes_policies(self) -> bool:
        """Whether it can say otherwise when a container is started again: Podman before 5.1 has
        no such call (its API answers 404)."""
        with self.explained("ask for its version"):
            told = self.api.version().get("Components") or ()
        podman = [one["Version"] for one in told if one.get("Name") == "Podman Engine"]
        return bool(not podman or tuple(map(int, podman[0].split(".")[:2])) >= _POLICIES_SINCE)

    def close(self) -> None:
        """End the connections; the engine can be asked again."""
        with self._lock:
            api, self._api = self._api, None
        if api is not None:
            api.close()

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Errors of the library become explained ones; ``what`` was wanted of what.

        Raises Failed: container-missing, image-missing, engine-unreachable, engine-not-allowed,
        engine-refused."""
        import docker.errors
        import requests

        try:
            yield
        except docker.errors.NotFound as error:
            raise self._missing(error, what) from error
        except docker.errors.APIError as error:
            text = f"The container engine refuses: {_said(error)}"
            raise Failed("engine-refused", text, where=f"{what} at {self.url}") from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise self._not_there(error, what) from error

    def _missing(self, error: Any, what: str) -> Failed:
        said = _said(error)
        where = f"{what} at {self.url}"
        if "image" in said.lower() and "container" not in said.lower():
            text = f"The container engine does not have the image: {said}"
            return Failed("image-missing", text, where=where)
        text = f"The container engine does not have it: {said}"
        return Failed("container-missing", text, where=where)

    def _not_there(self, error: BaseException, what: str) -> Failed:
        why = _cause(error)
        where = f"{what} at {self.url}"
        if why is not None and why.errno in (errno.EACCES, errno.EPERM):
            text = "We may not use the container engine's socket: its group has to let us in."
            return Failed("engine-not-allowed", text, where=where)
        said = (why.strerror if why is not None and why.strerror else str(error))[:_LONGEST]
        text = f"No container engine answers: {said}"
        return Failed("engine-unreachable", text, where=where)

    def container(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of a container; None when there is none of this name."""
        try:
            with self.explained(f"look at container {name}"):
                return dict(self.api.inspect_container(name))
        except Failed as failed:
            if failed.code == "container-missing":
                return None
            raise

    def image(self, reference: str) -> dict[str, Any] | None:
        """What the engine knows of an image; None when it does not have it."""
        try:
            with self.explained(f"look at image {reference}"):
                return dict(self.api.inspect_image(reference))
        except Failed as failed:
            if failed.code in ("image-missing", "container-missing"):
                return None
            raise

    def make(self, name: str, config: Mapping[str, Any]) -> str:
        """Make a container from its whole description; returns its id."""
        with self.explained(f"make container {name}"):
            return str(self.api.create_container_from_config(dict(config), name)["Id"])

    def made_for(self, upgrade: str) -> list[str]:
        """Containers, volumes and networks that bear the upgrade's label, but for helpers."""
        ours = {"label": f"{LABEL}={upgrade}"}
        with self.explained("look for what was made"):
            containers = [
                one["Names"][0].lstrip("/")
                for one in self.api.containers(all=True, filters=ours)
                if "crossfade.helper" not in one["Labels"]
            ]
            volumes = [one["Name"] for one in self.api.volumes(filters=ours)["Volumes"] or ()]
            networks = [one["Name"] for one in self.api.networks(filters=ours)]
        kinds = {"container": containers, "volume": volumes, "network": networks}
        return [f"{kind} {name}" for kind, names in kinds.items() for name in sorted(names)]

    def remove_container(self, name: str, upgrade: str) -> bool:
        """Remove a container that bears the upgrade's label; False when it is not ours or gone."""
        found = self.container(name)
        if found is None or label_of(found) != upgrade:
            return False
        with self.explained(f"remove container {name}"):
            self.api.remove_container(found["Id"], force=True)
        return True


def _said(error: Any) -> str:
    """The engine's own words."""
    return " ".join(str(error.explanation or error).split())[:_LONGEST]


def label_of(found: Mapping[str, Any]) -> str | None:
    """The upgrade whose label a container, volume or network bears."""
    labels = found.get("Config", found).get("Labels") or {}
    value = labels.get(LABEL)
    return None if value is None else str(value)


def _cause(error: BaseException) -> OSError | None:
    """The system's error that lies at the bottom of the library's."""
    seen: list[object] = [error]
    for one in seen:
        if isinstance(one, OSError) and one.errno:
            return one
        if isinstance(one, BaseException):
            more = (one.__cause__, one.__context__, *one.args, getattr(one, "reason", None))
            seen += [each for each in more if isinstance(each, BaseException) and each not in seen]
            seen += [x for each in more if isinstance(each, tuple) for x in each]
    return None
