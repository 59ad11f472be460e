"""YAML read as nodes: every value with its place in the text, nothing constructed but plain data.

Used for recipes, for the manifest, and (by ``crossfade.configuration``) for the application's own
files.  What PyYAML says about broken text may quote a piece of it, and that piece may be a secret,
so such quotations are taken out before anybody sees them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

__all__ = [
    "Complaint",
    "Document",
    "FastLoader",
    "Keys",
    "YamlError",
    "compose",
    "dotted",
    "read",
    "scalar",
]

FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader in C where PyYAML was built with it."""

Keys = tuple[str | int, ...]
"""The way from the root of a document to a value: names of keys and indexes of lists."""

_QUOTED = re.compile(r"""(['"]).{2,}\1""", re.DOTALL)
_UNDEFINED = re.compile(r"(undefined alias|duplicate anchor).*", re.DOTALL)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")}
_STRING_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value")}
_DEEPEST = 100
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong: line (from 1), key path, what it is, and perhaps the right key."""

    line: int
    key: str
    text: str
    suggestion: str = ""

    def shown(self, name: str) -> str:
        """One line for the operator, ``name`` being the file's name."""
        key = f" {self.key}" if self.key else ""
        if self.suggestion:
            return f"{name}:{self.line}{key} (did you mean {self.suggestion}?)"
        return f"{name}:{self.line}{key}: {self.text}"


class YamlError(Exception):
    """Text that is not usable YAML; ``line`` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass(slots=True)
class Document:
    """Plain data and where each value stands.

    raw has the text of each scalar as written (``1.10`` stays ``1.10``); lines is the line of each
    value, key_lines the line of its key; complaints are what cannot be plain data.
    """

    data: object = None
    raw: dict[Keys, str] = field(default_factory=dict)
    lines: dict[Keys, int] = field(default_factory=dict)
    key_lines: dict[Keys, int] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)

    def line(self, keys: Keys) -> int:
        """The line of the value at ``keys``, or of the nearest thing around it."""
        while keys not in self.lines and keys:
            keys = keys[:-1]
        return self.lines.get(keys, 1)


def dotted(keys: Keys) -> str:
    """``checks.0.path`` for people."""
    return ".".join(str(key) for key in keys)


def compose(text: str, *, fast: bool = False) -> yaml.Node | None:
    """The root node of the only document in ``text``; None when there is none.

    ``fast`` takes the C parser where there is one (a tenth of the time).  Raises YamlError.
    """
    loader = None
    try:
        _look_at_depth(text)
        loader = (FastLoader if fast else yaml.SafeLoader)(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise YamlError(line, _discreet(error.problem or "not YAML")) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        raise YamlError(line, "a character that YAML does not allow") from None
    finally:
        if loader is not None:
            loader.dispose()


def scalar(node: yaml.Node) -> object:
    """The value of a scalar node as plain data.  Raises YamlError."""
    line = node.start_mark.line + 1
    if node.tag in _STRING_TAGS:
        return node.value
    if node.tag not in _PLAIN_TAGS:
        raise YamlError(line, "a tag that has no meaning here")
    try:
        value: object = SafeConstructor().construct_object(node)
    except (ConstructorError, ValueError, KeyError, IndexError):
        raise YamlError(line, "not a value of its type") from None
    return value


def read(text: str) -> Document:
    """Plain data of a file of ours.  Aliases and merge keys are refused: they hide places.

    Raises YamlError for broken text; other trouble is in the document's complaints.
    """
    document = Document()
    node = compose(text, fast=True)
    if node is not None:
        document.data = _plain(node, (), document, set())
    return document


def _look_at_depth(text: str) -> None:
    """Composing is recursive, and in C it has no limit but the end of the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=FastLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise YamlError(
                event.start_mark.line + 1 if event.start_mark else 1, "nested too deeply"
            )


def _discreet(problem: str) -> str:
    return _QUOTED.sub("…", _UNDEFINED.sub(r"\1", problem))


def _plain(node: yaml.Node, keys: Keys, document: Document, seen: set[int]) -> object:
    if id(node) in seen:  # an alias is the same node at a second place
        raise YamlError(node.start_mark.line + 1, "aliases (*name) are not supported here")
    seen.add(id(node))
    document.lines[keys] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, keys, document, seen)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*keys, i), document, seen) for i, item in enumerate(node.value)]
    document.raw[keys] = str(node.value)
    try:
        value = scalar(node)
    except YamlError as error:
        document.complaints.append(Complaint(error.line, dotted(keys), error.text))
        return None
    if isinstance(value, float) and not math.isfinite(value):
        line = document.lines[keys]
        document.complaints.append(Complaint(line, dotted(keys), "is not a finite number"))
        return None
    return value


def _mapping(
    node: yaml.MappingNode, keys: Keys, document: Document, seen: set[int]
) -> dict[str, object]:
    found: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
            document.complaints.append(Complaint(line, dotted(keys), "has a key that is no word"))
            continue
        inner = (*keys, str(key_node.value))
        if key_node.value in found:
            first = document.key_lines[inner]
            text = f"is there twice (first in line {first})"
            document.complaints.append(Complaint(line, dotted(inner), text))
            continue
        document.key_lines[inner] = line
        found[key_node.value] = _plain(value_node, inner, document, seen)
    return found
