"""The application's files as a version comes with them, had from the installed versions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from crossfade.configuration._places import Reader
from crossfade.configuration._private import write_private
from crossfade.errors import Failed
from crossfade.model import Installation, Side
from crossfade.ports import Host
from crossfade.recipes import Recipe, fill

__all__ = ["Stock"]

_STOCK = "stock"
_LONGEST = 120.0
"""Seconds that a version may take to make its files."""
_QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}
"""So that a Python program leaves nothing in the old side's directories."""


class Stock:
    """Stock files of both versions, as if each were newly set up where the old side stands.

    sides gives each side's machine and installation.  What was had once is kept below ``kept`` on
    this machine, readable by its owner only (it may hold new secrets), so that the questions about
    it can be answered while the new version is not installed.
    """

    def __init__(
        self,
        recipe: Recipe,
        old: Installation,
        sides: Mapping[Side, tuple[Host, Installation]],
        kept: Path,
    ) -> None:
        self._recipe = recipe
        self._old = old
        self._sides = sides
        self._kept = kept
        self._not_had: set[str] = set()  # of the old side: not asked for twice, nor in the pause

    def text(self, side: Side, name: str, reader: Reader) -> bytes | None:
        """A stock file of a version, by the name that the recipe has for it.

        None where it cannot be had: the version is not installed and was not before, or it does not
        come with such a file.  ``reader`` reads the old side's configuration."""
        variables = self._variables(side, reader)
        place = self._kept / self._label(side, variables)
        wanted = fill(name, variables)
        kept = place / sha256(wanted.encode()).hexdigest()[:16]
        if kept.exists():
            return kept.read_bytes()
        if side is Side.OLD and wanted in self._not_had:
            return None
        host, there = self._sides[side]
        try:
            found = self._had(host, wanted, variables) if host.exists(there.root) else None
        except Failed:
            found = None
        if found is not None:
            write_private(kept, found)
        elif side is Side.OLD:
            self._not_had.add(wanted)
        return found

    def _variables(self, side: Side, reader: Reader) -> dict[str, str]:
        """What the names in braces stand for; all but root and version as on the old side, so that
        the two versions' files differ by nothing but their version."""
        there = self._sides[side][1]
        variables = self._old.variables() | {"root": str(there.root), "version": there.version}
        values = self._recipe.stock.values if self._recipe.stock else {}
        for name, reference in values.items():
            file = reader.parsed(self._old.config / reference.file, reference.format)
            if found := file.find(reference.key):
                variables[name] = found[0].text
        return variables

    def _label(self, side: Side, variables: Mapping[str, str]) -> str:
        """One for each version and way to have its files; its root does not matter."""
        command = self._recipe.stock.command if self._recipe.stock else ()
        known = {name: text for name, text in variables.items() if name != "root"}
        host = self._sides[side][0].name
        text = json.dumps([command, known, host if side is Side.OLD else ""], sort_keys=True)
        return f"{variables['version']}-{sha256(text.encode()).hexdigest()[:16]}"

    def _had(self, host: Host, name: str, variables: Mapping[str, str]) -> bytes | None:
        if name.startswith("/"):
            return host.read(Path(name)) if host.exists(Path(name)) else None
        if self._recipe.stock is None:
            return None
        directory = Path(host.run(("mktemp", "-d")).out.decode().strip())
        try:
            filled = {**variables, _STOCK: str(directory)}
            command = [fill(word, filled) for word in self._recipe.stock.command]
            host.run(command, timeout=_LONGEST, cwd=directory, env=_QUIET)
            path = directory / name
            if not host.exists(path):
                return None
            # as if it had been made where the old side's configuration is
            return host.read(path).replace(os.fsencode(directory), os.fsencode(self._old.config))
        finally:
            host.remove(directory)
