"""The single values that a document of the merge is made of, each with a span of its own.

A list is one setting for the merge; so is an expression of Python, and a directive that stands
several times.  What cannot be taken apart is one hidden piece: never found by a key, never shown,
but searched for what is left of the old side.
"""

from __future__ import annotations

import ast
import copy
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from xml.sax.saxutils import unescape

from crossfade.configuration._keys import Names
from crossfade.configuration._plain import constants, literals, loaded, plain
from crossfade.configuration._words import Word, words
from crossfade.merge._types import Document, Format, Path, Unreadable, Write
from crossfade.merge.formats._line_format import LineFormat
from crossfade.merge.formats._lines import Entry, Scan
from crossfade.merge.formats._python_nodes import spans, value_of
from crossfade.merge.formats._tree import Lines, Node, Tree, leaves
from crossfade.merge.formats._tree_edit import Editing, line_end
from crossfade.merge.formats.redis import argument, quoted
from crossfade.recipes._yaml import dotted

__all__ = ["Piece", "Pieces", "pieces_of"]

_MADE = tuple("$%{\"'`~")
"""What a text begins with that the application makes the value of."""
_LOADS: dict[str, Callable[[str], Any]] = {"json": json.loads, "toml": tomllib.loads}


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A value of a file.  path is its setting, steps lead from that setting's value to this one;
    place is what the format has there.  Fulfils ``Value``."""

    names: Names
    path: Path
    steps: tuple[object, ...]
    start: int
    end: int
    line: int
    raw: str
    text: str
    is_text: bool = True
    whole: bool = True
    hidden: bool = False
    place: Node | Entry | Word | None = None

    @property
    def key(self) -> str:
        """The names with dots, for people."""
        return dotted(tuple(alike[0] for alike in self.names))

    def held(self, document: Document, value: object) -> object:
        """Another value as the setting's value has it.  Raises Unreadable and ValueError."""
        if isinstance(self.place, Word):
            return self.place.spelled(str(value))
        if document.format == "redis" and isinstance(self.place, Entry):
            if argument(str(self.place.value)) is None:
                raise Unreadable(self.line, "has several values")
            return quoted(str(value))
        return value

    def spelled(self, format: Format, document: Document, value: str | int) -> str:
        """Another value as it can stand here.  Raises Unreadable and ValueError."""
        if isinstance(self.place, Entry):
            lined = cast(LineFormat, format)
            scan: Scan = document.private
            raw = lined.written(scan, self.place, str(self.held(document, value)))
            raw = lined.spaced(scan, self.place, raw)
            return raw.replace("\r\n", "\n").replace("\n", line_end(document.text))
        if isinstance(self.place, Word):
            return str(self.held(document, value))
        if isinstance(self.place, Node):
            if document.format == "python" and literals(self.raw) != 1:
                raise Unreadable(self.line, "is written in several pieces")
            return cast(Editing, format).spelled(document, self.place, value)
        raise ValueError("no single value")


@dataclass(slots=True)
class Pieces:
    """All pieces of a document in no order; values are settings with their names, as a program
    gets them, items what is in them; fixed are settings that the merge does not edit."""

    document: Document
    pieces: list[Piece] = field(default_factory=list)
    values: list[tuple[tuple[object, ...], Names, Any]] = field(default_factory=list)
    items: list[tuple[tuple[object, ...], Names, Any]] = field(default_factory=list)
    fixed: set[Path] = field(default_factory=set)

    def edits(self, given: Mapping[Piece, object]) -> list[Write]:
        """What the merge is to be told of these pieces with new values: one edit a setting."""
        by_path: dict[Path, dict[tuple[object, ...], object]] = {}
        for piece, value in given.items():
            held = piece.held(self.document, value)
            by_path.setdefault(piece.path, {})[piece.steps] = held
        return [Write(path, self._value(path, new)) for path, new in by_path.items()]

    def _value(self, path: Path, new: Mapping[tuple[object, ...], object]) -> object:
        if () in new:
            return new[()]
        private = self.document.private
        if isinstance(private, Scan):
            values = [entry.value for entry in private.entries if entry.path == path]
            for steps, value in sorted(new.items(), reverse=True):  # words from behind
                index, *inside = cast(tuple[int, ...], steps)
                values[index] = _put(str(values[index]), inside, value) if inside else value
            return tuple(values)
        node = private.nodes[path]
        if self.document.format == "python":
            expression = copy.deepcopy(node.extra)
            found = list(constants(expression))
            for steps, value in new.items():
                cast(ast.Constant, found[cast(int, steps[0])]).value = cast(Any, value)
            return value_of(expression)
        whole = _LOADS[self.document.format](self.document.text.removeprefix("\ufeff"))
        whole = copy.deepcopy(_at(whole, node.steps[1:]))
        for steps, value in new.items():
            _at(whole, steps[:-1])[steps[-1]] = value
        return whole


def pieces_of(document: Document) -> Pieces:
    """The pieces of a document."""
    pieces = Pieces(document)
    if isinstance(document.private, Scan):
        _of_lines(pieces, document.private)
    else:
        _of_tree(pieces, document.private)
    return pieces


def _of_lines(pieces: Pieces, scan: Scan) -> None:
    document, text = pieces.document, pieces.document.text
    for path, entries in scan.groups().items():
        names = [(name,) for name in path]
        single = not isinstance(document.settings[path].value, tuple)
        for index, entry in enumerate(entries):
            steps = () if single else (index,)
            pieces.values.append(((*path, *steps), names, entry.value))
            if entry.value is None or entry.bare:
                continue
            raw = text[entry.start : entry.end]
            overruled = single and entry is not entries[-1]
            value = str(entry.value)
            if document.format == "redis":
                value = argument(value) or value
            here = (entry.start, entry.end, entry.first + 1)
            whole = value[:1] not in _MADE
            if document.format == "systemd" and path[-1] == "Environment" and raw == value:
                found = list(_of_words(entry, names, path, index, raw))
                pieces.pieces += found
                pieces.items += [((*path, *one.steps), one.names, one.text) for one in found]
                if found:
                    continue
                overruled = True  # it may hold anything
            pieces.pieces.append(
                Piece(names, path, steps, *here, raw, value, True, whole, overruled, entry)
            )
    for stands, first, last in scan.apart_places():
        start, end = scan.lines.begin(first), min(scan.lines.end(last - 1), len(text))
        hidden = not stands.startswith("!include")
        raw = text[start:end]
        pieces.pieces.append(Piece((), (), (), start, end, first + 1, raw, raw, hidden=hidden))


def _of_words(entry: Entry, names: Names, path: Path, index: int, raw: str) -> Iterator[Piece]:
    for word in words(raw):
        steps = (index, word.start, word.end)
        here = (entry.start + word.start, entry.start + word.end, entry.first + 1)
        whole = word.text[:1] not in _MADE
        called = [*names, (word.name,)]
        inside = raw[word.start : word.end]
        yield Piece(called, path, steps, *here, inside, word.text, whole=whole, place=word)


def _of_tree(pieces: Pieces, tree: Tree) -> None:
    document = pieces.document
    lines = Lines(document.text)
    span = spans(document.text) if document.format == "python" else None
    for leaf in leaves(tree.root):
        if leaf.parent is None:
            continue
        path, names = leaf.path, _names(leaf)
        if leaf.fixed:
            pieces.fixed.add(path)
        raw = document.text[leaf.start : leaf.end]
        pieces.values.append((path, names, plain(leaf.value, raw)))
        if span is not None:
            found = _of_expression(document, leaf, path, names, span)
        elif document.format == "xml":
            found = _of_xml(document, leaf, path, names)
        else:
            found = _inner(document, leaf, path, names, ())
        for piece in found:
            piece = replace(piece, line=lines.number(piece.start))
            pieces.pieces.append(piece)
            if piece.steps and piece.whole and not piece.hidden:
                value = piece.text if piece.is_text else loaded(document.format, piece.raw)
                pieces.items.append(((*path, *piece.steps), piece.names, value))
    for line, stands in tree.apart:
        if not stands.startswith(("import ", "from ", '"', "'", "r'", 'r"')):
            start = document.text.index(stands, _line_start(document.text, line))
            end = start + len(stands)
            pieces.pieces.append(Piece((), (), (), start, end, line, stands, stands, hidden=True))


def _names(node: Node) -> Names:
    """What a node and those around it may be called; a text is called as its element."""
    names: list[tuple[str, ...]] = []
    above: Node | None = node
    while above is not None and above.parent is not None:
        if above.kin != "text" and above.name != "[]":
            names.insert(0, _alike(above))
        above = above.parent
    return names


def _alike(node: Node) -> tuple[str, ...]:
    if node.kin == "<":
        return (node.name, node.sort) if node.sort else (node.name,)
    if isinstance(node.at[0], int):
        return (str(node.at[0]), node.name)
    return (node.name,)


def _inner(
    document: Document, node: Node, path: Path, names: Names, steps: tuple[object, ...]
) -> Iterator[Piece]:
    """The scalars at and below a node of JSON or TOML."""
    children = node.extra if node.leaf else node.children
    if children:
        for child in children:
            inner = (*steps, *child.at)
            yield from _inner(document, child, path, [*names, _alike(child)], inner)
        return
    raw = document.text[node.start : node.end]
    if isinstance(node.value, frozenset | tuple):
        if node.value:
            yield Piece(names, path, steps, node.start, node.end, 0, raw, raw, hidden=True)
        return
    is_text = isinstance(node.value, str)
    text = str(node.value) if is_text else raw
    here = (node.start, node.end, 0)
    whole = text[:1] not in _MADE
    yield Piece(names, path, steps, *here, raw, text, is_text, whole, place=node)


def _of_xml(document: Document, leaf: Node, path: Path, names: Names) -> Iterator[Piece]:
    raw = document.text[leaf.start : leaf.end]
    if leaf.style in ("attribute", "text"):
        text = str(leaf.value)
        yield Piece(names, path, (), leaf.start, leaf.end, 0, raw, text, place=leaf)
    elif leaf.style in ("opaque", "group"):
        text = unescape(raw, {"&quot;": '"', "&apos;": "'"})
        yield Piece(names, path, (), leaf.start, leaf.end, 0, raw, text, hidden=True)


def _of_expression(
    document: Document,
    leaf: Node,
    path: Path,
    names: Names,
    span: Callable[[ast.expr], tuple[int, int]],
) -> Iterator[Piece]:
    """The constants of a Python value: of a list they are items, of a call just words in it."""
    alone = isinstance(leaf.extra, ast.Constant)
    items = leaf.extra.elts if isinstance(leaf.extra, ast.List | ast.Tuple) else []
    for index, constant in enumerate(constants(leaf.extra)):
        start, end = span(constant)
        raw = document.text[start:end]
        here = (start, end, 0, raw)
        steps: tuple[object, ...] = () if alone else (index,)
        item = next((at for at, one in enumerate(items) if one is constant), None)
        called = names if item is None else [*names, (str(item),)]
        value = constant.value if isinstance(constant, ast.Constant) else b""
        if not isinstance(value, str | int | float | None):
            yield Piece(called, path, steps, *here, raw, hidden=True)
            continue
        place = Node("", (), start, start, end, value=value)
        is_text, whole = isinstance(value, str), alone or item is not None
        text = str(value) if is_text else raw
        yield Piece(called, path, steps, *here, text, is_text, whole, place=place)


def _at(value: Any, steps: Sequence[object]) -> Any:
    for step in steps:
        value = value[step]
    return value


def _put(text: str, span: Sequence[int], value: object) -> str:
    start, end = span
    return f"{text[:start]}{value}{text[end:]}"


def _line_start(text: str, line: int) -> int:
    position = 0
    for _ in range(line - 1):
        position = text.index("\n", position) + 1
    return position
