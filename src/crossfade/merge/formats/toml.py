"""TOML: spans by a scanner of our own, proved by the standard library's parser."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from crossfade.merge._once import once
from crossfade.merge._types import Commented, Document, Edit, Path, Unreadable
from crossfade.merge.formats import _tree_edit
from crossfade.merge.formats._brackets import (
    comments_above,
    in_brackets,
    line_start,
    line_stop,
    removed_from_brackets,
)
from crossfade.merge.formats._lined import above, in_lines, removed_lines
from crossfade.merge.formats._toml_nodes import HEADER, Headers, table, tree_of
from crossfade.merge.formats._tree import Lines, Node, Twin, aligned, document_of, leaves
from crossfade.merge.formats._tree_edit import Place, Splice, line_end
from crossfade.merge.formats._tree_proof import mismatch
from crossfade.merge.formats._values import exact

__all__ = ["Toml"]

_COMMENTED = re.compile(r"[ \t]*#[ \t]?(?=[\w\"'\[])(.*)")
_KEY = re.compile(r"""((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:\.[A-Za-z0-9_-]+)*)[ \t]*=""")
_LONGEST = 60


class Toml:
    """TOML 1.0."""

    name = "toml"

    def claims(self, name: str, text: str) -> int:
        """By its ending, if it parses; without that only by repeated tables, for settings of other
        formats often are TOML, too."""
        named = name.lower().endswith(".toml")
        try:
            found = _model(text)
        except (ValueError, RecursionError):
            return int(named)
        repeated = any(isinstance(one, list) and f"[[{key}" in text for key, one in found.items())
        return 3 if named else 2 if repeated else 0

    @once
    def read(self, text: str) -> Document:
        """The settings of a text, as ``Format.read`` has it."""
        root, headers = tree_of(text)
        bare = document_of(self.name, text, root).private
        commented, twins = _commented(text, bare.nodes, headers)
        return document_of(self.name, text, root, twins, commented)

    def aligned(self, document: Document, reference: Document) -> Document:
        """Tables whose identity was changed, as ``Format.aligned`` has it."""
        return aligned(document, reference)

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The text with the edits, as ``Format.edited`` has it."""
        return _tree_edit.edited(self, document, edits)

    def mismatch(self, before: Document, after: str, edits: Sequence[Edit]) -> str | None:
        """By tomllib, as ``Format.mismatch`` has it."""
        return mismatch(_model, before, after, edits)

    def carried(self, document: Document, node: Node, source: Document, origin: Node) -> Splice:
        newline = line_end(document.text)
        if "table" in (node.kin, origin.kin):
            if node.kin != origin.kin or len(_regions(node)) != 1:
                raise _refused(document, node, "a table cannot stand in place of a value")
            start, end = _regions(node)[0]
            return Splice(start, end, _ended(_whole(source, origin), newline))
        raw = source.text[origin.start : origin.end]
        return Splice(node.start, node.end, _ended(raw, newline))

    def spelled(self, document: Document, node: Node, value: object) -> str:
        raw = document.text[node.start : node.end]
        text = _spelled(value, raw[:1] if not raw.startswith(("'''", '"""')) else '"')
        if isinstance(value, tuple | list) and "\n" in raw and value:
            text = _spread(value, raw, line_end(document.text)) or text
        if exact(tomllib.loads("x = " + text)["x"]) != exact(value):
            raise ValueError("no value for TOML")
        return text

    def inserted(self, document: Document, place: Place, source: Document, origin: Node) -> Splice:
        container, newline = place.container, line_end(document.text)
        comments = comments_above(document, source, origin)
        beside = place.after or place.before or container
        if container.style == "flow":
            if origin.kin == "table":
                raise _refused(document, beside, "a table cannot stand between brackets")
            raw = source.text[origin.begin : origin.last]
            splice = in_brackets(document, place, _ended(raw, newline), comments)
        elif origin.kin == "table":
            splice = _new_table(document, place, source, origin, comments)
        else:
            styles = {container.style, origin.parent.style if origin.parent is not None else ""}
            if "flow" in styles or "tables" in styles or ("dotted" in styles and len(styles) > 1):
                raise _refused(document, beside, "a key is written in another way here")
            splice = _new_key(document, place, source, origin, comments)
        splice.brings = origin
        return splice

    def removed(self, document: Document, nodes: Sequence[Node]) -> list[Splice]:
        parent = nodes[0].parent
        if parent is not None and parent.style == "flow":
            return removed_from_brackets(document, nodes)
        found = []
        for node in nodes:
            parts = _entries(node)
            if node.kin != "table" and node.sort != "item":
                found += [removed_lines(document, part, [part]) for part in parts]
            else:
                found += [_lines_of(document.text, *region) for region in _regions(node)]
        return found


def _refused(document: Document, node: Node, reason: str) -> Unreadable:
    return Unreadable(Lines(document.text).number(node.begin), reason)


def _ended(raw: str, newline: str) -> str:
    return raw.replace("\r\n", "\n").replace("\n", newline)


def _entries(node: Node) -> list[Node]:
    """The lines of a key, which are several when it stands for keys with dots."""
    if node.style != "dotted":
        return [node]
    return [entry for child in node.children for entry in _entries(child)]


def _regions(node: Node) -> list[tuple[int, int]]:
    """Where a table and all tables in it stand."""
    if node.kin != "table" and node.sort != "item":
        return []
    found = []
    if node.style == "table":
        keys = [child.last for child in node.children if child.kin == "key"]
        keys += [one.last for child in node.children if child.kin == "key" for one in leaves(child)]
        found.append((node.begin, max([node.past_key, *keys])))
    for child in node.children:
        found += _regions(child)
    return sorted(found)


def _whole(source: Document, origin: Node) -> str:
    return "\n".join(source.text[start:end] + "\n" for start, end in _regions(origin)).rstrip("\n")


def _lines_of(text: str, start: int, end: int) -> Splice:
    stop = text.find("\n", end)
    return Splice(line_start(text, start), stop + 1 if stop >= 0 else len(text), "")


def _new_key(
    document: Document, place: Place, source: Document, origin: Node, comments: list[str]
) -> Splice:
    text, newline = document.text, line_end(document.text)
    parts = _entries(origin)
    piece = newline.join(_ended(source.text[one.begin : one.last], newline) for one in parts)
    container = place.container
    beside = place.after or place.before
    margin = ""
    if beside is not None and not text[line_start(text, beside.begin) : beside.begin].strip():
        margin = text[line_start(text, beside.begin) : beside.begin]
    if place.twin is None and place.after is not None and place.after.style == "dotted":
        last = max(_entries(place.after), key=lambda entry: entry.last)
        place = Place(container, after=last)
    if place.twin is not None or beside is not None:
        return in_lines(document, place, margin, piece, comments)
    if container.parent is not None:
        if container.style != "table":
            raise _refused(document, container, "the table has no header of its own here")
        header = Node("", (), container.begin, container.begin, container.past_key)
        return in_lines(document, Place(container, after=header), "", piece, comments)
    first = HEADER.search(text)
    if first is None:
        return in_lines(document, place, "", piece, comments)
    block = newline.join([*comments, piece])
    start = above(text, first.start(1))
    put = block + newline + newline
    return Splice(start, start, put, at=len(block) - len(piece))


def _new_table(
    document: Document, place: Place, source: Document, origin: Node, comments: list[str]
) -> Splice:
    """A table goes before the header that follows, or to the end: what stands behind the last key
    of a table still is of that table."""
    text, newline = document.text, line_end(document.text)
    piece = _ended(_whole(source, origin), newline)
    block = newline.join([*comments, piece])
    begin = len(block) - len(piece)
    if place.twin is not None:
        put = newline + block
        return Splice(place.twin.end, place.twin.end, put, at=len(newline) + begin)
    if place.before is not None:
        start = above(text, min(start for start, _ in _regions(place.before)))
        return Splice(start, start, block + newline * 2, at=begin)
    ends = [end for _, end in _regions(place.after or place.container)]
    ends = ends or [leaf.last for leaf in leaves(place.container)]
    follows = HEADER.search(text, max(ends, default=0))
    while follows is not None and _inside(document, follows.start(1)):
        follows = HEADER.search(text, follows.end())
    if follows is not None:
        start = above(text, follows.start(1))
        return Splice(start, start, block + newline * 2, at=begin)
    lead = newline if text.endswith("\n") else newline * 2
    put = lead + block + (newline if text.endswith("\n") else "")
    return Splice(len(text), len(text), put, at=len(lead) + begin)


def _inside(document: Document, offset: int) -> bool:
    return any(one.start < offset < one.end for one in document.settings.values())


def _spelled(value: object, quote: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, str):
        if quote == "'" and not re.search(r"['\x00-\x1f\x7f]", value):
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_spelled(item, quote) for item in value) + "]"
    raise ValueError("no value for TOML")


def _spread(value: Sequence[object], raw: str, newline: str) -> str | None:
    """A list that spans lines written so again, where it has no comments."""
    first = re.match(r"\[(\s*)", raw)
    last = re.search(r"(,?)(\s*)\]$", raw)
    if "#" in raw or first is None or last is None or "\n" not in first[1]:
        return None
    words = [_spelled(item, '"') for item in value]
    return "[" + first[1] + ("," + first[1]).join(words) + last[1] + last[2] + "]"


@once
def _model(text: str) -> Any:
    """What a program gets.  Raises ValueError."""
    return tomllib.loads(text.removeprefix("\ufeff"))


def _commented(
    text: str, nodes: Mapping[Path, Node], headers: Headers
) -> tuple[dict[Path, Commented], dict[Path, Twin]]:
    """Keys and tables that stand in comments, by the paths that they would have."""
    found: dict[Path, Commented] = {}
    twins: dict[Path, Twin] = {}
    values = [(node.start, node.end) for node in nodes.values() if node.leaf]
    begins = {begin: path for begin, path, _ in headers}
    context: Path = ()
    section: Path | None = None
    position = 0
    for number, line in enumerate(text.split("\n"), 1):
        start, position = position, position + len(line) + 1
        line = line.removesuffix("\r")
        for begin in range(start, start + len(line) - len(line.lstrip()) + 2):
            if begin in begins:
                context, section = begins[begin], None
        match = _COMMENTED.match(line)
        if match is None or any(low < start < high for low, high in values):
            section = section if line.strip().startswith("#") else None
            continue
        content = match[1]
        if content.startswith("["):
            header = table(content)
            section = tuple(header[0]) if header is not None and not header[1] else None
            if section is not None and section not in nodes:
                twins.setdefault(section, Twin(start, start + len(line), 0))
            continue
        end = _end_of(text, start)
        names = _names(content)
        if end < 0 or not names:
            continue
        path = (*(context if section is None else section), *names)
        if section in twins and section is not None:
            twins[section] = Twin(twins[section].begin, end, 0)
        if path not in nodes and path not in found:
            key = _KEY.match(content)
            raw = content[key.end() :].strip() if key else ""
            found[path] = Commented(path, raw, number)
            twins[path] = Twin(start, end, 0)
    return found, twins


def _names(content: str) -> Path:
    key = _KEY.match(content)
    if key is None:
        return ()
    try:
        held: Any = tomllib.loads(f"{key[1]} = 1")
    except tomllib.TOMLDecodeError:
        return ()
    names: list[str] = []
    while isinstance(held, dict):
        names.append(next(iter(held)))
        held = held[names[-1]]
    return tuple(names)


def _end_of(text: str, start: int) -> int:
    """Where a key in comments ends, with its value; -1 when it is none."""
    position, pieces = start, ""
    for _ in range(_LONGEST):
        stop = line_stop(text, position)
        match = re.match(r"[ \t]*#[ \t]?(.*)", text[position:stop])
        if match is None:
            return -1
        pieces += match[1] + "\n"
        try:
            tomllib.loads(pieces)
        except tomllib.TOMLDecodeError:
            position = text.find("\n", stop) + 1
            if position == 0:
                return -1
        else:
            return stop
    return -1
