"""Python settings: ``NAME = value``, read by ``ast`` and never run."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping, Sequence

from crossfade.merge._once import once
from crossfade.merge._types import Commented, Document, Drop, Edit, Path, Unreadable
from crossfade.merge.formats import _tree_edit
from crossfade.merge.formats._brackets import (
    comments_above,
    in_brackets,
    indent,
    line_stop,
    removed_from_brackets,
    shifted,
)
from crossfade.merge.formats._lined import in_lines, removed_lines
from crossfade.merge.formats._python_model import model
from crossfade.merge.formats._python_nodes import bindings, bound, parsed, tree_of
from crossfade.merge.formats._tree import Lines, Node, Twin, aligned, document_of, leaves
from crossfade.merge.formats._tree_edit import Place, Splice, line_end
from crossfade.merge.formats._tree_proof import mismatch
from crossfade.merge.formats._values import Tagged, exact

__all__ = ["Python"]

_COMMENTED = re.compile(r"^#[ \t]?([A-Za-z_]\w*)[ \t]*=(?!=)[ \t]*(\S[^\r\n]*)", re.MULTILINE)
_LONGEST = 60


class Python:
    """Settings of a Python module: names that are set once, and what dicts have below them."""

    name = "python"

    def claims(self, name: str, text: str) -> int:
        """By its ending, if it parses."""
        if not name.lower().endswith(".py"):
            return 0
        try:
            parsed(text)
        except Unreadable:
            return 1
        return 3

    @once
    def read(self, text: str) -> Document:
        """The settings of a text, as ``Format.read`` has it."""
        root, apart = tree_of(text)
        commented, twins = _commented(text, root)
        return document_of(self.name, text, root, twins, commented, apart)

    def aligned(self, document: Document, reference: Document) -> Document:
        """Lists of dicts whose identity was changed, as ``Format.aligned`` has it."""
        return aligned(document, reference)

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The text with the edits, as ``Format.edited`` has it."""
        return _tree_edit.edited(self, document, edits)

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """By another walk over the statements, as ``Format.mismatch`` has it."""
        wrong = mismatch(model, before, after, edits)
        if wrong is not None:
            return wrong
        gone = {edit.path[0] for edit in edits if isinstance(edit, Drop)}
        module = parsed(after)
        gone -= bindings(after).keys()
        names = [one for one in ast.walk(module) if isinstance(one, ast.Name)]
        if gone & {one.id for one in names if isinstance(one.ctx, ast.Load)}:
            return "a name is used that is taken out"
        return None

    def carried(self, document: Document, node: Node, source: Document, origin: Node) -> Splice:
        _names_known(document, node, node.start, origin)
        raw = source.text[origin.start : origin.end]
        gap = "" if document.text[node.start - 1].isspace() else " "
        return Splice(node.start, node.end, gap + _moved(document, node, source, origin, raw))

    def spelled(self, document: Document, node: Node, value: object) -> str:
        text = _spelled(value, document.text[node.start : node.end])
        if exact(ast.literal_eval(text)) != exact(value):
            raise ValueError("no literal")
        return text

    def inserted(self, document: Document, place: Place, source: Document, origin: Node) -> Splice:
        raw = source.text[origin.begin : origin.last]
        comments = comments_above(document, source, origin)
        beside = place.after or place.before
        at = place.twin.end if place.twin is not None else beside.last if beside is not None else 0
        _names_known(document, beside or place.container, at, origin)
        if place.container.style == "flow":
            moved = _moved(document, beside or place.container, source, origin, raw)
            splice = in_brackets(document, place, moved, comments)
        else:
            piece = raw.replace("\r\n", "\n").replace("\n", line_end(document.text))
            splice = in_lines(document, place, "", piece, comments)
        splice.brings = origin
        return splice

    def removed(self, document: Document, nodes: Sequence[Node]) -> list[Splice]:
        parent = nodes[0].parent
        if parent is not None and parent.style == "flow":
            return removed_from_brackets(document, nodes)
        return [removed_lines(document, node, nodes) for node in nodes]


def _moved(document: Document, node: Node, source: Document, origin: Node, raw: str) -> str:
    newline = line_end(document.text)
    by = len(indent(document.text, node.begin)) - len(indent(source.text, origin.begin))
    quoted = '"""' in raw or "'''" in raw
    try:
        return shifted(raw, 0 if quoted else by, newline)
    except ValueError:
        return shifted(raw, 0, newline)


def _names_known(document: Document, node: Node, at: int, origin: Node) -> None:
    """Raises Unreadable where an expression uses a name that is not bound before ``at``."""
    expressions = [leaf.extra for leaf in leaves(origin) if isinstance(leaf.value, Tagged)]
    used: set[str] = set()
    for expression in expressions:
        if isinstance(expression, ast.expr):
            names = [one for one in ast.walk(expression) if isinstance(one, ast.Name)]
            own = {one.id for one in names if not isinstance(one.ctx, ast.Load)}
            own |= {one.arg for one in ast.walk(expression) if isinstance(one, ast.arg)}
            used |= {one.id for one in names} - own
    if not used:
        return
    number = Lines(document.text).number
    known = {name for name, line in bound(parsed(document.text)) if line < number(at)}
    if used - known - set(dir(builtins)) - {"__file__", "__name__"}:
        raise Unreadable(number(node.begin), "an expression uses a name that is not known there")


def _spelled(value: object, raw: str) -> str:
    if isinstance(value, tuple | list):
        quote = next((sign for sign in raw if sign in "\"'"), "")
        words = [_spelled(item, quote) for item in value]
        return "[" + ", ".join(words) + "]"
    if isinstance(value, str):
        text = repr(value)
        if raw[:1] == '"' and text[0] == "'":
            text = '"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
        return text
    if value is None or isinstance(value, bool | int | float | bytes):
        return repr(value)
    raise ValueError("no literal")


def _commented(text: str, root: Node) -> tuple[dict[Path, Commented], dict[Path, Twin]]:
    """Statements that stand in comments, by their names."""
    found: dict[Path, Commented] = {}
    twins: dict[Path, Twin] = {}
    on: Mapping[str, Node] = {child.name: child for child in root.children}
    lines = Lines(text)
    spans = [(child.begin, child.last) for child in root.children]
    for match in _COMMENTED.finditer(text):
        path = (match[1],)
        inside = any(begin < match.start() < end for begin, end in spans)
        if match[1] in on or path in found or inside:
            continue
        end = _end_of(text, match.start())
        if end >= 0:
            raw = match[2].rstrip()
            found[path] = Commented(path, raw, lines.number(match.start()))
            twins[path] = Twin(match.start(), end, 0)
    return found, twins


def _end_of(text: str, start: int) -> int:
    """Where a statement in comments ends; -1 when it is none."""
    position = start
    statement = ""
    for _ in range(_LONGEST):
        stop = line_stop(text, position)
        line = text[position:stop]
        if not line.startswith("#"):
            return -1
        statement += (line[2:] if line.startswith("# ") else line[1:]) + "\n"
        try:
            parsed(statement)
        except Unreadable:
            position = text.find("\n", stop) + 1
            if position == 0:
                return -1
        else:
            return stop
    return -1
