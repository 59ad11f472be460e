"""What the formats and the merge say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = [
    "Commented",
    "Document",
    "Drop",
    "Edit",
    "Format",
    "Path",
    "Put",
    "Setting",
    "Unreadable",
    "Write",
]

Path = tuple[str, ...]
"""The way to a setting by names, as the format has them: ``("mysqld", "port")``,
``("listeners", "[port=8008]", "tls")``, ``("Server", "Service[Catalina]", "@port")``."""


class Unreadable(Exception):
    """A text that this format cannot carry without doubt.  ``line`` counts from 1; ``reason``
    quotes nothing of the text, for what stands there may be a secret."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that is on, as it stands in the text.

    value is for comparing: equal exactly where a program would read the same.  It is a scalar as
    the format has it (text where the format knows nothing else), or a tuple: of the items of a list
    of scalars, or of all values of a directive that may stand several times.  raw is the value's
    text, from start to end (offsets in characters).  Where a directive stands several times, they
    are those of its first place, and ``private`` of the document has the others.
    """

    path: Path
    value: object
    raw: str
    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Commented:
    """A setting that the text documents, but leaves off (``#port = 3306``)."""

    path: Path
    raw: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was read: its settings and commented settings in their order, by path.

    settings are leaves: scalars, lists of scalars, empty lists and maps.  format is the name of the
    format; private is whatever this format wants to remember (never looked at by others).
    """

    format: str
    text: str
    settings: Mapping[Path, Setting]
    commented: Mapping[Path, Commented] = field(default_factory=dict)
    private: Any = None


@dataclass(frozen=True, slots=True)
class Put:
    """Give ``path`` the value that it has in ``source``: in its place where the document has it on,
    else as a new entry (under its commented twin, else beside its neighbours in ``source``), with
    the comment lines that stand directly above it in ``source``."""

    path: Path
    source: Document


@dataclass(frozen=True, slots=True)
class Write:
    """Give ``path`` this value: for a setting that the document has on.  The style (quotes) of what
    stands there is kept where that is possible."""

    path: Path
    value: object


@dataclass(frozen=True, slots=True)
class Drop:
    """Take ``path`` out: the whole entry with its line, not only its value."""

    path: Path


Edit = Put | Write | Drop


class Format(Protocol):
    """One format of configuration files.  ``tests/merge/contract.py`` is its contract.

    Laws: ``edited(read(t), [])`` is ``t``; so is a ``Put`` of a document's own value; what
    ``edited`` gives always passes ``mismatch`` or raises Unreadable.
    """

    name: str

    def read(self, text: str) -> Document:
        """The text's settings.  Raises Unreadable: for what does not parse, duplicate keys where a
        program takes one of them silently, and anything whose span is not certain."""

    def aligned(self, document: Document, reference: Document) -> Document:
        """``document`` with the paths of ``reference`` for entries that are the same ones although
        what names them differs (a Connector whose port was changed): by identity first, then those
        left over among siblings of one kind in their order.  Most formats return it as it is."""

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The document's text with the edits.  All other bytes stay; line ends are the document's.
        The order of the edits does not matter, but for entries that are new at the same place.
        Raises Unreadable where an edit cannot be made here, naming the line of ``document``."""

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """What is wrong with ``after`` as the result of ``edits`` on ``before``, by another parser
        than the one that found the spans: exactly the edited settings may differ, and they must be
        what the edits say.  None when it is right.  Names paths, quotes no values."""
