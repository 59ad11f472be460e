"""Entries that stand on lines of their own: YAML's blocks, statements, TOML's keys."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.merge._types import Document, Unreadable
from crossfade.merge.formats._brackets import begins_line, line_start, line_stop
from crossfade.merge.formats._tree import Lines, Node
from crossfade.merge.formats._tree_edit import Place, Splice, line_end

__all__ = ["above", "in_lines", "removed_lines"]


def in_lines(
    document: Document, place: Place, margin: str, piece: str, comments: Sequence[str]
) -> Splice:
    """``piece`` as a new entry on lines of its own, indented by ``margin``."""
    text, newline = document.text, line_end(document.text)
    block = newline.join([*(margin + line for line in comments), margin + piece])
    begin = len(block) - len(piece)
    if place.twin is not None or place.after is not None:
        end = place.twin.end if place.twin is not None else _stop(text, place.after)
        return Splice(end, end, newline + block, at=len(newline) + begin)
    if place.before is not None:
        if not begins_line(text, place.before.begin):
            start = place.before.begin
            return Splice(start, start, f"{piece}{newline}{margin}")
        start = above(text, place.before.begin)
        return Splice(start, start, block + newline, at=begin)
    end = len(text)
    if text and not text.endswith("\n") and text != "\ufeff":
        return Splice(end, end, newline + block, at=len(newline) + begin)
    return Splice(end, end, block + newline, at=begin)


def _stop(text: str, node: Node | None) -> int:
    return line_stop(text, node.last) if node is not None else len(text)


def above(text: str, offset: int) -> int:
    """The start of the comment lines directly above, but for those that the text begins with."""
    start = first = line_start(text, offset)
    while start > 1:
        above = line_start(text, start - 1)
        if not text[above:start].strip().startswith("#"):
            return start
        start = above
    return first if start != first else start


def removed_lines(document: Document, node: Node, nodes: Sequence[Node]) -> Splice:
    """An entry of a block with its lines; the first one of an item gives its place to the next."""
    text = document.text
    if not begins_line(text, node.begin):
        family = node.parent.children if node.parent is not None else []
        stay = [one for one in family if not any(one is gone for gone in nodes)]
        if not stay:
            raise Unreadable(Lines(text).number(node.begin), "it cannot be taken out of its line")
        after = next(iter(family[family.index(node) + 1 :]), None)
        if after is None:
            raise Unreadable(Lines(text).number(node.begin), "it shares its line with others")
        return Splice(node.begin, after.begin, "")
    start = line_start(text, node.begin)
    stop = text.find("\n", node.last)
    if stop >= 0:
        return Splice(start, stop + 1, "")
    if start > 1:
        start -= 2 if text[start - 2 : start] == "\r\n" else 1
    return Splice(start, len(text), "")
