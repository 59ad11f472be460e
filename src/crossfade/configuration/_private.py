"""Files on this machine that only their owner may read."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["write_private"]


def write_private(path: Path, data: bytes) -> None:
    """Write a file atomically with mode 0600; makes missing parents with mode 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:  # they are made with 0600
        file.write(data)
    Path(file.name).replace(path)
