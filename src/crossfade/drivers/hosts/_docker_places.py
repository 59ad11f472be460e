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

__all__ = ["EMPTY", "EXISTS", "drop_volumes", "root_without", "taken_here", "unmounted"]

_MOUNTED: Final = '[ -d "$p" ] && [ ! -L "$p" ] && mountpoint -q "$p" 2>/dev/null'

EXISTS: Final = (
    'stat -c %F -- "$p" >/dev/null || exit; '
    f'if {_MOUNTED} && [ -z "$(ls -A "$p")" ]; then '
    'echo "stat: No such file or directory" >&2; exit 1; fi'
)
EMPTY: Final = f'if {_MOUNTED}; then find "$p" -xdev -mindepth 1 -delete; exit; fi'


def unmounted(app: Mapping[str, Any], wanted: Iterable[Path]) -> list[Path]:
    """Those of the places that are on no volume or directory of the container."""
    roots = [Path(one["Destination"]) for one in app.get("Mounts") or ()]
    return [path for path in wanted if not any(path.is_relative_to(root) for root in roots)]


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
