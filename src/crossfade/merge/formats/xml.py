"""XML: attributes and texts by the elements around them, spans from expat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from crossfade.merge._once import once
from crossfade.merge._types import Commented, Document, Edit, Path, Unreadable
from crossfade.merge.formats import _tree_edit
from crossfade.merge.formats._brackets import begins_line, indent, line_start, line_stop
from crossfade.merge.formats._tree import Lines, Node, Tree, Twin, aligned, document_of, leaves
from crossfade.merge.formats._tree_edit import Place, Splice, line_end
from crossfade.merge.formats._tree_proof import mismatch
from crossfade.merge.formats._values import exact
from crossfade.merge.formats._xml_model import model
from crossfade.merge.formats._xml_nodes import Comment, Element, parsed, tree_of

__all__ = ["Xml"]

_WORDY = ("text", "opaque", "group")
_ONLY_COMMENTS = re.compile(r"[ \t]*(<!--.*-->[ \t]*)?")


class Xml:
    """XML without entities of its own."""

    name = "xml"

    def claims(self, name: str, text: str) -> int:
        """By how it begins, if it parses."""
        named = name.lower().endswith(".xml")
        if text.lstrip("\ufeff \t\r\n")[:2] not in ("<?", "<!") and not re.match(
            r"\ufeff?\s*<[A-Za-z]", text
        ):
            return int(named)
        try:
            parsed(text)
        except Unreadable:
            return int(named)
        return 3

    @once
    def read(self, text: str) -> Document:
        """The settings of a text, as ``Format.read`` has it."""
        top = parsed(text)
        root = tree_of(text, top)
        bare: Tree = document_of(self.name, text, root).private
        commented, twins = _commented(text, root, bare.nodes)
        return document_of(self.name, text, root, twins, commented)

    def aligned(self, document: Document, reference: Document) -> Document:
        """Elements whose identity was changed, as ``Format.aligned`` has it."""
        return aligned(document, reference)

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The text with the edits, as ``Format.edited`` has it."""
        return _tree_edit.edited(self, document, edits)

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """By the standard library's documents, as ``Format.mismatch`` has it."""
        return mismatch(model, before, after, edits, _worded)

    def carried(self, document: Document, node: Node, source: Document, origin: Node) -> Splice:
        newline = line_end(document.text)
        if node.style == origin.style and node.style in ("attribute", "text"):
            raw = source.text[origin.start : origin.end].replace("\r\n", "\n")
            return Splice(node.start, node.end, raw.replace("\n", newline))
        moved = _moved(source.text, origin, indent(document.text, node.begin), newline)
        return Splice(node.begin, node.last, moved)

    def spelled(self, document: Document, node: Node, value: object) -> str:
        raw = document.text[node.start : node.end]
        text = _worded(value)
        if node.value == text or node.value == value:
            return raw
        if not isinstance(text, str) or node.style not in ("attribute", "text"):
            raise ValueError("not one value")
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        escaped = escaped.replace("\r", "&#13;")
        if node.style == "text":
            return escaped
        for sign, name in (("\n", "&#10;"), ("\t", "&#9;"), ('"', "&quot;"), ("'", "&apos;")):
            if sign not in "\"'" or sign == raw[0]:
                escaped = escaped.replace(sign, name)
        return raw[0] + escaped + raw[0]

    def inserted(self, document: Document, place: Place, source: Document, origin: Node) -> Splice:
        raw = source.text[origin.begin : origin.last]
        if origin.kin == "@":
            splice = _new_attribute(document, place, raw, "\n" in _gap(source.text, origin.begin))
        elif origin.kin == "text":
            splice = _inside(document, place.container, raw, "", "")
        else:
            splice = _new_element(document, place, source, origin)
        splice.brings = origin
        return splice

    def removed(self, document: Document, nodes: Sequence[Node]) -> list[Splice]:
        return [_removed(document.text, node) for node in nodes]


def _worded(value: object) -> object:
    """A value as XML has it: text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else exact(value)


def _moved(source: str, origin: Node, margin: str, newline: str) -> str:
    """The text of a source's entry, its lines after the first indented from ``margin``; lines that
    are text of an element, or in a comment, stay as they are."""
    theirs = indent(source, origin.begin)
    kept = [(one.begin, one.last) for one in leaves(origin) if one.style in _WORDY]
    pieces = [source[origin.begin : origin.last].replace("\r\n", "\n").split("\n")[0]]
    start = source.find("\n", origin.begin, origin.last) + 1
    while start > 0:
        stop = source.find("\n", start, origin.last)
        line = source[start : stop if stop >= 0 else origin.last].removesuffix("\r")
        inside = any(begin < start <= end for begin, end in kept)
        if line.startswith(theirs) and not inside:
            line = margin + line[len(theirs) :]
        pieces.append(line)
        start = stop + 1
    return newline.join(pieces)


def _note_moved(note: str, margin: str, theirs: str, newline: str) -> str:
    first, *lines = note.replace("\r\n", "\n").split("\n")
    return newline.join(
        [first, *(margin + one[len(theirs) :] if one.startswith(theirs) else one for one in lines)]
    )


def _gap(text: str, offset: int) -> str:
    """The white space before ``offset``."""
    before = text[:offset]
    return before[len(before.rstrip()) :]


def _new_attribute(document: Document, place: Place, raw: str, apart: bool) -> Splice:
    text = document.text
    raw = raw.replace("\r\n", "\n").replace("\n", line_end(text))
    if place.after is not None:
        family = [one for one in place.container.children if one.kin == "@"]
        gaps = [_gap(text, one.begin) for one in (place.after, *(family if apart else ()))]
        gap = next((one for one in gaps if "\n" in one), " ")
        return Splice(place.after.end, place.after.end, gap + raw, at=len(gap))
    if place.before is not None:
        return Splice(place.before.begin, place.before.begin, raw + " ")
    element: Element = place.container.extra
    at = element.begin + 1 + len(element.tag)
    return Splice(at, at, " " + raw, at=1)


def _inside(document: Document, container: Node, piece: str, before: str, after: str) -> Splice:
    """``piece`` as the only thing in an element."""
    element: Element = container.extra
    text = document.text
    if text[element.inner - 2 : element.inner] != "/>":
        return Splice(element.inner, element.inner, before + piece + after, at=len(before))
    start = len(text[: element.inner - 2].rstrip())
    put = f">{before}{piece}{after}</{element.tag}>"
    return Splice(start, element.inner, put, at=1 + len(before))


def _new_element(document: Document, place: Place, source: Document, origin: Node) -> Splice:
    text, newline = document.text, line_end(document.text)
    notes = _notes_above(document, source, origin)
    at = place.twin.begin if place.twin is not None else None
    beside = place.after or place.before
    at = beside.begin if at is None and beside is not None else at
    if at is None:
        return _only_element(document, place, source, origin, notes)
    margin = indent(text, at)
    pieces = _pieces(source, origin, notes, margin, newline)
    block = (newline + margin).join(pieces)
    begin = len(block) - len(pieces[-1])
    if place.twin is None and place.before is not None:
        start = place.before.begin
        return Splice(start, start, block + newline + margin, at=begin)
    end = place.twin.end if place.twin is not None else (place.after.last if place.after else at)
    stop = line_stop(text, end)
    end = stop if _ONLY_COMMENTS.fullmatch(text[end:stop]) else end
    lead = newline + margin
    return Splice(end, end, lead + block, at=len(lead) + begin)


def _pieces(
    source: Document, origin: Node, notes: list[str], margin: str, newline: str
) -> list[str]:
    theirs = indent(source.text, origin.begin)
    moved = [_note_moved(note, margin, theirs, newline) for note in notes]
    return [*moved, _moved(source.text, origin, margin, newline)]


def _only_element(
    document: Document, place: Place, source: Document, origin: Node, notes: list[str]
) -> Splice:
    text, newline = document.text, line_end(document.text)
    element: Element = place.container.extra
    outer = indent(text, element.begin)
    margin = outer + ("\t" if "\t" in outer else "  ")
    pieces = _pieces(source, origin, notes, margin, newline)
    block = (newline + margin).join(pieces)
    if element.notes and text[element.inner - 2 : element.inner] != "/>":
        last = element.notes[-1].end
        lead = newline + margin
        put = lead + block
        return Splice(last, last, put, at=len(put) - len(pieces[-1]))
    empty = text[element.inner - 2 : element.inner] == "/>"
    spread = not empty and "\n" in text[element.inner : element.close]
    after = "" if spread else newline + outer
    splice = _inside(document, place.container, block, newline + margin, after)
    splice.at += len(block) - len(pieces[-1])
    return splice


def _notes_above(document: Document, source: Document, origin: Node) -> list[str]:
    """The comments directly above an element of the source, as far as the document has them not;
    not those that hold an element that is left off."""
    found: list[str] = []
    parent = origin.parent.extra if origin.parent is not None else None
    if not isinstance(parent, Element) or origin.kin != "<":
        return found
    begin = origin.begin
    known = " ".join(document.text.split())
    for note in reversed(parent.notes):
        if note.end > begin:
            continue
        gap = source.text[note.end : begin]
        raw = source.text[note.begin : note.end]
        if gap.strip() or gap.count("\n") > 1 or note.text is None:
            break
        if not begins_line(source.text, note.begin) or _elements_in(note) is not None:
            break
        if " ".join(raw.split()) in known:
            break
        found.insert(0, raw)
        begin = note.begin
    return found


def _removed(text: str, node: Node) -> Splice:
    if node.kin == "@":
        return Splice(node.begin - len(_gap(text, node.begin)), node.end, "")
    if node.kin == "text":
        return Splice(node.start, node.end, "")
    stop = line_stop(text, node.last)
    if begins_line(text, node.begin) and not text[node.last : stop].strip():
        start, after = line_start(text, node.begin), text.find("\n", stop)
        return Splice(start, after + 1 if after >= 0 else len(text), "")
    return Splice(node.begin, node.last, "")


def _elements_in(note: Comment) -> Element | None:
    """What a comment leaves off, when it is nothing but elements."""
    if note.text is None or "<" not in note.text:
        return None
    try:
        held = parsed(f"<x>{note.text}</x>").children[0]
    except Unreadable:
        return None
    return held if held.children and not held.words.strip() else None


def _commented(
    text: str, root: Node, nodes: Mapping[Path, Node]
) -> tuple[dict[Path, Commented], dict[Path, Twin]]:
    """Elements that stand in comments, by the paths that they would have."""
    found: dict[Path, Commented] = {}
    twins: dict[Path, Twin] = {}
    lines = Lines(text)
    for parent in (root, *nodes.values()):
        element = parent.extra
        if parent.leaf or not isinstance(element, Element):
            continue
        for note in element.notes:
            held = _elements_in(note)
            if held is None:
                continue
            shift = note.begin + 4 - 3
            inner = tree_of("", Element("", 0, children=[held])).children[0]
            for node in inner.children:
                if node.kin == "<" and (*parent.path, node.name) not in nodes:
                    path = (*parent.path, node.name)
                    twins.setdefault(path, Twin(note.begin, note.end, -1))
                    _note(text, node, path, shift, lines, found)
    return found, twins


def _note(
    text: str, node: Node, path: Path, shift: int, lines: Lines, found: dict[Path, Commented]
) -> None:
    raw = text[node.start + shift : node.end + shift]
    if node.leaf and "\n" not in raw:
        found.setdefault(path, Commented(path, raw, lines.number(node.start + shift)))
    for child in node.children:
        _note(text, child, (*path, child.name), shift, lines, found)
