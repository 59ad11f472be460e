"""The spans of an XML text: where expat says that its tags are, and attributes within them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

from crossfade.merge._types import Unreadable
from crossfade.merge.formats._tree import Lines, Node
from crossfade.merge.formats._values import Tagged, exact

__all__ = ["Attribute", "Comment", "Element", "Group", "canonical", "grouped", "parsed", "tree_of"]

_DEEPEST = 100
_ATTRIBUTE = re.compile(r"""\s+([^\s=/>"'<]+)\s*=\s*("[^"<]*"|'[^'<]*')""")
_TELLING = (
    "@name", "@id", "@key", "@port", "@path", "@className", "@class", "@appBase", "@href",
    "name", "id", "key", "extension", "artifactId", "param-name", "role-name",
)  # fmt: skip


@dataclass(slots=True)
class Attribute:
    """An attribute; start and end are of the value with its quotes."""

    name: str
    value: str
    begin: int
    start: int
    end: int


@dataclass(slots=True)
class Comment:
    """A comment, or an instruction (then text is None)."""

    begin: int
    end: int
    text: str | None


@dataclass(slots=True, eq=False)
class Element:
    """An element: from begin to end, its content between inner and close.  An element without a
    closing tag has inner and close at its end."""

    tag: str
    begin: int
    inner: int = 0
    close: int = 0
    end: int = 0
    attributes: list[Attribute] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    notes: list[Comment] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    content: list[Element | str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The text of the element, without that of the elements in it."""
        return "".join(self.text)

    @property
    def opaque(self) -> bool:
        """Whether text stands beside elements or comments, so that its place matters."""
        return bool(self.words.strip()) and bool(self.children or self.notes)

    def told(self, by: str) -> str | None:
        """What the attribute or the child element of that name has."""
        if by.startswith("@"):
            return next((one.value for one in self.attributes if one.name == by[1:]), None)
        found = [one for one in self.children if one.tag == by]
        plain = len(found) == 1 and not (found[0].children or found[0].attributes)
        return found[0].words.strip() if plain else None


@dataclass(slots=True)
class Group:
    """Siblings under one name: one element, or several of a tag that cannot be told apart."""

    name: str
    elements: list[Element]
    told_by: str = ""


def grouped(children: Sequence[Element]) -> list[Group] | None:
    """The siblings by their names, in their order; None where some of one tag can neither be told
    apart nor stand side by side."""
    tags: dict[str, list[Element]] = {}
    for child in children:
        tags.setdefault(child.tag, []).append(child)
    names = {tag: _names(tag, family) for tag, family in tags.items()}
    groups: list[Group] = []
    for child in children:
        given = names[child.tag]
        if given is not None:
            name, told_by = given[id(child)]
            groups.append(Group(name, [child], told_by))
        elif groups and groups[-1].name == child.tag:
            groups[-1].elements.append(child)
        elif any(group.name == child.tag for group in groups):
            return None
        else:
            groups.append(Group(child.tag, [child]))
    return groups


def _names(tag: str, family: list[Element]) -> dict[int, tuple[str, str]] | None:
    telling = (*_TELLING, f"{tag}-name")
    found: dict[int, tuple[str, str]] = {}
    for element in family:
        by = next((one for one in telling if element.told(one) is not None), "")
        found[id(element)] = (f"{tag}[{element.told(by)}]" if by else tag, by)
    if len({name for name, _ in found.values()}) == len(family):
        return found
    for by in telling:
        words = [element.told(by) for element in family]
        if None not in words and len(set(words)) == len(words):
            return {id(one): (f"{tag}[{one.told(by)}]", by) for one in family}
    return None


def canonical(element: Element) -> object:
    """An element as one value."""
    content: list[object] = []
    blank = bool(element.children) and not element.words.strip()
    for part in element.content:
        if isinstance(part, Element):
            content.append(canonical(part))
        elif not blank:
            content.append(part)
    held = {one.name: one.value for one in element.attributes}
    return Tagged((element.tag, exact(held), tuple(content)))


class _Parser:
    """Builds elements from what expat reports."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.top = Element("", 0, 0, len(text), len(text))
        self._open = [self.top]
        data = text.encode("utf-8", "surrogatepass")
        self._offsets = None if len(data) == len(text) else _offsets(text)
        self._cdata = -1
        self._parser = expat.ParserCreate("utf-8")
        self._parser.ordered_attributes = True
        self._parser.buffer_text = False
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.CommentHandler = self._comment
        self._parser.ProcessingInstructionHandler = self._instruction
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.SkippedEntityHandler = self._skipped
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise Unreadable(error.lineno, "it is not XML that parses") from None

    def _at(self) -> int:
        index = self._parser.CurrentByteIndex
        return self._offsets[index] if self._offsets is not None else index

    def _refused(self, reason: str) -> Unreadable:
        return Unreadable(self._parser.CurrentLineNumber, reason)

    def _start(self, tag: str, pairs: list[str]) -> None:
        if len(self._open) > _DEEPEST:
            raise self._refused("it is nested too deeply")
        begin = self._at()
        element = Element(tag, begin)
        position = begin + 1 + len(tag)
        while (match := _ATTRIBUTE.match(self.text, position)) is not None:
            position = match.end()
            element.attributes.append(Attribute(match[1], "", *match.span(1)[:1], *match.span(2)))
        if [one.name for one in element.attributes] != pairs[::2]:
            raise self._refused("an attribute is not where it should be")
        for attribute, value in zip(element.attributes, pairs[1::2], strict=True):
            attribute.value = value
        closing = re.compile(r"\s*/?>").match(self.text, position)
        if closing is None:
            raise self._refused("a tag does not end where it should")
        element.inner = closing.end()
        element.close = -1 if closing[0].endswith("/>") else 0
        self._open[-1].children.append(element)
        self._open[-1].content.append(element)
        self._open.append(element)

    def _end(self, tag: str) -> None:
        element = self._open.pop()
        if element.close == -1:
            element.close = element.end = element.inner
            return
        element.close = self._at()
        element.end = self.text.index(">", element.close) + 1

    def _characters(self, data: str) -> None:
        parent = self._open[-1]
        parent.text.append(data)
        if parent.content and isinstance(parent.content[-1], str):
            parent.content[-1] += data
        else:
            parent.content.append(data)

    def _comment(self, data: str) -> None:
        begin = self._at()
        end = self.text.index("-->", begin + 4) + 3
        self._open[-1].notes.append(Comment(begin, end, self.text[begin + 4 : end - 3]))

    def _instruction(self, target: str, data: str) -> None:
        begin = self._at()
        end = self.text.index("?>", begin) + 2
        self._open[-1].notes.append(Comment(begin, end, None))

    def _doctype(self, name: str, system: str | None, public: str | None, inner: bool) -> None:
        if inner:
            raise self._refused("it has a document type with declarations of its own")

    def _skipped(self, name: str, parameter: bool) -> None:
        raise self._refused("it has an entity that is declared elsewhere")


def _offsets(text: str) -> list[int]:
    """The offset in characters of every byte."""
    found: list[int] = []
    for index, character in enumerate(text):
        found += [index] * len(character.encode("utf-8", "surrogatepass"))
    return [*found, len(text)]


def parsed(text: str) -> Element:
    """What the text holds, in an element around all.  Raises Unreadable."""
    return _Parser(text).top


def tree_of(text: str, top: Element) -> Node:
    """The tree of a text's elements.  Raises Unreadable."""
    root = Node("", (), 0, 0, len(text), leaf=False, extra=top)
    root.children = _elements(top) or []
    for child in root.children:
        if child.style in ("opaque", "group"):
            reason = "its elements cannot be told apart"
            raise Unreadable(Lines(text).number(child.begin), reason)
        child.name, child.sort, child.told_by = child.sort, "", ""
    return root


def _elements(parent: Element) -> list[Node] | None:
    groups = grouped(parent.children)
    if groups is None:
        return None
    return [_node(group, ("", index)) for index, group in enumerate(groups)]


def _node(group: Group, at: tuple[object, ...]) -> Node:
    first, last = group.elements[0], group.elements[-1]
    own = Node(group.name, at, first.begin, first.begin, last.end, kin="<", sort=first.tag)
    own.told_by, own.extra = group.told_by, first
    if len(group.elements) > 1:
        own.style, own.inner = "group", ("items",)
        own.value = exact([canonical(one) for one in group.elements])
        return own
    below = _elements(first)
    if below is None or first.opaque:
        own.style, own.inner = "opaque", ("opaque",)
        own.value = canonical(first)
        return own
    own.style = "element"
    attributes = [_attribute(one) for one in first.attributes]
    words = first.words if first.words.strip() else ""
    if not attributes and not below and not words:
        own.value = frozenset()
        return own
    own.leaf = False
    own.children = [*attributes, *below]
    if words:
        text = Node("text()", ("text()",), first.inner, first.inner, first.close, kin="text")
        text.value, text.style = words, "text"
        own.children.append(text)
    if own.told_by and own.told_by not in {child.name for child in own.children}:
        own.told_by = ""
    return own


def _attribute(one: Attribute) -> Node:
    name = f"@{one.name}"
    node = Node(name, (name,), one.begin, one.start, one.end, kin="@", style="attribute")
    node.value = one.value
    return node
