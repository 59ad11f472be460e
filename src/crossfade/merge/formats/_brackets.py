"""Entries between brackets, parted by commas: JSON, YAML's flow style, Python's and TOML's."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.merge._types import Document
from crossfade.merge.formats._tree import Node, Tree
from crossfade.merge.formats._tree_edit import Place, Splice, line_end

__all__ = [
    "begins_line",
    "column",
    "comments_above",
    "in_brackets",
    "indent",
    "line_start",
    "line_stop",
    "removed_from_brackets",
    "shifted",
]


def line_start(text: str, offset: int) -> int:
    """Where the line of ``offset`` begins; a byte order mark is before it."""
    start = text.rfind("\n", 0, offset) + 1
    return start + 1 if start == 0 and text.startswith("\ufeff") else start


def line_stop(text: str, offset: int) -> int:
    """Where the line of ``offset`` ends, before its line end."""
    stop = text.find("\n", offset)
    stop = len(text) if stop < 0 else stop
    return stop - 1 if stop > offset and text[stop - 1] == "\r" else stop


def column(text: str, offset: int) -> int:
    """How many characters stand before ``offset`` in its line."""
    return offset - line_start(text, offset)


def indent(text: str, offset: int) -> str:
    """The white space that the line of ``offset`` begins with."""
    start = line_start(text, offset)
    line = text[start : line_stop(text, offset)]
    return line[: len(line) - len(line.lstrip(" \t"))]


def begins_line(text: str, offset: int) -> bool:
    """Whether only white space stands before ``offset`` in its line."""
    return not text[line_start(text, offset) : offset].strip(" \t")


def shifted(piece: str, by: int, newline: str) -> str:
    """``piece`` with all lines but the first moved to the right (to the left, when negative).

    Raises ValueError where a line cannot be moved so far to the left.
    """
    lines = piece.replace("\r\n", "\n").split("\n")
    moved = lines[:1]
    for line in lines[1:]:
        if not line.strip() or by == 0:
            moved.append(line if by >= 0 or not line else line[-by:])
        elif by > 0:
            moved.append(" " * by + line)
        elif line.startswith(" " * -by):
            moved.append(line[-by:])
        elif line.lstrip().startswith("#"):
            moved.append(line.lstrip())
        else:
            raise ValueError("a line stands too far to the left")
    return newline.join(moved)


def comments_above(
    document: Document, source: Document, origin: Node, mark: str = "#"
) -> list[str]:
    """The comment lines directly above an entry of the source, without their indentation, as far
    as the document has them not already."""
    text = source.text
    if not begins_line(text, origin.begin):
        return []
    known = {line.strip() for line in document.text.splitlines()}
    tree: Tree = source.private
    own = tree.twins.get(origin.path)
    found: list[str] = []
    start = line_start(text, origin.begin)
    while start > 0:
        stop = start - 1
        start = line_start(text, stop)
        line = text[start:stop].strip()
        if not line.startswith(mark) or (line in known and line != mark):
            break
        if line.startswith("#!") or (own is not None and own.begin <= start <= own.end):
            break
        found.insert(0, line)
        if start == 1:
            break
    while found and found[0] == mark:
        found.pop(0)
    return found


def _comma(text: str, offset: int, limit: int) -> int:
    """Where the comma after an entry is; -1 when there is none."""
    while offset < limit:
        if text[offset] == ",":
            return offset
        if text[offset] == "#":
            offset = line_stop(text, offset)
        elif text[offset].isspace() or text[offset] == "\\":
            offset += 1
        else:
            break
    return -1


def _limit(node: Node) -> int:
    return node.parent.end if node.parent is not None else node.last


def in_brackets(document: Document, place: Place, piece: str, comments: Sequence[str]) -> Splice:
    """``piece`` as a new entry between brackets, laid out like its neighbours."""
    text, newline = document.text, line_end(document.text)
    beside = place.after or place.before
    if beside is None:
        return _first(document, place.container, piece)
    if not begins_line(text, beside.begin):
        return _in_line(text, place, beside, piece)
    margin = indent(text, beside.begin)
    block = newline.join([*(margin + line for line in comments), margin + piece])
    if place.before is not None:
        at = line_start(text, beside.begin)
        return Splice(at, at, f"{block},{newline}", at=len(block) - len(piece))
    comma = _comma(text, beside.last, _limit(beside))
    if comma < 0:
        put = f",{newline}{block}"
        return Splice(beside.last, beside.last, put, at=len(put) - len(piece))
    rest = text[comma + 1 : line_stop(text, comma)].strip()
    at = line_stop(text, comma) if not rest or rest.startswith("#") else comma + 1
    put = newline + block
    return Splice(at, at, put + ",", at=len(put) - len(piece))


def _in_line(text: str, place: Place, beside: Node, piece: str) -> Splice:
    comma = _comma(text, beside.last, _limit(beside))
    space = " " if comma < 0 or text[comma + 1 : comma + 2].isspace() else ""
    if place.before is not None:
        return Splice(beside.begin, beside.begin, f"{piece},{space}")
    if comma < 0:
        return Splice(beside.last, beside.last, f", {piece}", at=2)
    return Splice(comma + 1, comma + 1, f"{space}{piece},", at=len(space))


def _first(document: Document, container: Node, piece: str) -> Splice:
    text, newline = document.text, line_end(document.text)
    at = container.start + 1
    if "\n" not in text[at : container.end]:
        return Splice(at, at, piece)
    before = f"{newline}{indent(text, container.start)}  "
    return Splice(at, at, before + piece, at=len(before))


def removed_from_brackets(document: Document, nodes: Sequence[Node]) -> list[Splice]:
    """Entries of one pair of brackets taken out, each with its comma."""
    text = document.text
    parent = nodes[0].parent
    family = parent.children if parent is not None else []
    stay = [node for node in family if not any(node is one for one in nodes)]
    splices = []
    dangling = False
    for node in nodes:
        comma = _comma(text, node.last, _limit(node))
        dangling = dangling or (comma < 0 and node is family[-1])
        splices.append(_taken(text, node, comma))
    if dangling and stay:
        comma = _comma(text, stay[-1].last, _limit(stay[-1]))
        if comma >= 0:
            splices.append(_comma_of_last(text, comma, splices))
    return splices


def _comma_of_last(text: str, comma: int, splices: list[Splice]) -> Splice:
    stop = comma + 1
    following = min((splice.start for splice in splices if splice.start > comma), default=stop)
    gap = text[stop:following]
    return Splice(comma, following if gap and not gap.strip(" ") else stop, "")


def _taken(text: str, node: Node, comma: int) -> Splice:
    end = comma + 1 if comma >= 0 else node.last
    rest = text[end : line_stop(text, end)].strip()
    if begins_line(text, node.begin) and (not rest or rest.startswith("#")):
        stop = text.find("\n", end)
        stop = len(text) if stop < 0 else stop + 1
        return Splice(line_start(text, node.begin), stop, "")
    if comma >= 0:
        while end < len(text) and text[end] in " \t":
            end += 1
    return Splice(node.begin, end, "")
