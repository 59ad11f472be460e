"""The helper: a container beside the application's, in which our commands run.

It is made from the application's image and has its volumes, so it sees the same files under the
same paths, whether the application runs or not.  It does nothing by itself, is found again after a
crash by its labels, and is removed by ``close``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from crossfade.drivers.containers import LABEL, Engine
from crossfade.errors import Failed

__all__ = ["Helper", "helpers"]

_OF: Final = "crossfade.helper"
_WAITS: Final = ("sh", "-c", 'trap "exit 0" TERM; sleep infinity & wait')
_PASSED_ON: Final = ("CapAdd", "SecurityOpt", "Runtime", "UsernsMode", "GroupAdd", "Devices")


@dataclass
class Helper:
    """The helper of the container ``of``; ``image`` and ``mounts`` are used in place of its own
    image, and beside its volumes.  ``mounts`` are written ``SOURCE:PATH`` or ``SOURCE:PATH:ro``."""

    engine: Engine
    of: str
    image: str
    mounts: Sequence[str]
    upgrade: str

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._id = ""

    def id(self) -> str:
        """The running helper; it is made when there is none."""
        with self._lock:
            if not self._id:
                self._id = self._found() or self._made()
            return self._id

    def again(self) -> None:
        """The helper may be gone: look anew at the next use."""
        with self._lock:
            self._id = ""

    def close(self) -> None:
        """Remove it; fine when there is none."""
        with self._lock:
            self._id = ""
            for name in self._all():
                self.engine.remove_container(name, self.upgrade)

    def volumes_at(self, path: Path) -> set[str]:
        """The named volumes that the helper has mounted right at ``path``."""
        found = self.engine.container(self.id()) or {}
        return {
            str(one["Name"])
            for one in found.get("Mounts") or ()
            if one["Type"] == "volume" and Path(one["Destination"]) == path
        }

    def _mark(self) -> str:
        """Tells one helper from another: of which container, with what."""
        app = self.engine.container(self.of) or {}
        parts = (self.of, str(app.get("Id", "")), self.image, *self.mounts)
        return sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]

    def _all(self, mark: str = "") -> list[str]:
        labels = [f"{LABEL}={self.upgrade}", f"{_OF}={mark}" if mark else _OF]
        with self.engine.explained("look for helpers"):
            found = self.engine.api.containers(all=True, filters={"label": labels})
        mine = sha256(self.of.encode(errors="surrogateescape")).hexdigest()[:32]
        return [one["Id"] for one in found if one["Labels"].get(f"{_OF}.of") == mine]

    def _found(self) -> str:
        """One that an earlier run left and that still runs; others are removed."""
        for one in self._all(self._mark()):
            state = (self.engine.container(one) or {}).get("State", {})
            if state.get("Running"):
                return one
            self.engine.remove_container(one, self.upgrade)
        return ""

    def _made(self) -> str:
        app = self.engine.container(self.of)
        if app is None and not self.image:
            what = f"There is no container {self.of}, and no image is named for its place."
            raise Failed("container-missing", what, where=self.engine.url)
        name = f"{self.of}-crossfade-helper-{token_hex(6)}"
        config = self._config(app)
        try:
            made = self.engine.make(name, config)
        except Failed as failed:
            if failed.code == "image-missing":
                failed.next = f"docker pull {config['Image']}   (or load or build it)"
            raise
        with self.engine.explained(f"start the helper of {self.of}"):
            self.engine.api.start(made)
        return made

    def _config(self, app: Mapping[str, Any] | None) -> dict[str, Any]:
        host: dict[str, Any] = {"NetworkMode": "none", "Binds": list(self.mounts)}
        image = self.image
        if app is not None:
            image = image or str(app["Image"])
            old = app["HostConfig"]
            host |= {key: old[key] for key in _PASSED_ON if old.get(key)}
            host["VolumesFrom"] = [app["Id"]]
            network = str(old.get("NetworkMode") or "none")
            host["NetworkMode"] = "none" if network.startswith("container:") else network
            if old.get("PidMode") == "host":
                host["PidMode"] = "host"
        mine = sha256(self.of.encode(errors="surrogateescape")).hexdigest()[:32]
        return {
            "Image": image,
            "Entrypoint": list(_WAITS),
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {LABEL: self.upgrade, _OF: self._mark(), f"{_OF}.of": mine},
            "HostConfig": host,
        }


def helpers(engine: Engine, upgrade: str) -> dict[str, str]:
    """The helpers of an upgrade at an engine: their names, by their ids."""
    labels = [f"{LABEL}={upgrade}", _OF]
    with engine.explained("look for helpers"):
        found = engine.api.containers(all=True, filters={"label": labels})
    return {one["Id"]: one["Names"][0].lstrip("/") for one in found}
