"""YAML texts as nodes with marks, and as what a program gets: two code paths of PyYAML."""

from __future__ import annotations

import re
from typing import Any

import yaml

from crossfade.merge._once import once
from crossfade.merge._types import Unreadable
from crossfade.merge.formats._values import Tagged

__all__ = ["FAST", "MAP", "SEQ", "TAG", "Alias", "below", "composed", "model"]

_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 100
_MOST_VALUES = 100_000
TAG = "tag:yaml.org,2002:"
MAP, SEQ = TAG + "map", TAG + "seq"


class FAST(_FAST):  # type: ignore[misc]  # PyYAML's own loader, in C where it was built so
    """The parser of the proof: another code path, plain data only."""


def _unknown(loader: Any, node: yaml.Node) -> Tagged:
    if isinstance(node, yaml.MappingNode):
        return Tagged((node.tag, loader.construct_mapping(node, deep=True)))
    if isinstance(node, yaml.SequenceNode):
        return Tagged((node.tag, loader.construct_sequence(node, deep=True)))
    return Tagged((node.tag, node.value))


FAST.add_constructor(None, _unknown)
for _name in ("set", "omap", "pairs"):
    FAST.add_constructor(TAG + _name, _unknown)


@once
def model(text: str) -> Any:
    """What a program gets that loads ``text``; {} for nothing.  Raises ValueError."""
    try:
        found = yaml.load(text, Loader=FAST)  # noqa: S506  (a safe loader)
    except (yaml.YAMLError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError("no YAML") from None
    return {} if found is None else found


class Alias(yaml.Node):
    """A place that shows another node; its marks are its own, its value is that node."""

    id = "alias"


_BREAK = r"(?:\r\n|[\n\r\x85\u2028\u2029])"
_COMMENT = r"(?:\#[^\0\n\r\x85\u2028\u2029]*+)?"
_BETWEEN = re.compile(rf"(?:\ *+{_COMMENT}{_BREAK})*+\ *+{_COMMENT}")
"""What may stand between two tokens."""
_BREAKS = re.compile(_BREAK)


class _Quick(yaml.SafeLoader):
    """PyYAML's own parser, which goes over comments and words in one step each, not by character:
    configuration files are comments for the most part."""

    def scan_to_next_token(self) -> None:
        if self.index == 0 and self.peek() == "\ufeff":
            super().forward()
        found = _BETWEEN.match(self.buffer, self.pointer)
        piece = found[0] if found else ""
        ends = [end.end() for end in _BREAKS.finditer(piece)]
        if "\ufeff" in piece:
            super().forward(len(piece))
        else:
            self.pointer += len(piece)
            self.index += len(piece)
            self.line += len(ends)
            self.column = len(piece) - ends[-1] if ends else self.column + len(piece)
        if ends and not self.flow_level:
            self.allow_simple_key = True

    def forward(self, length: int = 1) -> None:
        piece = self.buffer[self.pointer : self.pointer + length]
        if len(piece) < length or not piece.isprintable():  # breaks and marks count otherwise
            super().forward(length)
            return
        self.pointer += length
        self.index += length
        self.column += length


class _Composer(_Quick):
    """Notes which nodes have an anchor, and keeps the places of aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.anchored: set[int] = set()
        self._open: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            if event.anchor in self._open:
                raise Unreadable(line, "an alias leads back to what contains it")
            if event.anchor not in self.anchors:
                raise Unreadable(line, "an alias has no anchor")
            target = self.anchors[event.anchor]
            marks: Any = (event.start_mark, event.end_mark)
            return Alias(target.tag, target, *marks)
        if event.anchor is None:
            return super().compose_node(parent, index)
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        self.anchored.add(id(node))
        return node


def composed(text: str) -> tuple[yaml.Node | None, set[int]]:
    """The root node of the only document, and which nodes have an anchor.  Raises Unreadable."""
    loader = None
    try:
        _look_at_depth(text)
        loader = _Composer(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        several = error.problem == "but found another document"
        reason = "it holds more than one document" if several else "it is not YAML that parses"
        raise Unreadable(mark.line + 1 if mark else 1, reason) from None
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise Unreadable(line, "it has a character that YAML does not allow") from None
    except (ValueError, TypeError, AttributeError):
        raise Unreadable(1, "it is not YAML that parses") from None
    finally:
        if loader is not None:
            loader.dispose()
    _Sizes().look(root)
    return root, loader.anchored


def _look_at_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_FAST):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise Unreadable(_line(event), "it is nested too deeply")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


class _Sizes:
    """Refuses aliases that unfold to very much (a few lines may stand for billions of values)."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def look(self, node: yaml.Node | None) -> int:
        if node is None:
            return 0
        if id(node) not in self._known:
            size = 1
            for child in below(node):
                size += self.look(child)
            self._known[id(node)] = size
            if isinstance(node, Alias) and size > _MOST_VALUES:
                line = node.start_mark.line + 1
                raise Unreadable(line, "its aliases unfold to too many values")
        return self._known[id(node)]


def below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, Alias):
        return [node.value]
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return []
