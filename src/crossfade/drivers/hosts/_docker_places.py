"""Places in a container: which are mounted, and what that means for files and for the disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from crossfade.drivers.containers import Engine
from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import Failed
from crossfade.model import Address

__all__ = ["EMPTY", "EXISTS", "complaint", "drop_volumes", "root_without", "taken_here"]

_MOUNTED: Final = '[ -d "$p" ] && [ ! -L "$p" ] && mountpoint -q "$p" 2>/dev/null'

EXISTS: Final = (
    'stat -c %F -- "$p" >/dev/null || exit; '
    f'if {_MOUNTED} && [ -z "$(ls -A "$p")" ]; then '
    'echo "stat: No such file or directory" >&2; exit 1; fi'
)
EMPTY: Final = f'if {_MOUNTED}; then find "$p" -xdev -mindepth 1 -delete; exit; fi'


def complaint(name: str, app: Mapping[str, Any], wanted: Iterable[Path]) -> Failed | None:
    """Why this container cannot be a side: a place on no volume or directory of it, or an end that
    takes it away with its data."""
    if app["HostConfig"].get("AutoRemove"):
        what = f"The engine removes {name} as soon as it stops: there would be no way back."
        return Failed("container-removes-itself", what, where="it was started with --rm")
    roots = [Path(one["Destination"]) for one in app.get("Mounts") or ()]
    missing = [str(p) for p in wanted if not any(p.is_relative_to(root) for root in roots)]
    if not missing:
        return None
    what = f"{name} has {', '.join(missing)} in its own layer."
    where = "what is not on a volume or a directory goes with the container"
    return Failed("place-not-mounted", what, where=where)


def root_without(engine: Engine, image: str) -> str:
    """Where the engine of this machine keeps its volumes, when it does not have the image yet that
    could tell; else empty."""
    if engine.image(image) is not None or not engine.url.startswith("unix://"):
        return ""
    with engine.explained("ask for its directory"):
        return str(engine.api.info().get("DockerRootDir") or "")


def taken_here(engine: Engine, address: Address) -> str | None:
    """Who listens there on this machine, where the engine publishes its ports on it."""
    return LocalHost().listener(address) if engine.url.startswith("unix://") else None


def drop_volumes(engine: Engine, names: Collection[str]) -> None:
    """Remove volumes that were emptied, unless a container still has them."""
    for name in names:
        with suppress(Failed), engine.explained(f"remove volume {name}"):
            engine.api.remove_volume(name)
