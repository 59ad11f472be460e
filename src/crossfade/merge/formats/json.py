"""JSON: spans by a scanner of our own, proved by the standard library's parser."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from crossfade.merge._once import once
from crossfade.merge._types import Document, Edit, Unreadable
from crossfade.merge.formats import _tree_edit
from crossfade.merge.formats._brackets import (
    begins_line,
    in_brackets,
    indent,
    removed_from_brackets,
)
from crossfade.merge.formats._tree import Lines, Node, aligned, document_of, named
from crossfade.merge.formats._tree_edit import Place, Splice, line_end
from crossfade.merge.formats._tree_proof import mismatch
from crossfade.merge.formats._values import exact

__all__ = ["Json"]

_DEEPEST = 100
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![\w.+-])")
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"(true|false|null)(?!\w)")


class Json:
    """JSON without comments."""

    name = "json"

    def claims(self, name: str, text: str) -> int:
        """By what it begins with, if it parses."""
        if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
            try:
                _model(text)
            except (ValueError, RecursionError):
                return int(name.lower().endswith(".json"))
            return 3
        return int(name.lower().endswith(".json"))

    @once
    def read(self, text: str) -> Document:
        """The settings of a text, as ``Format.read`` has it."""
        return document_of(self.name, text, _Scanner(text).root())

    def aligned(self, document: Document, reference: Document) -> Document:
        """Lists of maps whose identity was changed, as ``Format.aligned`` has it."""
        return aligned(document, reference)

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The text with the edits, as ``Format.edited`` has it."""
        return _tree_edit.edited(self, document, edits)

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """By the standard library's parser, as ``Format.mismatch`` has it."""
        return mismatch(_model, before, after, edits)

    def carried(self, document: Document, node: Node, source: Document, origin: Node) -> Splice:
        raw = source.text[origin.start : origin.end]
        margins = indent(document.text, node.begin), indent(source.text, origin.begin)
        return Splice(node.start, node.end, _moved(raw, *margins, line_end(document.text)))

    def spelled(self, document: Document, node: Node, value: object) -> str:
        raw = document.text[node.start : node.end]
        try:
            if exact(_loaded(raw)) == exact(value):
                return raw
            pieces = _items(raw, value)
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            if pieces is not None:
                text = pieces
            elif isinstance(value, str) and raw.startswith('"') and raw.isascii() and "\\u" in raw:
                text = json.dumps(value)
        except TypeError:
            raise ValueError("no value for JSON") from None
        if exact(_loaded(text)) != exact(value):
            raise ValueError("no value for JSON")
        return text

    def inserted(self, document: Document, place: Place, source: Document, origin: Node) -> Splice:
        raw = source.text[origin.begin : origin.last]
        beside = place.after or place.before
        margin = indent(document.text, (beside or place.container).begin)
        if beside is None and begins_line(source.text, origin.begin):
            margin += "  "
        piece = _moved(raw, margin, indent(source.text, origin.begin), line_end(document.text))
        splice = in_brackets(document, place, piece, ())
        splice.brings = origin
        return splice

    def removed(self, document: Document, nodes: Sequence[Node]) -> list[Splice]:
        return removed_from_brackets(document, nodes)


def _moved(raw: str, margin: str, theirs: str, newline: str) -> str:
    """``raw`` with the lines after the first indented from ``margin`` instead of ``theirs``.  No
    JSON value spans lines but by its brackets, so this changes no value."""
    first, *lines = raw.replace("\r\n", "\n").split("\n")
    return newline.join(
        [
            first,
            *(margin + line[len(theirs) :] if line.startswith(theirs) else line for line in lines),
        ]
    )


def _items(raw: str, value: object) -> str | None:
    """A list that spans lines written so again."""
    if not isinstance(value, tuple | list) or not value or "\n" not in raw:
        return None
    first = re.match(r"\[(\s*)", raw)
    last = re.search(r"(\s*)\]$", raw)
    if first is None or last is None or "\n" not in first[1]:
        return None
    words = [json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value]
    return "[" + first[1] + ("," + first[1]).join(words) + last[1] + "]"


def _loaded(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


@once
def _model(text: str) -> Any:
    """What a program gets.  Raises ValueError, also for a key that is there twice."""
    return _loaded(text.removeprefix("\ufeff"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse(word: str) -> Any:
    raise ValueError("no JSON")


class _Scanner:
    """Spans of a JSON text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1 if text.startswith("\ufeff") else 0

    def root(self) -> Node:
        self._space()
        own = Node("", (), self.at, self.at, self.at)
        if self.text[self.at : self.at + 1] not in ("{", "["):
            raise self._refused("it is no map and no list")
        self._value(own, 0)
        self._space()
        if self.at != len(self.text):
            raise self._refused("something stands behind the end")
        if own.leaf and own.value == frozenset():
            own.leaf = False
        if not own.leaf:
            return own
        own.name = "[]"
        top = Node("", (), own.begin, own.start, own.end, leaf=False, style="whole")
        top.children = [own]
        return top

    def _refused(self, reason: str) -> Unreadable:
        return Unreadable(Lines(self.text).number(self.at), reason)

    def _space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        if self.text[self.at : self.at + 1] in ("/", "#"):
            raise self._refused("it has comments, which JSON has not")

    def _take(self, sign: str) -> bool:
        self._space()
        found = self.text.startswith(sign, self.at)
        self.at += found
        return found

    def _value(self, own: Node, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._refused("it is nested too deeply")
        self._space()
        own.start = self.at
        sign = self.text[self.at : self.at + 1]
        if sign == "{":
            self._map(own, depth)
        elif sign == "[":
            self._list(own, depth)
        else:
            own.value = self._scalar()
        own.end = self.at

    def _map(self, own: Node, depth: int) -> None:
        self.at += 1
        own.style = "flow"
        names: set[str] = set()
        while not (self._take("}") if not names else False):
            self._space()
            begin = self.at
            name = self._string()
            if name in names:
                self.at = begin
                raise self._refused("a key is there twice")
            names.add(name)
            if not self._take(":"):
                raise self._refused("a colon is missing")
            child = Node(name, (name,), begin, 0, 0, past_key=self.at)
            self._value(child, depth + 1)
            own.children.append(child)
            if self._take("}"):
                break
            if not self._take(","):
                raise self._refused("a comma or bracket is missing")
        own.leaf = not own.children
        own.value = frozenset() if own.leaf else None

    def _list(self, own: Node, depth: int) -> None:
        self.at += 1
        own.style = "flow"
        items: list[Node] = []
        while not (self._take("]") if not items else False):
            self._space()
            item = Node(f"[{len(items)}]", (len(items),), self.at, 0, 0, sort="item")
            self._value(item, depth + 1)
            items.append(item)
            if self._take("]"):
                break
            if not self._take(","):
                raise self._refused("a comma or bracket is missing")
        if items and not any(item.leaf for item in items):
            own.naming = named(items)
        if own.naming:
            own.children, own.leaf = items, False
        else:
            own.value, own.extra = tuple(_held(item) for item in items), items

    def _string(self) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise self._refused("a text in quotes is missing or not closed")
        self.at = match.end()
        found = json.loads(match[0])
        return str(found)

    def _scalar(self) -> object:
        if self.text[self.at : self.at + 1] == '"':
            return self._string()
        word = _WORD.match(self.text, self.at)
        number = _NUMBER.match(self.text, self.at)
        if word is not None:
            self.at = word.end()
            return exact(_WORDS[word[0]])
        if number is None:
            raise self._refused("a value is missing or no JSON")
        self.at = number.end()
        whole = number[1] is None and number[2] is None
        try:
            return int(number[0]) if whole else exact(float(number[0]))
        except ValueError:
            raise self._refused("a number is too large") from None


def _held(node: Node) -> object:
    """The value of a node for comparing, whether it was taken as a leaf or not."""
    if node.leaf:
        return node.value
    if node.naming:
        return tuple(_held(child) for child in node.children)
    return frozenset((child.at[0], _held(child)) for child in node.children)
