"""The ``python`` install: a virtual environment of its own, filled by uv from PyPI.

A note is written into it when everything is installed and compiled; without that note it is taken
for a broken try and made anew.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from crossfade.errors import Failed
from crossfade.ports import Host, Progress

__all__ = ["PythonInstall", "uv_program"]

_DONE = ".crossfade-installed"


def uv_program() -> str:
    """The uv that came with us, or the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


class PythonInstall:
    """Packages from PyPI in a virtual environment at ``root``.

    packages are requirement specifiers; exclude_newer (a date) limits what the resolver sees to
    that day.
    """

    def __init__(
        self, host: Host, root: Path, packages: Sequence[str], *, exclude_newer: str = ""
    ) -> None:
        self.host = host
        self.root = root
        self.packages = tuple(packages)
        self.exclude_newer = exclude_newer

    def describe(self) -> tuple[str, ...]:
        """What will be done."""
        if self.done():
            return (f"{', '.join(self.packages)} is installed at {self.root}",)
        return (f"make a virtual environment at {self.root}", f"install {', '.join(self.packages)}")

    def done(self) -> bool:
        """Whether a whole environment with just these packages stands there."""
        note = self.root / _DONE
        return self.host.exists(note) and self.host.read(note).decode() == self._wanted()

    def _wanted(self) -> str:
        return "\n".join((*sorted(self.packages), self.exclude_newer, ""))

    def install(self, progress: Progress | None = None) -> None:
        """Install into the final place.  A broken earlier try of ours is replaced."""
        if self.done():
            return
        if self.host.exists(self.root) and not self.host.exists(self.root / "pyvenv.cfg"):
            raise Failed(
                "install-in-the-way",
                "Something that is not a virtual environment stands where the new version goes.",
                where=str(self.root),
            )
        self.host.remove(self.root)
        uv = uv_program()
        environment = {**os.environ, "UV_NO_PROGRESS": "1"}
        python = getattr(sys, "_base_executable", sys.executable)
        self.host.run(
            (uv, "venv", "--quiet", "--python", python, str(self.root)),
            env=environment,
            timeout=120,
        )
        newer = ("--exclude-newer", self.exclude_newer) if self.exclude_newer else ()
        argv = (
            *(uv, "pip", "install", "--quiet", "--compile-bytecode"),
            *("--python", str(self.root / "bin" / "python"), *newer, *self.packages),
        )
        self.host.run(argv, env=environment, timeout=1800)
        self.host.write(self.root / _DONE, self._wanted().encode(), mode=0o644)

    def fingerprint(self) -> str:
        """16 hex digits over the RECORD files of all installed packages; empty when not done."""
        if not self.done():
            return ""
        whole = sha256()
        for record in sorted(self.root.glob("lib/python*/site-packages/*.dist-info/RECORD")):
            whole.update(str(record.relative_to(self.root)).encode())
            whole.update(self.host.read(record))
        return whole.hexdigest()[:16]

    def remove(self) -> None:
        """Remove the environment, if it is one that we completed or began."""
        if self.host.exists(self.root / "pyvenv.cfg"):
            self.host.remove(self.root)
