"""Edits of a tree-shaped text: which spans of it change, and to what.

Values are replaced and new entries put in first; entries are taken out of a place that also was
given new ones only in a second round, on the text as it is then.  So no entry is ever put beside
one that goes, and no bracket or block is left empty on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from crossfade.merge._types import Document, Drop, Edit, Path, Put, Unreadable, Write
from crossfade.merge.formats._tree import Lines, Node, Tree, Twin, document_of, leaves
from crossfade.merge.formats._values import exact

__all__ = ["Editing", "Place", "Splice", "edited", "line_end", "same_setting"]

_SHARED = "what stands there is also shown at other places"


@dataclass(slots=True)
class Splice:
    """``text`` instead of what stands from start to end.  brings is the source's entry that it puts
    in, and at where that begins in ``text``."""

    start: int
    end: int
    text: str
    brings: Node | None = None
    at: int = 0


@dataclass(slots=True)
class Place:
    """Where a new entry goes: under its commented twin, else behind or before a sibling, else into
    a container without such."""

    container: Node
    twin: Twin | None = None
    after: Node | None = None
    before: Node | None = None


class Editing(Protocol):
    """What a tree-shaped format knows of its own text."""

    def read(self, text: str) -> Document: ...

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None: ...

    def carried(self, document: Document, node: Node, source: Document, origin: Node) -> Splice:
        """The value of ``origin`` instead of the node's."""

    def spelled(self, document: Document, node: Node, value: object) -> str:
        """``value`` as text, in the style of what stands there.  Raises ValueError."""

    def inserted(self, document: Document, place: Place, source: Document, origin: Node) -> Splice:
        """The whole entry ``origin`` as a new one."""

    def removed(self, document: Document, nodes: Sequence[Node]) -> list[Splice]:
        """Entries of one parent taken out."""


def line_end(text: str) -> str:
    """The line end of a text: the one of its first line."""
    position = text.find("\n")
    return "\r\n" if position > 0 and text[position - 1] == "\r" else "\n"


def edited(form: Editing, document: Document, edits: Sequence[Edit]) -> str:
    """The text with the edits, proved.  Raises Unreadable."""
    if not edits:
        return document.text
    ours = list(edits)
    first = _Round(form, document, ours)
    first.plan()
    text = _spliced(document, first.splices)
    if first.later:
        try:
            again = form.read(text)
        except Unreadable as error:
            line = _line(document, edits[0].path)
            reason = f"edits cannot be made here together: {error.reason}"
            raise Unreadable(line, reason) from None
        following = _named_again(again, document, first.splices)
        second = _Round(form, following, [Drop(path) for path in first.later])
        second.plan()
        text = _spliced(following, second.splices)
    wrong = form.mismatch(document, text, edits)
    if wrong is not None:
        raise Unreadable(_line(document, edits[0].path), f"an edit cannot be made here: {wrong}")
    return text


def same_setting(document: Document, put: Put) -> bool:
    """Whether the document has, letter by letter, what it is to be given."""
    ours, theirs = document.settings.get(put.path), put.source.settings.get(put.path)
    if ours is None or theirs is None:
        return False
    return ours.raw == theirs.raw and ours.value == theirs.value


def _line(document: Document, path: Path) -> int:
    tree: Tree = document.private
    for length in range(len(path), 0, -1):
        node = tree.nodes.get(path[:length])
        if node is not None:
            return Lines(document.text).number(node.begin)
    return 1


def _spliced(document: Document, splices: list[Splice]) -> str:
    text = document.text
    pieces = []
    position, gone = 0, False
    for splice in sorted(splices, key=lambda one: (one.start, one.end)):
        if splice.start < position and not splice.text and gone:
            splice = Splice(position, max(position, splice.end), "")
        if splice.start < position:
            line = Lines(text).number(splice.start)
            raise Unreadable(line, "two edits meet at one place")
        gone = not splice.text
        pieces += [text[position : splice.start], splice.text]
        position = splice.end
    return "".join([*pieces, text[position:]])


def _named_again(after: Document, before: Document, splices: list[Splice]) -> Document:
    """``after`` with the names that the entries had before; those put in have their source's."""
    ordered = sorted(splices, key=lambda one: (one.start, one.end))
    names: dict[int, Node] = {}
    old: Tree = before.private
    for node in old.nodes.values():
        shift = 0
        for splice in ordered:
            if splice.end <= node.begin:
                shift += len(splice.text) - (splice.end - splice.start)
        names.setdefault(node.begin + shift, node)
    shift = 0
    brought: dict[int, Node] = {}
    for splice in ordered:
        if splice.brings is not None:
            brought[splice.start + shift + splice.at] = splice.brings
        shift += len(splice.text) - (splice.end - splice.start)
    tree: Tree = after.private
    _adopt(tree.root, names, brought)
    return document_of(after.format, after.text, tree.root, tree.twins, after.commented, tree.apart)


def _adopt(node: Node, names: dict[int, Node], brought: dict[int, Node]) -> None:
    for child in node.children:
        if child.begin in brought and brought[child.begin].sort == child.sort:
            _take_names(child, brought[child.begin])
            continue
        if child.sort and child.begin in names and names[child.begin].sort == child.sort:
            child.name = names[child.begin].name
        _adopt(child, names, brought)


def _take_names(node: Node, origin: Node) -> None:
    node.name = origin.name
    if len(node.children) == len(origin.children):
        for child, other in zip(node.children, origin.children, strict=True):
            _take_names(child, other)


@dataclass(slots=True)
class _Round:
    """The splices for edits on one text, and the paths that are only then to be taken out."""

    form: Editing
    document: Document
    edits: list[Edit]
    splices: list[Splice] = field(default_factory=list)
    later: list[Path] = field(default_factory=list)
    given: list[Node] = field(default_factory=list)

    def plan(self) -> None:
        drops = {edit.path for edit in self.edits if isinstance(edit, Drop)}
        paths = [edit.path for edit in self.edits]
        if len(set(paths)) != len(paths):
            raise self._refused(paths[0], "one setting is edited twice")
        for path in drops:
            self._leaf(path)
        new: dict[tuple[int, Path], list[Put]] = {}
        for edit in self.edits:
            if isinstance(edit, Write):
                self._write(edit)
            elif isinstance(edit, Put):
                self._put(edit, drops, new)
        self._insert(new, drops)
        self._drop(drops)

    def _refused(self, path: Path, reason: str) -> Unreadable:
        return Unreadable(_line(self.document, path), reason)

    def _leaf(self, path: Path) -> Node:
        tree: Tree = self.document.private
        node = tree.nodes.get(path)
        if node is None or not node.leaf:
            raise self._refused(path, "there is no such setting")
        if node.fixed:
            raise self._refused(path, node.fixed or _SHARED)
        return node

    def _write(self, edit: Write) -> None:
        node = self._leaf(edit.path)
        if exact(edit.value) == node.value:
            return
        try:
            text = self.form.spelled(self.document, node, edit.value)
        except ValueError:
            raise self._refused(edit.path, "the value cannot be written in this style") from None
        start = node.start
        if node.start == node.end and text:
            text = " " + text if self.document.text[start - 1 : start].strip() else text
        self.splices.append(Splice(start, node.end, text))

    def _origin(self, source: Document, path: Path) -> Node:
        tree: Tree = source.private
        node = tree.nodes.get(path)
        if source.format != self.document.format or node is None:
            raise self._refused(path, "the source has no such setting")
        for leaf in leaves(node):
            if leaf.fixed:
                raise self._refused(path, "what the source has there is also shown elsewhere in it")
        return node

    def _put(self, put: Put, drops: set[Path], new: dict[tuple[int, Path], list[Put]]) -> None:
        tree: Tree = self.document.private
        if same_setting(self.document, put):
            return
        origin = self._origin(put.source, put.path)
        if not origin.leaf:
            raise self._refused(put.path, "the source has no such setting")
        for length in range(1, len(put.path) + 1):
            node = tree.nodes.get(put.path[:length])
            if node is None:
                new.setdefault((id(put.source), put.path[:length]), []).append(put)
                return
            if node.leaf and length < len(put.path):
                if put.path[:length] not in drops:
                    raise self._refused(put.path, "a value stands where a part should be")
                new.setdefault((id(put.source), put.path[:length]), []).append(put)
                return
        node = tree.nodes[put.path]
        if not node.leaf:
            new.setdefault((id(put.source), put.path), []).append(put)
        else:
            self._replace(self._leaf(put.path), put.source, origin)

    def _replace(self, node: Node, source: Document, origin: Node) -> None:
        if node.fixed or any(leaf.fixed for leaf in leaves(node)):
            raise self._refused(node.path, node.fixed or _SHARED)
        self.splices.append(self.form.carried(self.document, node, source, origin))

    def _insert(self, new: dict[tuple[int, Path], list[Put]], drops: set[Path]) -> None:
        tree: Tree = self.document.private
        tops = [(path, puts[0].source, puts) for (_, path), puts in new.items()]
        if len({path for path, _, _ in tops}) != len(tops):
            raise self._refused(tops[0][0], "one new entry comes from two sources")
        tops.sort(key=lambda top: top[1].private.nodes[top[0]].begin)
        for path, source, puts in tops:
            origin = self._origin(source, path)
            wanted = {put.path for put in puts}
            unwanted = [leaf.path for leaf in leaves(origin) if leaf.path not in wanted]
            if _nameless(origin, wanted):
                raise self._refused(path, "an entry would be put in without what names it")
            node = tree.nodes.get(path)
            if node is not None:
                self._refill(node, source, origin, drops)
            else:
                container = tree.nodes[path[:-1]] if len(path) > 1 else tree.root
                if container.fixed or container.style == "whole":
                    reason = container.fixed or "the whole text is one value"
                    raise self._refused(path, reason)
                place = _place(self.document, container, origin, path, drops)
                self.splices.append(self.form.inserted(self.document, place, source, origin))
                self.given.append(container)
            self.later += unwanted

    def _refill(self, node: Node, source: Document, origin: Node, drops: set[Path]) -> None:
        """A value becomes a part or a part a value: what stood there must be dropped as well."""
        theirs = {leaf.path for leaf in leaves(node)}
        if not theirs <= drops:
            raise self._refused(node.path, "a part stands where a value should be")
        self._replace(node, source, origin)
        drops -= theirs

    def _drop(self, drops: set[Path]) -> None:
        tree: Tree = self.document.private
        gone: dict[int, list[Node]] = {}
        self._gone(tree.root, drops, gone)
        for nodes in gone.values():
            parent = nodes[0].parent
            taken = []
            if not any(parent is one for one in self.given):
                taken = self.form.removed(self.document, nodes)
            if taken and not any(self._meets(splice) for splice in taken):
                self.splices += taken
            else:
                self.later += [leaf.path for node in nodes for leaf in leaves(node)]

    def _meets(self, taken: Splice) -> bool:
        """Whether something is put in where this is taken out."""
        return any(
            one.start <= taken.end and taken.start <= one.end for one in self.splices if one.brings
        )

    def _gone(self, node: Node, drops: set[Path], gone: dict[int, list[Node]]) -> bool:
        """Whether all of ``node`` goes; notes the outermost entries that go, by their parents."""
        if node.leaf:
            return node.path in drops
        going = [child for child in node.children if self._gone(child, drops, gone)]
        given = any(node is one for one in self.given)
        whole = len(going) == len(node.children) and going != [] and not given
        if whole and node.parent is not None:
            return True
        if going:
            gone[id(node)] = going
        return False


def _nameless(origin: Node, wanted: set[Path]) -> bool:
    """Whether an entry is to come without the setting that its name is made of."""
    if not any(leaf.path in wanted for leaf in leaves(origin)):
        return False
    told_by = origin.child(origin.told_by) if origin.told_by else None
    if told_by is not None and not any(leaf.path in wanted for leaf in leaves(told_by)):
        return True
    return any(_nameless(child, wanted) for child in origin.children)


def _place(
    document: Document, container: Node, origin: Node, path: Path, drops: set[Path]
) -> Place:
    tree: Tree = document.private
    if path in tree.twins:
        return Place(container, twin=tree.twins[path])
    family = origin.parent.children if origin.parent is not None else [origin]
    index = next(i for i, one in enumerate(family) if one is origin)
    near: list[tuple[Callable[[Node], Place], Node]] = []
    near += [(lambda n: Place(container, after=n), one) for one in reversed(family[:index])]
    near += [(lambda n: Place(container, before=n), one) for one in family[index + 1 :]]
    for made, sibling in near:
        if sibling.kin == origin.kin:
            node = container.child(sibling.name)
            if node is not None and node.kin == origin.kin:
                return made(node)
    last = [child for child in container.children if child.kin == origin.kin]
    return Place(container, after=last[-1]) if last else Place(container)
