"""YAML: values are carried as they are written, moved to the depth where they go."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossfade.merge._once import once
from crossfade.merge._types import Document, Edit, Unreadable
from crossfade.merge.formats import _tree_edit
from crossfade.merge.formats._brackets import (
    column,
    comments_above,
    in_brackets,
    indent,
    line_stop,
    removed_from_brackets,
    shifted,
)
from crossfade.merge.formats._lined import in_lines, removed_lines
from crossfade.merge.formats._tree import Lines, Node, aligned, document_of
from crossfade.merge.formats._tree_edit import Place, Splice, line_end
from crossfade.merge.formats._tree_proof import mismatch
from crossfade.merge.formats._yaml_comments import commented_in
from crossfade.merge.formats._yaml_compose import model
from crossfade.merge.formats._yaml_nodes import tree_of
from crossfade.merge.formats._yaml_write import spelled

__all__ = ["Yaml"]

_BLOCKS = ("block", "literal")
_NESTED = re.compile(
    r"^[\w.-]+:[ \t]*\r?\n(?:[ \t]*(?:#.*)?\r?\n)*[ ]+[\w.\"'-]+:[ \t\r\n]", re.MULTILINE
)


class Yaml:
    """YAML 1.1 as PyYAML has it: one document a file, no pairs without braces in lists."""

    name = "yaml"

    def claims(self, name: str, text: str) -> int:
        """By its ending; by content only where a block stands below a key."""
        if not name.lower().endswith((".yml", ".yaml")) and not _NESTED.search(text):
            return 0
        try:
            found = model(text)
        except (ValueError, RecursionError):
            return 1 if name.lower().endswith((".yml", ".yaml")) else 0
        return 2 if isinstance(found, dict | list) else 0

    @once
    def read(self, text: str) -> Document:
        """The settings of a text, as ``Format.read`` has it."""
        root = tree_of(text)
        bare = document_of(self.name, text, root)
        commented, twins = commented_in(text, root, bare.private.nodes)
        return document_of(self.name, text, root, twins, commented)

    def aligned(self, document: Document, reference: Document) -> Document:
        """Lists of maps whose identity was changed, as ``Format.aligned`` has it."""
        return aligned(document, reference)

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The text with the edits, as ``Format.edited`` has it."""
        return _tree_edit.edited(self, document, edits)

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """By the loader in C, as ``Format.mismatch`` has it."""
        return mismatch(model, before, after, edits)

    def spelled(self, document: Document, node: Node, value: object) -> str:
        return spelled(document, node, value)

    def carried(self, document: Document, node: Node, source: Document, origin: Node) -> Splice:
        text, other = document.text, source.text
        raw = other[origin.start : origin.end]
        inside = node.parent is not None and node.parent.style == "flow"
        if inside and (origin.style in _BLOCKS or "#" in raw):
            raise _refused(document, node, "a block cannot stand between brackets")
        by = _base(document, node) - _base(source, origin)
        if node.style == "block" and origin.style == "block":
            by = column(text, node.start) - column(other, origin.start)
        try:
            if node.style == origin.style or not {node.style, origin.style} & set(_BLOCKS):
                return _same_style(document, node, shifted(raw, by, line_end(text)), raw)
            return _other_style(document, node, source, origin, by)
        except ValueError:
            raise _refused(document, node, "a value cannot be moved to another depth") from None

    def inserted(self, document: Document, place: Place, source: Document, origin: Node) -> Splice:
        container = place.container
        raw = source.text[origin.begin : origin.last]
        flow = origin.parent is not None and origin.parent.style == "flow"
        comments = comments_above(document, source, origin)
        node = place.after or place.before or container
        if container.style == "flow":
            if not flow and (origin.style in _BLOCKS or origin.sort):
                raise _refused(document, node, "a block cannot stand between brackets")
            return _brought(in_brackets(document, place, raw, ()), origin)
        at = _column(document, place)
        if flow and origin.sort:
            raw = "- " + raw
        by = at - (len(indent(source.text, origin.begin)) if flow else _base(source, origin))
        try:
            piece = shifted(raw, by, line_end(document.text))
        except ValueError:
            raise _refused(document, node, "a value cannot be moved to another depth") from None
        return _brought(in_lines(document, place, " " * at, piece, comments), origin)

    def removed(self, document: Document, nodes: Sequence[Node]) -> list[Splice]:
        parent = nodes[0].parent
        if parent is not None and parent.style == "flow":
            return removed_from_brackets(document, nodes)
        return [removed_lines(document, node, nodes) for node in nodes]


def _refused(document: Document, node: Node, reason: str) -> Unreadable:
    return Unreadable(Lines(document.text).number(node.begin), reason)


def _brought(splice: Splice, origin: Node) -> Splice:
    splice.brings = origin
    return splice


def _base(document: Document, node: Node) -> int:
    """The column that the lines of an entry are indented from."""
    if node.parent is not None and node.parent.style == "flow":
        return len(indent(document.text, node.begin))
    return column(document.text, node.begin)


def _same_style(document: Document, node: Node, moved: str, raw: str) -> Splice:
    text = document.text
    if node.start == node.end and raw:
        gap = "" if text[node.start - 1 : node.start] in ("", " ") else " "
        return Splice(node.start, node.end, gap + moved)
    if not raw:
        return Splice(max(node.past_key, node.start - 1), node.end, "")
    return Splice(node.start, node.end, moved)


def _other_style(document: Document, node: Node, source: Document, origin: Node, by: int) -> Splice:
    """A block instead of what stands on the key's line, or the other way round."""
    text, newline = document.text, line_end(document.text)
    if node.style not in _BLOCKS:
        moved = shifted(source.text[origin.past_key : origin.end], by, newline)
        stop = line_stop(text, node.end)
        tail = text[node.end : stop]
        first, more, rest = moved.partition(newline)
        return Splice(node.past_key, stop, first + tail + more + rest)
    start = text[node.past_key : node.start].split("\n")[0].rstrip()
    if origin.style in _BLOCKS:
        moved = shifted(source.text[origin.past_key : origin.end], by, newline)
        return Splice(node.past_key, node.end, moved)
    moved = shifted(source.text[origin.start : origin.end], by, newline)
    comment = " " + start.strip() if start.strip().startswith("#") else ""
    return Splice(node.past_key, node.end, (" " + moved if moved else "") + comment)


def _column(document: Document, place: Place) -> int:
    """The column of a new entry of a block."""
    if place.container.children:
        return column(document.text, place.container.children[0].begin)
    return max(place.twin.column, 0) if place.twin is not None else 0
