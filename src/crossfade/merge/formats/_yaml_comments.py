"""Entries that a YAML text documents but leaves off: ``#port: 8008``, also whole blocks of them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from crossfade.merge._types import Commented, Path
from crossfade.merge.formats._brackets import column, line_stop
from crossfade.merge.formats._tree import Node, Twin, leaves

__all__ = ["commented_in"]

_LINE = re.compile(r"^[ \t]*#(.*)$", re.MULTILINE)
_ENTRY = re.compile(r"""( *)([\w.$/@+-]+|"[^"\n]*"|'[^'\n]*')[ ]*:(?:[ \t]+(.*?))?[ \t\r]*$""")
_OPENS = re.compile(r"[|>\[{]|$")


@dataclass(slots=True)
class _Seen:
    """A commented entry of the run of comment lines at hand: the offset of its key in its line."""

    offset: int
    path: Path
    open: bool


def commented_in(
    text: str, root: Node, nodes: Mapping[Path, Node]
) -> tuple[dict[Path, Commented], dict[Path, Twin]]:
    """The commented entries, and where each stands, by path; what is on as well is left out."""
    found: dict[Path, Commented] = {}
    twins: dict[Path, Twin] = {}
    values = [leaf for leaf in leaves(root) if leaf.parent is not None]
    starts = [leaf.begin for leaf in values]
    run: list[_Seen] = []
    before = -1
    number = 0
    counted = 0
    for match in _LINE.finditer(text):
        number += text.count("\n", counted, match.start())
        counted = match.start()
        index = bisect_left(starts, match.start()) - 1
        if index >= 0 and values[index].last > match.start():
            continue  # inside of a value
        if before != match.start() - 1:
            run = []
        before = match.end()
        body = match.start(1)
        content = match[1].rstrip("\r")
        offset = body - match.start() + len(content) - len(content.lstrip(" "))
        _extend(twins, run, text, match.start(), offset, content)
        entry = _ENTRY.match(content)
        if entry is None or column(text, match.start()) != 0:
            continue
        near = values[max(index, 0) : index + 2]
        place = _place(text, run, near, offset, bool(entry[1]), entry[2].strip("\"'"))
        run = [seen for seen in run if seen.offset < offset]
        if place is None:
            continue
        path, key_column = place
        raw = entry[3] or ""
        run.append(_Seen(offset, path, bool(_OPENS.match(raw.split(" #")[0].strip()))))
        if path not in nodes and path not in found:
            found[path] = Commented(path, raw, number + 1)
            twins[path] = Twin(match.start(), line_stop(text, match.start()), key_column)
    return found, twins


def _extend(
    twins: dict[Path, Twin], run: list[_Seen], text: str, start: int, offset: int, content: str
) -> None:
    """What stands further to the right below a commented key is part of it."""
    dash = content.lstrip().startswith("- ")
    for seen in run:
        twin = twins.get(seen.path)
        deeper = seen.offset < offset or (dash and seen.offset == offset)
        if twin is not None and seen.open and deeper and content.strip():
            twins[seen.path] = Twin(twin.begin, line_stop(text, start), twin.column)


def _place(
    text: str, run: list[_Seen], near: list[Node], offset: int, spaced: bool, key: str
) -> tuple[Path, int] | None:
    """Where the entry would be, were it on: its path and the column of its key."""
    for seen in reversed(run):
        if seen.offset < offset and seen.open:
            return (*seen.path, key), -1
        if seen.offset == offset:
            return (*seen.path[:-1], key), -1
    containers: dict[int, Path] = {}
    for node in reversed(near):
        _containers(text, node, containers)
    if not near:
        containers[0] = ()
    for guess in (offset - 2, offset - 1, offset) if spaced else (offset - 1, offset):
        if guess in containers:
            return (*containers[guess], key), guess
    first = near[0] if near else None
    if first is not None and first.start == first.end and first.value is None:
        at = column(text, first.begin)
        if offset - 1 - spaced > at:
            return (*first.path, key), -1
    return None


def _containers(text: str, node: Node, found: dict[int, Path]) -> None:
    """The open blocks around ``node``, by the column of their keys."""
    parent = node.parent
    while parent is not None:
        if parent.style == "block" and parent.children and not parent.children[0].sort:
            found[column(text, parent.children[0].begin)] = parent.path
        parent = parent.parent
