"""One YAML file of the application: where every scalar stands in its text, by key.

The text is never written out of a model: changes are made to the spans of single scalars, so all
other bytes stay.  What would make that unsafe is refused, with file and line.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from crossfade.configuration._edit import change
from crossfade.configuration._parsed import Change, Scalar, Value, apply, fits, refused, same
from crossfade.recipes import name_is_secret
from crossfade.recipes._yaml import FastLoader, YamlError, compose

__all__ = ["Found", "Scalar", "YamlFile", "model", "refused"]

_LARGEST = 5 * 1024 * 1024
_MOST_VALUES = 500_000
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Found:
    """A value at a key.  keys leads to it in the model; key is the same for people.

    shared says that an alias or a merge key shows the same text at other places too.
    """

    keys: tuple[object, ...]
    node: yaml.Node
    shared: bool

    @property
    def key(self) -> str:
        """The key path with dots."""
        return ".".join(str(key) for key in self.keys)

    @property
    def line(self) -> int:
        """Line in the file, from 1."""
        return int(self.node.start_mark.line) + 1

    @property
    def start(self) -> int:
        """Where it begins in the file."""
        return int(self.node.start_mark.index)

    @property
    def text(self) -> str:
        """The scalar's value."""
        return str(self.node.value)

    @property
    def is_text(self) -> bool:
        """Whether it is text to a program."""
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag == "tag:yaml.org,2002:str"

    @property
    def whole(self) -> bool:
        """Always: nothing in YAML is an expression."""
        return True


class YamlFile:
    """A parsed file; see ``ParsedFile``."""

    remark = re.compile(r"#[^\r\n]*")

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        if len(data) > _LARGEST:
            raise refused(path, 1, "it is larger than 5 MB")
        try:
            self.text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise refused(path, line, "it is not UTF-8 text") from None
        try:
            self.root = compose(self.text)
        except YamlError as error:
            reason = _plain_words(error, self.text)
            raise refused(path, error.line, reason) from None
        self._aliased: set[int] = set()
        if self.root is not None:
            _Inspection(path, self._aliased).look(self.root)

    def find(self, key: str) -> list[Found]:
        """Every value that ``key`` (dots, list indexes, ``*``, ``a|b``) leads to, if any."""
        found = [Found((), self.root, False)] if self.root is not None else []
        for part in key.split("."):
            found = [inner for outer in found for inner in self._below(outer, part)]
        return found

    def scalars(self) -> list[Scalar]:
        """Every scalar of the text in order, keys included, each once."""
        seen: set[int] = set()
        found = list(self._scalars(self.root, (), seen, False)) if self.root is not None else []
        return sorted(found, key=lambda scalar: scalar.start)

    def values(self, key: str) -> list[Any]:
        """See ``ParsedFile``."""
        return [_at(self._model, found.keys) for found in self.find(key)]

    @cached_property
    def _model(self) -> Any:
        return model(self.path, self.text)

    def change(self, found: Value, value: str | int) -> Change:
        """See ``ParsedFile``."""
        assert isinstance(found, Found)  # noqa: S101 - one of find's
        return change(self, found, value)

    def encoded(self, text: str) -> bytes:
        """In UTF-8, as all YAML that we read."""
        return text.encode()

    def spans_hold(self, changes: Sequence[Change]) -> bool:
        """See ``ParsedFile``."""
        scalars = self.scalars()
        if any(one.end > two.start for one, two in pairwise(scalars)):
            return False
        again = []
        for each in changes:
            text = self.text[each.start : each.end]
            try:
                node = compose(text)
            except YamlError:
                return False
            if node is None or node.value != each.found.text:
                return False
            again.append(Change(each.found, each.value, each.start, each.end, text))
        return apply(self.text, again) == self.text

    def becomes(self, new: YamlFile, changes: Sequence[Change]) -> bool:
        """See ``ParsedFile``."""
        return same(new._model, _decided(self._model, changes))

    def alike(self, value: Any, given: Any) -> bool:
        """Of one type too: YAML tells 1 from "1"."""
        return same(value, given)

    def _scalars(
        self, node: yaml.Node, names: tuple[str, ...], seen: set[int], is_key: bool
    ) -> Iterator[Scalar]:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            start, end = node.start_mark, node.end_mark
            shared = id(node) in self._aliased
            yield Scalar(start.index, end.index, start.line + 1, node.value, names, is_key, shared)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield from self._scalars(item, (*names, str(index)), seen, False)
        elif isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                inner = (*names, str(key_node.value))
                yield from self._scalars(key_node, inner, seen, True)
                yield from self._scalars(value, inner, seen, False)

    def _below(self, outer: Found, part: str) -> Iterator[Found]:
        node = outer.node
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                if fits(part, str(index)):
                    yield self._found(outer, index, item, False)
        elif isinstance(node, yaml.MappingNode):
            direct = set()
            for key_node, item in node.value:
                if key_node.tag != _MERGE and fits(part, key_node.value):
                    direct.add(key_node.value)
                    yield self._found(outer, _value_of(key_node), item, False)
            for key_node, item in _merged(node):
                if fits(part, key_node.value) and key_node.value not in direct:
                    direct.add(key_node.value)
                    yield self._found(outer, _value_of(key_node), item, True)

    def _found(self, outer: Found, key: object, node: yaml.Node, merged: bool) -> Found:
        shared = outer.shared or merged or id(node) in self._aliased
        return Found((*outer.keys, key), node, shared)


def model(path: Path, text: str) -> Any:
    """What a program that loads ``text`` gets, by another parser than the one that finds spans."""
    try:
        return yaml.load(text, Loader=FastLoader)  # noqa: S506  (a safe loader, in C)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = "it has a value or tag that is not plain data"
        raise refused(path, mark.line + 1 if mark else 1, reason) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise refused(path, 1, "it has a value or tag that is not plain data") from None


def _at(loaded: Any, keys: Iterable[object]) -> Any:
    for key in keys:
        loaded = loaded[key]
    return loaded


def _decided(loaded: Any, changes: Iterable[Change]) -> Any:
    result = copy.deepcopy(loaded)
    for each in changes:
        *way, last = each.found.keys
        _at(result, way)[last] = each.value
    return result


def _plain_words(error: YamlError, text: str) -> str:
    """The reason without the parser's jargon, and without what it would quote."""
    if error.text == "but found another document":
        return "it holds more than one document"
    lines = text.split("\n")
    if "\t" in lines[min(error.line, len(lines)) - 1] and "start any token" in error.text:
        return "a tab stands where YAML allows only spaces"
    return "it is no YAML that parses" if "…" in error.text else error.text


class _Inspection:
    """Refuses what hides places: duplicate keys, keys that are no plain values, endless or huge
    aliases.  Notes the nodes that an alias shows a second time, with all that is below them."""

    def __init__(self, path: Path, aliased: set[int]) -> None:
        self.path = path
        self.aliased = aliased
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def look(self, node: yaml.Node) -> int:
        """How many values a program would see below ``node``."""
        line = node.start_mark.line + 1
        if id(node) in self._open:
            raise refused(self.path, line, "an alias leads back to what contains it")
        if id(node) in self._sizes:
            self._share(node)
            return self._sizes[id(node)]
        if isinstance(node, yaml.ScalarNode) and node.tag != _MERGE:
            self._value(node, "a value is not of its type, or has a tag that is not plain data")
        self._open.add(id(node))
        size = 1
        for child in self._children(node):
            size += self.look(child)
            if size > _MOST_VALUES:
                raise refused(self.path, line, "its aliases unfold to too many values")
        self._open.discard(id(node))
        self._sizes[id(node)] = size
        return size

    def _children(self, node: yaml.Node) -> Iterator[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            yield from node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[object] = set()
            for key_node, value in node.value:
                self._key(key_node, seen)
                yield key_node
                yield value

    def _key(self, key_node: yaml.Node, seen: set[object]) -> None:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise refused(self.path, line, "a key is no plain value")
        key = _MERGE if key_node.tag == _MERGE else self._value(key_node, "a key is no plain value")
        if key != key:
            raise refused(self.path, line, "a key is no plain value")  # .nan is never found again
        if key in seen:
            name = "a key" if name_is_secret(key_node.value) else f"the key {key_node.value}"
            raise refused(self.path, line, f"{name} is there twice")
        seen.add(key)

    def _value(self, node: yaml.Node, reason: str) -> object:
        try:
            return _value_of(node)
        except (yaml.YAMLError, ValueError, KeyError, IndexError):
            raise refused(self.path, node.start_mark.line + 1, reason) from None

    def _share(self, node: yaml.Node) -> None:
        if id(node) in self.aliased:
            return
        self.aliased.add(id(node))
        for child in _children(node):
            self._share(child)


def _value_of(node: yaml.Node) -> object:
    """A scalar as a program gets it (a number, a date, text)."""
    value: object = SafeConstructor().construct_object(node)
    return value


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return []


def _merged(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """The pairs that merge keys (``<<``) bring in, the winning ones first."""
    for key_node, value in node.value:
        if key_node.tag == _MERGE:
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in sources:
                if isinstance(source, yaml.MappingNode):
                    for pair in source.value:
                        if pair[0].tag != _MERGE:
                            yield pair
                    yield from _merged(source)
