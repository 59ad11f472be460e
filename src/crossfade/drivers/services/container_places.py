"""Where a new container keeps what it writes: at the same paths, in places of its own.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from crossfade.drivers.services.container_text import Changes
from crossfade.errors import Failed

__all__ = ["BLANK", "source_of", "with_places"]

BLANK: Final[Mapping[str, Any]] = {
    "Id": "",
    "Name": "",
    "Image": "",
    "Config": {},
    "HostConfig": {},
    "Mounts": [],
}
"""What stands in place of the old container where the old side is none."""

_ANONYMOUS = re.compile(r"[0-9a-f]{64}\Z")


def with_places(old: Mapping[str, Any], changes: Changes) -> tuple[dict[str, Any], Changes]:
    """The old container's description and the changes, so that each place that may be written has
    its counterpart: as ``changes.mounts`` says, or for a volume one of the new container's name.

    Raises Failed(mount-shared): both sides would write to one place."""
    volumes, binds = dict(changes.volumes), dict(changes.binds)
    mounts: list[Mapping[str, Any]] = []
    told = dict(changes.mounts)
    for one in old.get("Mounts") or ():
        path = str(one["Destination"])
        target = told.pop(path, "")
        if not one.get("RW", True) and not target:
            mounts.append(one)
            continue
        source = source_of(one)
        known = source in (volumes if one["Type"] == "volume" else binds)
        if not target and one["Type"] == "volume" and not known:
            name = path.strip("/").replace("/", "-") if _ANONYMOUS.match(source) else source
            target = f"{changes.name}-{name}"
        if target and target == source:
            what = f"Old and new container would both write to {source}."
            raise Failed("mount-shared", what, where=f"mounts: {path}")
        mounts.append(_place(path, target, volumes, binds, one) if target else one)
    mounts += [_place(path, target, volumes, binds, {}) for path, target in told.items()]
    return {**old, "Mounts": mounts}, replace(changes, volumes=volumes, binds=binds)


def source_of(mount: Mapping[str, Any]) -> str:
    """What is mounted: a volume's name, or a directory."""
    return str(mount.get("Name") if mount["Type"] == "volume" else mount.get("Source", ""))


def _place(
    path: str,
    target: str,
    volumes: dict[str, str],
    binds: dict[str, str],
    like: Mapping[str, Any],
) -> dict[str, Any]:
    """A place that is known by its path, whatever the old one is called."""
    kind = "bind" if target.startswith("/") else "volume"
    (binds if kind == "bind" else volumes)[path] = target
    more = {"Propagation": like["Propagation"]} if kind == like.get("Type") == "bind" else {}
    return {"Type": kind, "Name": path, "Source": path, "Destination": path, "RW": True, **more}
