"""The ``python`` install: a virtual environment of its own, filled from the package index.

Where there is uv it does the work, otherwise Python's own venv and pip.  A note is written into the
environment when everything is installed and compiled; without that note it is taken for a broken
try and made anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from crossfade.drivers.installs._deeds import (
    NOTE,
    check_packages,
    in_the_way,
    is_here,
    note_of,
    run,
    shell,
    where,
)
from crossfade.drivers.installs._interpreters import Tools, find_tools, uv_program
from crossfade.errors import Failed
from crossfade.ports import Host, Progress

__all__ = ["PythonInstall", "uv_program"]

_FORM: Final = re.compile(r"[^\s-][^\0\r\n]*")
_FINGERPRINT: Final = """
cd -- "$1" || exit 0
cat -- "$2" || exit 0
printf '\\0'
grep -h '^version' pyvenv.cfg
find lib/python*/site-packages -mindepth 2 -maxdepth 2 -path '*.dist-info/RECORD' -print0 |
    LC_ALL=C sort -z | xargs -0 -r sha256sum --
"""


class PythonInstall:
    """Packages of the Python package index in a virtual environment at ``root``.

    packages are requirement specifiers; python chooses the interpreter (``3.11``); exclude_newer (a
    date) limits what the resolver sees to that day, which takes uv.
    """

    def __init__(
        self,
        host: Host,
        root: Path,
        packages: Sequence[str],
        *,
        python: str = "",
        exclude_newer: str = "",
    ) -> None:
        check_packages(packages, _FORM, "a requirement, such as name==1.2")
        self.host = host
        self.root = root
        self.packages = tuple(packages)
        self.python = python
        self.exclude_newer = exclude_newer

    def describe(self) -> tuple[str, ...]:
        """What will be done."""
        place, names = where(self.host, str(self.root)), ", ".join(self.packages)
        if self.done():
            return (f"{names} is installed at {place}",)
        of = f" of Python {self.python}" if self.python else ""
        return (f"make a virtual environment{of} at {place}", f"install {names}")

    def done(self) -> bool:
        """Whether a whole environment with just these packages stands there."""
        return note_of(self.host, self.root / NOTE) == self._wanted()

    def _wanted(self) -> str:
        chosen = (f"python {self.python}",) if self.python else ()
        return "\n".join((*sorted(self.packages), *chosen, self.exclude_newer, ""))

    def install(self, progress: Progress | None = None) -> None:
        """Install into the final place.  A broken earlier try of ours is replaced."""
        if self.done():
            return
        if self.host.exists(self.root) and not self.host.exists(self.root / "pyvenv.cfg"):
            raise in_the_way(self.host, self.root, "a virtual environment")
        tools = find_tools(self.host, self.python)
        if self.exclude_newer and not tools.uv:
            what = "There is no uv, which alone leaves out what is newer than a day."
            raise Failed("host-lacks-tool", what, where=where(self.host, "uv"))
        self.host.remove(self.root)
        self.host.make_directory(self.root.parent, mode=0o755)
        if tools.uv:
            self._by_uv(tools)
        else:
            self._by_pip(tools)
        self.host.write(self.root / NOTE, self._wanted().encode(), mode=0o644)

    def _by_uv(self, tools: Tools) -> None:
        environment = {"UV_NO_PROGRESS": "1"}
        if not is_here(self.host):
            environment["UV_NO_CACHE"] = "1"  # nothing stays in the account's home
        argv = (tools.uv, "venv", "--quiet", "--python", tools.python, str(self.root))
        run(self.host, argv, env=environment, timeout=120, place=self.root)
        newer = ("--exclude-newer", self.exclude_newer) if self.exclude_newer else ()
        argv = (
            *(tools.uv, "pip", "install", "--quiet", "--compile-bytecode"),
            *("--python", str(self.root / "bin" / "python"), *newer, *self.packages),
        )
        run(self.host, argv, env=environment, place=self.root)

    def _by_pip(self, tools: Tools) -> None:
        make = (tools.python, "-m", "venv", str(self.root))
        run(self.host, make, timeout=300, place=self.root)
        argv = (
            *(str(self.root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"),
            *("--no-cache-dir", "--disable-pip-version-check", "--compile", *self.packages),
        )
        run(self.host, argv, place=self.root)

    def fingerprint(self) -> str:
        """16 hex digits over the interpreter's version and the RECORD files of all installed
        packages; empty when not done."""
        found = shell(self.host, _FINGERPRINT, str(self.root), NOTE)
        note, _, sums = found.partition(b"\0")
        if note != self._wanted().encode():
            return ""
        return sha256(sums).hexdigest()[:16]

    def remove(self) -> None:
        """Remove the environment, if it is one that we completed or began."""
        if self.host.exists(self.root / "pyvenv.cfg"):
            self.host.remove(self.root)
