"""The spans of a YAML text: composed by PyYAML's own parser, nothing is constructed but scalars."""

from __future__ import annotations

import re

import yaml
from yaml.constructor import SafeConstructor

from crossfade.merge._types import Unreadable
from crossfade.merge.formats._tree import Node, named
from crossfade.merge.formats._values import Tagged, exact
from crossfade.merge.formats._yaml_compose import MAP, SEQ, TAG, Alias, below, composed

__all__ = ["tree_of"]

_MERGE = TAG + "merge"
_SCALARS = {
    TAG + name
    for name in ("null", "bool", "int", "float", "str", "timestamp", "binary", "value", "merge")
}
_TRAILING = re.compile(r"(\r?\n[ \t]*)+\Z")
_PROPERTIES = re.compile(r"([&!]\S*\s+)*")
_SHARED = "an anchor or alias makes what stands there part of other places too"


def _scalar(node: yaml.Node) -> object:
    if node.tag not in _SCALARS:
        return Tagged((node.tag, node.value))
    try:
        return SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError, KeyError, IndexError, TypeError):
        reason = "a value is not of its type"
        raise Unreadable(node.start_mark.line + 1, reason) from None


def _plain(node: yaml.Node) -> object:
    """A node as plain data."""
    if isinstance(node, Alias):
        return _plain(node.value)
    if isinstance(node, yaml.SequenceNode):
        found: object = [_plain(item) for item in node.value]
        return found if node.tag == SEQ else Tagged((node.tag, found))
    if isinstance(node, yaml.MappingNode):
        pairs = _pairs(node)
        found = {key: _plain(value) for key, (_, value) in pairs.items()}
        return found if node.tag == MAP else Tagged((node.tag, found))
    return _scalar(node)


def _pairs(node: yaml.MappingNode) -> dict[object, tuple[yaml.Node, yaml.Node]]:
    """Keys as a program has them, with the nodes of key and value.  Raises Unreadable."""
    found: dict[object, tuple[yaml.Node, yaml.Node]] = {}
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _SCALARS:
            raise Unreadable(line, "a key is no plain word")
        key = "<<" if key_node.tag == _MERGE else _scalar(key_node)
        if key in found or key != key:
            raise Unreadable(line, "a key is there twice")
        found[key] = (key_node, value)
    return found


def _shares(node: yaml.Node, anchored: set[int]) -> bool:
    return (
        isinstance(node, Alias)
        or id(node) in anchored
        or any(_shares(child, anchored) for child in below(node))
    )


def tree_of(text: str) -> Node:
    """The tree of the text.  Raises Unreadable."""
    root, anchored = composed(text)
    return _Reader(text, anchored).root(root)


class _Reader:
    """Nodes of PyYAML as nodes of ours, with exact ends."""

    def __init__(self, text: str, anchored: set[int]) -> None:
        self.text = text
        self.anchored = anchored

    def root(self, node: yaml.Node | None) -> Node:
        length = len(self.text)
        if node is None:
            return Node("", (), length, length, length, leaf=False, style="block")
        if isinstance(node, yaml.ScalarNode | Alias):
            if node.start_mark.index == node.end_mark.index:
                return Node("", (), length, length, length, leaf=False, style="block")
            raise Unreadable(node.start_mark.line + 1, "it is one value, no settings")
        found = Node("", (), node.start_mark.index, node.start_mark.index, 0)
        self._fill(found, node, "")
        if found.leaf and found.value == frozenset():
            found.leaf = False
        if not found.leaf:
            return found
        found.name = "[]"
        top = Node("", (), found.begin, found.start, found.end, leaf=False, style="whole")
        top.children = [found]
        return top

    def _fill(self, own: Node, node: yaml.Node, fixed: str) -> None:
        """The value of an entry: its span, and what is below it."""
        own.start = node.start_mark.index
        own.end = self._end(node)
        own.style = self._style(node)
        own.fixed = fixed or (_SHARED if id(node) in self.anchored else "")
        if isinstance(node, yaml.MappingNode) and node.tag == MAP and node.value:
            if own.style == "flow" and self.text[own.start] not in "{&!":
                raise Unreadable(node.start_mark.line + 1, "a pair stands in a list without braces")
            own.leaf = False
            own.children = self._entries(node, own)
        elif isinstance(node, yaml.SequenceNode) and node.tag == SEQ and self._maps(node):
            own.leaf = False
            own.children = self._items(node, own)
            own.naming = named(own.children)
            if not own.naming:
                self._opaque(own, node)
        else:
            self._opaque(own, node)

    def _maps(self, node: yaml.Node) -> bool:
        return bool(node.value) and all(
            isinstance(item, yaml.MappingNode) and item.tag == MAP and item.value
            for item in node.value
        )

    def _opaque(self, own: Node, node: yaml.Node) -> None:
        own.leaf = True
        own.children = []
        if _shares(node, self.anchored):
            own.fixed = _SHARED
        try:
            own.value = exact(_plain(node))
        except (ValueError, TypeError):
            line = node.start_mark.line + 1
            raise Unreadable(line, "a value is too large or of no known kind") from None

    def _entries(self, node: yaml.MappingNode, own: Node) -> list[Node]:
        found = []
        for key, (key_node, value) in _pairs(node).items():
            begin = key_node.start_mark.index
            if self.text[:begin].rstrip(" ").endswith("?"):
                raise Unreadable(key_node.start_mark.line + 1, "a key is marked with ?")
            past = self._skip(key_node.end_mark.index)
            if self.text[past : past + 1] != ":":
                raise Unreadable(key_node.start_mark.line + 1, "a key has no value")
            child = Node(str(key_node.value), (key,), begin, 0, 0, past_key=past + 1)
            self._fill(child, value, own.fixed)
            if key == "<<" or id(key_node) in self.anchored:
                child.fixed = _SHARED
            child.end = max(child.end, child.past_key)
            child.start = max(child.start, child.past_key)
            found.append(child)
        return found

    def _items(self, node: yaml.SequenceNode, own: Node) -> list[Node]:
        found = []
        properties = _PROPERTIES.match(self.text, own.start)
        position = properties.end() if properties else own.start
        for index, item in enumerate(node.value):
            begin = item.start_mark.index
            if own.style == "block":
                begin = self._skip(position)
                if self.text[begin] != "-":
                    raise Unreadable(item.start_mark.line + 1, "an item is not where it should be")
            child = Node(f"[{index}]", (index,), begin, 0, 0, sort="item", past_key=begin + 1)
            self._fill(child, item, own.fixed)
            position = child.end
            found.append(child)
        return found

    def _skip(self, offset: int) -> int:
        """Past white space and comments."""
        text = self.text
        while offset < len(text):
            if text[offset] == "#" and (offset == 0 or text[offset - 1].isspace()):
                offset = text.find("\n", offset)
                if offset < 0:
                    return len(text)
            elif not text[offset].isspace():
                break
            offset += 1
        return offset

    def _style(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.CollectionNode):
            return "flow" if node.flow_style else "block"
        return "literal" if getattr(node, "style", None) in ("|", ">") else "plain"

    def _end(self, node: yaml.Node) -> int:
        """Where a node really ends: PyYAML ends blocks where the next token begins."""
        end = int(node.end_mark.index)
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return self._literal_end(int(node.start_mark.index), end)
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            if isinstance(node, yaml.SequenceNode):
                return self._end(last)
            key, value = last
            return max(self._end(value), self._skip(key.end_mark.index) + 1)
        return end

    def _literal_end(self, start: int, end: int) -> int:
        piece = self.text[start:end]
        header = piece.split("\n", 1)[0].split("#")[0]
        if "+" in header:
            return end - len("\r\n") if piece.endswith("\r\n") else end - piece.endswith("\n")
        return start + len(_TRAILING.sub("", piece))
