"""Traefik as a front: the upstreams in the files of its file provider, which it watches itself.

There is neither a checker nor a reload: it takes a changed file up within seconds
(``providersThrottleDuration``), and keeps what it had where the file does not hold.  So the
requests afterwards are the proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crossfade.drivers.fronts._files import matching
from crossfade.drivers.fronts._places import Place, named_in
from crossfade.drivers.fronts._server import ConfiguredFront

__all__ = ["TraefikFront"]

_SERVER = re.compile(
    r"^[ \t]*(?:-[ \t]+)?(?:\{[ \t]*)?[\"']?(?P<what>url|address)[\"']?[ \t]*[:=][ \t]*[\"']?"
    r"(?P<word>[^\s\"'#,}]+)",
    re.MULTILINE,
)
_KINDS = ("*.yml", "*.yaml", "*.toml")


class TraefikFront(ConfiguredFront):
    """Traefik with the file of its file provider, or the directory."""

    programs = ("traefik",)
    title = "Traefik"

    def usual_check(self) -> tuple[str, ...]:
        """It has none."""
        return ()

    def usual_reload(self) -> tuple[str, ...]:
        """It watches its files."""
        return ()

    def files(self) -> list[Path]:
        """The file, or every file of the directory."""
        if not self.file.is_dir():
            return [self.file]
        return [path for kind in _KINDS for path in matching(self.file / kind)]

    def places(self, text: str) -> Iterator[Place]:
        """Every server's ``url``, or for TCP its ``address``, in a file of YAML or TOML.  Which
        of them are one group is not told."""
        for found in _SERVER.finditer(text):
            place = named_in(found["word"], found.start("word"), found["what"])
            if place:
                yield place
