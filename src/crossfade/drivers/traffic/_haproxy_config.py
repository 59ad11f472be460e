"""haproxy.cfg as text: its sections, and the words of their lines.

Source: HAProxy 2.6 Configuration Manual, sections 2 (format) and 4 (proxies).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from crossfade.errors import Refused

__all__ = ["Config", "Section", "words_of"]

_SECTIONS = """global defaults frontend backend listen peers mailers resolvers userlist program
cache ring http-errors fcgi-app log-forward"""
_HEADS = frozenset(_SECTIONS.split())
_WORD = re.compile(r"""(?:[^\s"'\\#]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+|#.*""")


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its kind and name, and its lines' numbers, the heading first."""

    kind: str
    name: str
    words: tuple[str, ...]
    start: int
    end: int


def words_of(line: str) -> list[str]:
    """The words of a line, without quotes and comment."""
    found = _WORD.findall(line)
    return [word.replace('"', "").replace("'", "") for word in found if not word.startswith("#")]


class Config:
    """A configuration file's sections."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines(keepends=True)
        self.sections: list[Section] = []
        heads = [n for n, line in enumerate(self.lines) if self._heads(line)]
        for head, end in zip(heads, [*heads[1:], len(self.lines)], strict=True):
            words = words_of(self.lines[head])
            name = words[1] if len(words) > 1 else ""
            self.sections.append(Section(words[0], name, tuple(words), head, end))

    @staticmethod
    def _heads(line: str) -> bool:
        words = words_of(line)
        return bool(words) and words[0] in _HEADS

    def body(self, section: Section) -> Iterator[tuple[int, list[str]]]:
        """Numbers and words of a section's lines that say something."""
        for number in range(section.start + 1, section.end):
            if words := words_of(self.lines[number]):
                yield number, words

    def globally(self, *keys: str) -> list[list[str]]:
        """The lines of ``global`` sections that begin with these words."""
        return [
            words
            for section in self.sections
            if section.kind == "global"
            for _, words in self.body(section)
            if tuple(words[: len(keys)]) == keys
        ]

    def word(self, key: str) -> str:
        """The value of a key of ``global``; empty when it is not there."""
        found = self.globally(key)
        return found[-1][1] if found and len(found[-1]) > 1 else ""

    def backend(self, name: str) -> Section:
        """The backend of this name.  Raises Refused."""
        for section in self.sections:
            if section.name == name and section.kind == "backend":
                return section
        if any(s.name == name and s.kind == "listen" for s in self.sections):
            raise Refused(
                "haproxy-cannot-hold",
                f"{name} is a listen section; only a backend can be held exactly.",
                where="split it into a frontend with its bind lines and a backend with its server",
            )
        known = [section.name for section in self.sections if section.kind == "backend"]
        raise Refused(
            "haproxy-backend-missing",
            f"HAProxy's configuration has no backend {name}.",
            where=f"it has: {', '.join(known) or 'none'}",
        )

    def mode(self, section: Section) -> str:
        """The mode of a backend, its own or that of the defaults that it has."""
        own = [words[1] for _, words in self.body(section) if words[0] == "mode"]
        if own:
            return own[-1]
        named = section.words[section.words.index("from") + 1] if "from" in section.words else None
        before = [
            other
            for other in self.sections
            if other.kind == "defaults"
            and (other.name == named if named else other.start < section.start)
        ]
        for _, words in self.body(before[-1]) if before else ():
            if words[0] == "mode":
                own.append(words[1])
        return own[-1] if own else "tcp"
