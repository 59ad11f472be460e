"""The formats of configuration files that can be merged by key; a format is one file, and one line
in the tuple here."""

from __future__ import annotations

from typing import Protocol

from crossfade.merge._types import Document, Format
from crossfade.merge.formats._lines import Scan
from crossfade.merge.formats._tree import Tree
from crossfade.merge.formats.env import Env
from crossfade.merge.formats.ini import Ini
from crossfade.merge.formats.json import Json
from crossfade.merge.formats.mycnf import MyCnf
from crossfade.merge.formats.postgresql import Postgres
from crossfade.merge.formats.properties import Properties
from crossfade.merge.formats.python import Python
from crossfade.merge.formats.redis import Redis
from crossfade.merge.formats.toml import Toml
from crossfade.merge.formats.unit import Unit
from crossfade.merge.formats.xml import Xml
from crossfade.merge.formats.yaml import Yaml

__all__ = ["apart", "detect", "known", "names"]


class _Known(Format, Protocol):
    """A format that can be detected."""

    def claims(self, name: str, text: str) -> int:
        """How sure it is that the text is of this format: 0 no, 1 by its name only, 2 by content
        that others could have too, 3 by content that no other format has."""


_FORMATS: tuple[_Known, ...] = (
    Xml(),
    Json(),
    Python(),
    Toml(),
    Yaml(),
    Unit(),
    MyCnf(),
    Postgres(),
    Redis(),
    Properties(),
    Env(),
    Ini(),
)


def detect(name: str, text: str) -> Format | None:
    """The format of a file by its name and its text; None for what no format knows.  The text is
    worth more than the name, and the ending ``.conf`` is no format."""
    claims = [(known.claims(name, text), known) for known in _FORMATS]
    best = max((claim for claim, _ in claims), default=0)
    return next((known for claim, known in claims if claim == best > 0), None)


def names() -> tuple[str, ...]:
    """The formats that there are."""
    return tuple(format.name for format in _FORMATS)


def known(name: str) -> Format:
    """The format of that name.  Raises KeyError."""
    return {format.name: format for format in _FORMATS}[name]


def apart(document: Document) -> tuple[tuple[int, str], ...]:
    """Line and text of what is neither a setting nor a comment, and stays as it is: includes of
    option files, code of the shell.  A merge by key does not see where two files differ in it."""
    scan = document.private
    if isinstance(scan, Tree):
        return scan.apart
    if not isinstance(scan, Scan):
        return ()
    return tuple((first + 1, text) for text, first, _ in scan.apart_places())
