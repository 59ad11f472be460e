"""The spans of a TOML text: a scanner of our own; what values are, tomllib says piece by piece."""

from __future__ import annotations

import re
import tomllib

from crossfade.merge._types import Path, Unreadable
from crossfade.merge.formats._tree import Lines, Node, named
from crossfade.merge.formats._values import exact

__all__ = ["HEADER", "Headers", "table", "tree_of"]

_DEEPEST = 50
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.|\\\n)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\s,\]}#=]+(?:[ ][0-9][^\s,\]}#]*)?")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
HEADER = re.compile(r"^[ \t]*(\[\[?)", re.MULTILINE)

Headers = list[tuple[int, Path, Node]]
"""Where tables begin: offset, path as the tree has it, and the node."""


def tree_of(text: str) -> tuple[Node, Headers]:
    """The tree of a text and its tables.  Raises Unreadable."""
    return _Scanner(text).root()


def table(text: str) -> tuple[list[str], bool] | None:
    """The names of a line that is a table's header, and whether it is one of several; None."""
    scanner = _Scanner(text)
    double = text.startswith("[[")
    try:
        scanner.at = 2 if double else 1
        names = [name for name, _ in scanner.key()]
    except Unreadable:
        return None
    rest = text[scanner.at :].split("#")[0].strip()
    return (names, double) if rest == ("]]" if double else "]") else None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1 if text.startswith("\ufeff") else 0
        self.headers: Headers = []

    def refused(self, reason: str, at: int | None = None) -> Unreadable:
        return Unreadable(Lines(self.text).number(self.at if at is None else at), reason)

    def root(self) -> tuple[Node, Headers]:
        try:
            tomllib.loads(self.text.removeprefix("\ufeff"))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            found = re.search(r"at line (\d+)", str(error))
            line = int(found[1]) if found else self.text.rstrip().count("\n") + 1
            raise Unreadable(line, "it is not TOML that parses") from None
        own = Node("", (), 0, 0, len(self.text), leaf=False, style="table")
        place = own
        while True:
            match = _BLANK.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at >= len(self.text):
                break
            if self.text[self.at] == "[":
                place = self._header(own)
            else:
                self._pair(place, "")
        _finish(own)
        return own, [(begin, node.path, node) for begin, _, node in self.headers]

    def key(self) -> list[tuple[str, int]]:
        """The names of a key with dots, and where each begins."""
        found = []
        while True:
            self._spaces()
            match = _QUOTED.match(self.text, self.at) or _BARE.match(self.text, self.at)
            if match is None:
                raise self.refused("a key is missing")
            word = match[0]
            if word[0] in "\"'":
                word = next(iter(tomllib.loads(f"{word} = 1")))
            found.append((word, self.at))
            self.at = match.end()
            self._spaces()
            if self.text[self.at : self.at + 1] != ".":
                return found
            self.at += 1

    def _spaces(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _header(self, root: Node) -> Node:
        begin = self.at
        double = self.text.startswith("[[", begin)
        self.at += 2 if double else 1
        names = [name for name, _ in self.key()]
        self.at += 2 if double else 1
        place = root
        for name in names[:-1]:
            place = _within(place, name, begin)
        last = place.child(names[-1])
        if double:
            if last is None:
                last = Node(names[-1], (names[-1],), begin, begin, begin, leaf=False)
                last.style, last.kin = "tables", "table"
                _add(place, last)
            index = len(last.children)
            item = Node(f"[{index}]", (index,), begin, begin, self.at, leaf=False, sort="item")
            _add(last, item)
            last = item
        elif last is None:
            last = Node(names[-1], (names[-1],), begin, begin, self.at, leaf=False)
            _add(place, last)
        last.begin = last.start = begin
        last.end, last.style, last.kin, last.past_key = self.at, "table", "table", self.at
        self.headers.append((begin, (), last))
        return last

    def _pair(self, place: Node, kind: str, depth: int = 0) -> None:
        names = self.key()
        begin = names[0][1]
        if self.text[self.at : self.at + 1] != "=":
            raise self.refused("an equals sign is missing")
        self.at += 1
        past = self.at
        for name, _ in names[:-1]:
            place = _dotted(place, name, begin)
        name = names[-1][0]
        own = Node(name, (name,), begin, 0, 0, past_key=past, kin="key", style="line")
        _add(place, own)
        self._spaces()
        self._value(own, depth)
        above: Node | None = place
        while above is not None and above.style in ("dotted", "table") and not kind:
            above.end = max(above.end, own.end)
            above = above.parent if above.style == "dotted" else None

    def _value(self, own: Node, depth: int) -> None:
        if depth > _DEEPEST:
            raise self.refused("it is nested too deeply")
        own.start = self.at
        sign = self.text[self.at : self.at + 1]
        if sign == "{":
            self._inline(own, depth)
        elif sign == "[":
            self._array(own, depth)
        else:
            match = _STRING.match(self.text, self.at) or _PLAIN.match(self.text, self.at)
            if match is None:
                raise self.refused("a value is missing")
            self.at = match.end()
        own.end = self.at
        if own.leaf:
            try:
                held = tomllib.loads("x = " + self.text[own.start : own.end])
            except tomllib.TOMLDecodeError:
                raise self.refused("a value does not end where it should", own.start) from None
            own.value = exact(held["x"])

    def _inline(self, own: Node, depth: int) -> None:
        self.at += 1
        own.style = "flow"
        while True:
            self._blank()
            if self.text[self.at] == "}":
                break
            self._pair(own, "inline", depth + 1)
            self._blank()
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1
        dotted = any(child.style == "dotted" for child in own.children)
        own.leaf = dotted or not own.children
        own.extra = own.children if own.leaf else None
        own.children = [] if own.leaf else own.children

    def _array(self, own: Node, depth: int) -> None:
        self.at += 1
        items: list[Node] = []
        while True:
            self._blank()
            if self.text[self.at] == "]":
                break
            item = Node(f"[{len(items)}]", (len(items),), self.at, 0, 0, sort="item")
            self._value(item, depth + 1)
            items.append(item)
            self._blank()
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1
        if items and not any(item.leaf for item in items):
            own.naming = named(items)
        if own.naming:
            own.leaf, own.style = False, "flow"
            for item in items:
                _add(own, item)
        else:
            own.extra = items

    def _blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at
        if self.at >= len(self.text):
            raise self.refused("a bracket is not closed")


def _add(parent: Node, child: Node) -> None:
    child.parent = parent
    parent.children.append(child)


def _within(place: Node, name: str, begin: int) -> Node:
    """The table of that name, which need not have a header of its own; of several the last."""
    found = place.child(name)
    if found is None:
        found = Node(name, (name,), begin, begin, begin, leaf=False, style="implicit", kin="table")
        _add(place, found)
    return found.children[-1] if found.style == "tables" else found


def _dotted(place: Node, name: str, begin: int) -> Node:
    found = place.child(name)
    if found is None:
        found = Node(name, (name,), begin, begin, begin, leaf=False, style="dotted", kin="key")
        _add(place, found)
    return found


def _finish(node: Node) -> None:
    """Names the items of repeated tables, and makes empty tables leaves."""
    for child in node.children:
        _finish(child)
    if node.style == "tables":
        node.naming = named(node.children)
        if not node.naming:
            node.style, node.leaf = "group", True
            node.value = tuple(_held(child) for child in node.children)
            node.extra, node.children = node.children, []
            node.fixed = "tables of one name cannot be told apart"
    elif node.parent is not None and not node.children and not node.leaf:
        node.leaf, node.value = True, frozenset()


def _held(node: Node) -> object:
    if node.leaf:
        return node.value
    if node.naming:
        return tuple(_held(child) for child in node.children)
    return frozenset((child.at[0], _held(child)) for child in node.children)
