"""The variables in systemd's ``Environment=``, of which one line may set several."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Word", "words"]

_WORD = r"""(?:"[A-Za-z_]\w*=[^"\\]*"|'[A-Za-z_]\w*=[^'\\]*'|[A-Za-z_]\w*=[^\s"'\\]*)"""
_ALL = re.compile(rf"{_WORD}(?:[ \t]+{_WORD})*")
_ONE = re.compile(_WORD)


@dataclass(frozen=True, slots=True)
class Word:
    """A variable: its name, and where its value stands, in the quotes that are around the word.
    text is the value as the program gets it; a specifier (``%h``) stays as it is, and fixed."""

    name: str
    start: int
    end: int
    text: str
    quote: str
    fixed: bool

    def spelled(self, value: str) -> str:
        """Another value as it can stand here.  Raises ValueError."""
        plain = self.quote or not re.search(r"\s", value)
        if self.fixed or not plain or set(value) & set("\\\n\"'"):
            raise ValueError("it needs other quotes")
        return value.replace("%", "%%")


def words(raw: str) -> Iterator[Word]:
    """The variables of a line; none where it is not plain to see what they are."""
    if not _ALL.fullmatch(raw):
        return
    for match in _ONE.finditer(raw):
        quote = match[0][0] if match[0][0] in "\"'" else ""
        start, end = match.start() + len(quote), match.end() - len(quote)
        name, _, value = raw[start:end].partition("=")
        fixed = "%" in value.replace("%%", "")
        text = value if fixed else value.replace("%%", "%")
        yield Word(name, end - len(value), end, text, quote, fixed)
