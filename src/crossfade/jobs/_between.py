"""The handover that one manifest describes."""

from __future__ import annotations

from collections.abc import Callable

from crossfade.jobs._carry import Move
from crossfade.jobs._handover import Handover
from crossfade.manifest import Manifest, SideSpec
from crossfade.model import Installation, Side
from crossfade.ports import Host

__all__ = ["between"]


def between(
    manifest: Manifest, upgrade: str, host_of: Callable[[SideSpec, Installation], Host], here: Host
) -> Handover:
    """From the old side to the new one, by a record of this upgrade's on this machine, here."""
    old, new = manifest.old, manifest.new
    units = [s.service.unit if s.service.driver == "systemd" else "" for s in (old, new)]
    pairs = ((old.root, new.root), (old.config, new.config), (old.data, new.data))
    move = Move(
        mark="".join(c if c.isalnum() or c in "-._" else "_" for c in upgrade),
        moved={str(before): str(after) for before, after in pairs},
        unit=(units[0], units[1]),
        apart=new.version if old.host == new.host else "",
        before=old.version,
        port=old.address.port if old.address.port != new.address.port else 0,
    )
    application = manifest.recipe.application
    return Handover(
        manifest.state / "upgrades" / upgrade / "jobs.json",
        application,
        sorted({old.root, old.config, old.data}),
        move,
        lambda: host_of(old, old.installation(application, Side.OLD)),
        lambda: host_of(new, new.installation(application, Side.NEW)),
        here,
        "the new side is a container" if new.host.driver == "docker" else "",
    )
