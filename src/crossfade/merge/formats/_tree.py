"""What the tree-shaped formats have in common: where every value stands, by its path.

A node is an entry of a map or a list (a key with its value, an item, an element, an attribute).
Leaves are settings.  Nodes are found by the format's own reader of spans; the proof never uses it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crossfade.merge._types import Commented, Document, Path, Setting, Unreadable

__all__ = [
    "IDENTITY",
    "ROOT",
    "Lines",
    "Node",
    "Tree",
    "Twin",
    "aligned",
    "document_of",
    "leaves",
    "named",
]

IDENTITY = ("name", "id", "key", "port", "path", "url", "host", "server_name", "address", "repo")
"""The keys that tell the maps of a list apart, the best first."""

ROOT = "root"
"""The only key of the map that the proof holds a model in."""


class Lines:
    """Line numbers (from 1) of offsets; lines end with a line feed."""

    def __init__(self, text: str) -> None:
        self._starts = [0]
        position = text.find("\n")
        while position >= 0:
            self._starts.append(position + 1)
            position = text.find("\n", position + 1)

    def number(self, offset: int) -> int:
        return bisect_right(self._starts, offset)


@dataclass(slots=True, eq=False)
class Node:
    """An entry.  begin is where it begins (its key, dash or bracket), start and end are its value's
    span; past_key is where the sign after its key ends; whole is where the entry ends, when that is
    behind its value.  All are offsets in characters.  extra is what the format wants to remember;
    of a leaf in JSON and TOML that is no scalar, the nodes of what it holds.

    at leads from the parent to this entry in the format's independent model, inner from there to
    the value.  sort is set for entries whose names are made of what they hold, kin parts siblings
    that never stand beside one another (attributes and elements).  fixed says why it must not be
    edited, when so.
    """

    name: str
    at: tuple[object, ...]
    begin: int
    start: int
    end: int
    leaf: bool = True
    value: object = None
    children: list[Node] = field(default_factory=list)
    parent: Node | None = None
    inner: tuple[object, ...] = ()
    fixed: str = ""
    style: str = ""
    kin: str = ""
    sort: str = ""
    naming: str = ""
    told_by: str = ""
    past_key: int = 0
    whole: int = 0
    extra: Any = None

    @property
    def path(self) -> Path:
        return (*self.parent.path, self.name) if self.parent is not None else ()

    @property
    def steps(self) -> tuple[object, ...]:
        """The way to the value in the independent model."""
        return (*self.entry_steps, *self.inner)

    @property
    def entry_steps(self) -> tuple[object, ...]:
        """The way to the entry in the independent model."""
        return (*self.parent.entry_steps, *self.at) if self.parent is not None else (ROOT,)

    @property
    def last(self) -> int:
        """The end of the entry."""
        return max(self.end, self.whole)

    def child(self, name: str) -> Node | None:
        for child in self.children:
            if child.name == name:
                return child
        return None


@dataclass(frozen=True, slots=True)
class Twin:
    """A commented entry: where its line begins, where its (last) line ends, and the column that
    its key would have."""

    begin: int
    end: int
    column: int


@dataclass(slots=True)
class Tree:
    """What a tree-shaped format remembers of a text.  apart is line and text of what is no setting
    and no comment."""

    root: Node
    nodes: dict[Path, Node]
    twins: Mapping[Path, Twin] = field(default_factory=dict)
    apart: tuple[tuple[int, str], ...] = ()


def leaves(node: Node) -> Iterator[Node]:
    """The leaves at and below ``node`` in their order."""
    if node.leaf:
        yield node
    for child in node.children:
        yield from leaves(child)


def document_of(
    name: str,
    text: str,
    root: Node,
    twins: Mapping[Path, Twin] | None = None,
    commented: Mapping[Path, Commented] | None = None,
    apart: tuple[tuple[int, str], ...] = (),
) -> Document:
    """The document of a tree.  Raises Unreadable for two entries of one path."""
    lines = Lines(text)
    nodes: dict[Path, Node] = {}
    settings: dict[Path, Setting] = {}
    _collect(root, (), nodes, lines)
    for path, node in nodes.items():
        if node.leaf:
            raw = text[node.start : node.end]
            line = lines.number(node.begin)
            settings[path] = Setting(path, node.value, raw, node.start, node.end, line)
    tree = Tree(root, nodes, twins or {}, apart)
    return Document(name, text, settings, commented or {}, tree)


def _collect(node: Node, path: Path, nodes: dict[Path, Node], lines: Lines) -> None:
    if node.parent is not None:
        if path in nodes:
            raise Unreadable(lines.number(node.begin), "an entry is there twice")
        nodes[path] = node
    for child in node.children:
        child.parent = node
        _collect(child, (*path, child.name), nodes, lines)


def named(children: list[Node], key: str = "") -> str:
    """Names the maps of a list by the first key that all have and that is different in all of them
    (or by ``key``), and gives that key; nothing is done and it is "" when there is none."""
    for candidate in (key,) if key else IDENTITY:
        words = [_word(child, candidate) for child in children]
        if all(word is not None for word in words) and len(set(words)) == len(words):
            for child, word in zip(children, words, strict=True):
                child.name = f"[{candidate}={word}]"
                child.told_by = candidate
            return candidate
    return ""


def _word(node: Node, key: str) -> str | None:
    child = node.child(key)
    if child is None or not child.leaf or isinstance(child.value, tuple | frozenset):
        return None
    return None if child.value is None else str(child.value)


def aligned(document: Document, reference: Document) -> Document:
    """``document`` with the reference's names for entries that are the same ones although what
    names them differs: same names first, then those left over in their order, if at least half
    of what else they hold is equal."""
    tree: Tree = document.private
    other: Tree = reference.private
    root = _copy(tree.root)
    if not _align(root, other.root):
        return document
    renamed = _renaming(tree.root, root)
    twins = {_moved(path, renamed): twin for path, twin in tree.twins.items()}
    commented = {
        _moved(path, renamed): replace(entry, path=_moved(path, renamed))
        for path, entry in document.commented.items()
    }
    return document_of(document.format, document.text, root, twins, commented, tree.apart)


def _renaming(before: Node, after: Node) -> dict[Path, Path]:
    found = {before.path: after.path}
    for old, new in zip(before.children, after.children, strict=True):
        found.update(_renaming(old, new))
    return found


def _moved(path: Path, renamed: Mapping[Path, Path]) -> Path:
    return (*renamed.get(path[:-1], path[:-1]), path[-1])


def _copy(node: Node) -> Node:
    twin = replace(node, children=[_copy(child) for child in node.children])
    for child in twin.children:
        child.parent = twin
    return twin


def _align(node: Node, reference: Node) -> bool:
    changed = False
    if reference.naming and node.naming and reference.naming != node.naming:
        changed = named(node.children, reference.naming) != ""
        node.naming = reference.naming if changed else node.naming
    pairs = []
    spare: list[Node] = []
    ours = {child.name: child for child in node.children}
    theirs = {child.name for child in reference.children}
    for child in reference.children:
        if child.name in ours:
            pairs.append((ours[child.name], child))
        elif child.sort:
            spare.append(child)
    free = [child for child in node.children if child.sort and child.name not in theirs]
    for child in spare:
        alone = _alone(child, spare) and _alone(child, free)
        match = next(
            (one for one in free if one.sort == child.sort and _alike(one, child, alone)), None
        )
        if match is not None:
            free.remove(match)
            match.name = child.name
            changed = True
            pairs.append((match, child))
    for own, their in pairs:
        changed = _align(own, their) or changed
    return changed


def _alone(child: Node, among: list[Node]) -> bool:
    return sum(1 for one in among if one.sort == child.sort) == 1


def _alike(node: Node, reference: Node, alone: bool) -> bool:
    """Whether two entries of different names are one that was changed.  An entry that was taken
    out and another that was put in must not be taken for that: their settings would be mixed."""
    ours, theirs = (
        Counter(held for held in _held(of, ()) if held[0][:1] != (of.told_by,))
        for of in (node, reference)
    )
    if not theirs:
        return alone and not ours
    equal = (ours & theirs).total()
    return 2 * equal >= theirs.total() and equal > 0


def _held(node: Node, path: Path) -> Iterator[tuple[Path, object]]:
    if node.leaf:
        yield path, node.value
    for child in node.children:
        yield from _held(child, (*path, child.sort or child.name))
