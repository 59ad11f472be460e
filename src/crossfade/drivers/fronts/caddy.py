"""Caddy as a front: the upstreams of a Caddyfile or of its JSON, ``caddy validate`` and ``reload``.

The grammar is that of Caddy's lexer: words end at white space; quotes, backquotes and ``#`` count
at the beginning of a word only; a line is a directive, and its last word may open a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crossfade.drivers.fronts._files import matching, read
from crossfade.drivers.fronts._places import Place, named_in
from crossfade.drivers.fronts._server import ConfiguredFront

__all__ = ["CaddyFront"]

_WORD = re.compile(
    r'(?P<end>\n)|(?P<comment>#[^\n]*)|"((?:[^"\\]|\\.)*)"|`([^`]*)`|((?:[^\s\\]|\\[^\n])+)|\\\n',
    re.DOTALL,
)
_DIAL = re.compile(r'"dial"\s*:\s*"([^"\\]*)"')
_PASSES = ("reverse_proxy", "to")
_OTHERS = ("php_fastcgi",)


class CaddyFront(ConfiguredFront):
    """Caddy with its Caddyfile, or with a file of its JSON (``*.json``)."""

    programs = ("caddy",)
    title = "Caddy"
    reload_loses = (
        "Caddy closes idle kept connections when it is reloaded, and a request that comes on one "
        "at just that moment fails"
    )

    @property
    def _adapter(self) -> tuple[str, ...]:
        return () if self.file.suffix == ".json" else ("--adapter", "caddyfile")

    def usual_check(self) -> tuple[str, ...]:
        """Its own checker."""
        return ("caddy", "validate", "--config", str(self.file), *self._adapter)

    def usual_reload(self) -> tuple[str, ...]:
        """By its admin API, whose address the configuration says."""
        return ("caddy", "reload", "--config", str(self.file), *self._adapter)

    def files(self) -> list[Path]:
        """The main file and all that it imports; a snippet of that name is no file."""
        found: list[Path] = []
        snippets: set[str] = set()
        waiting = [self.file]
        while waiting:
            path = waiting.pop(0)
            if path in found:
                continue
            found.append(path)
            if path.suffix == ".json":
                continue
            lines = [[word for word, _ in line] for line, _, _ in directives(read(path))]
            snippets |= {line[0] for line in lines if re.fullmatch(r"\(.+\)", line[0])}
            for line in lines:
                if line[0] == "import" and len(line) > 1 and f"({line[1]})" not in snippets:
                    pattern = path.parent / line[1]
                    waiting += matching(pattern)
        return found

    def places(self, text: str) -> Iterator[Place]:
        """Every upstream in a file.  Those of one ``reverse_proxy`` are one group."""
        if self.file.suffix == ".json":
            for dial in _DIAL.finditer(text):
                if place := named_in(dial[1], dial.start(1), "dial", hostless=True):
                    yield place
            return
        for line, inside, group in directives(text):
            name = line[0][0]
            if name == "to" and inside != "reverse_proxy":
                continue
            if name not in (*_PASSES, *_OTHERS, "import"):
                continue
            for word, start in line[2:] if name == "import" else line[1:]:
                member = -1 if name == "import" else group
                place = named_in(word, start, name, group=member, hostless=True)
                if place:
                    yield place

    def unfit(self, place: Place) -> str:
        """Why the gate cannot stand in for an upstream."""
        if place.what in _OTHERS:
            return f"{place.what} does not speak HTTP as the gate does"
        return super().unfit(place)


Line = list[tuple[str, int]]


def directives(text: str) -> Iterator[tuple[Line, str, int]]:
    """Every line: its words with where they stand, the directive whose block it is in, and a number
    that it has in common with its block."""
    stack: list[tuple[str, int]] = [("", 0)]
    number = 0
    for line in _lines(text):
        words = line
        while words and words[0][0] == "}":
            if len(stack) > 1:
                stack.pop()
            words = words[1:]
        if not words:
            continue
        number += 1
        opens = words[-1][0] == "{"
        inside, group = stack[-1]
        shown = words[:-1] if opens else words
        if shown:
            yield shown, inside, group if shown[0][0] == "to" else number
        if opens:
            stack.append((shown[0][0] if shown else "", number))


def _lines(text: str) -> Iterator[Line]:
    line: Line = []
    for found in _WORD.finditer(text):
        if found["end"]:
            yield line
            line = []
        elif not found["comment"] and found.lastindex:
            line.append((found[found.lastindex], found.start(found.lastindex)))
    yield line
