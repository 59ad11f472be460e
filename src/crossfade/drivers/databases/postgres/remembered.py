"""A few facts that survive the process: one JSON file, replaced as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Remembered"]


class Remembered:
    """A mapping that is durable when ``update`` returns.  The file is made with mode 0600."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self._read().get(key)

    def update(self, **values: object) -> None:
        """Set some values, keep the others."""
        self.replace({**self._read(), **values})

    def replace(self, values: dict[str, object]) -> None:
        """Set all values."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.file.with_name(self.file.name + ".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.file)

    def forget(self) -> None:
        """Remove the file; fine when there is none."""
        self.file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return dict(values)
