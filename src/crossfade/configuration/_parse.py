"""Read a file of the application as what the recipe says that it is."""

from __future__ import annotations

from pathlib import Path

from crossfade.configuration._document import YamlFile
from crossfade.configuration._format_file import FormatFile
from crossfade.configuration._parsed import ParsedFile

__all__ = ["parse"]


def parse(format: str, path: Path, data: bytes) -> ParsedFile:
    """The file.  Raises Failed (``configuration-refused``) for what cannot be carried."""
    return YamlFile(path, data) if format == "yaml" else FormatFile(format, path, data)
