"""The proof of an edit: another parser's model of the text before, with the edits applied to it,
must be that parser's model of the text after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from crossfade.merge._types import Document, Drop, Edit, Path, Put, Write
from crossfade.merge.formats._tree import ROOT, Node, Tree, leaves
from crossfade.merge.formats._tree_edit import same_setting
from crossfade.merge.formats._values import exact

__all__ = ["Model", "mismatch"]

Model = Callable[[str], Any]
"""A text as nested maps, lists and values.  Raises ValueError for what does not parse."""

_TAG = "<>"  # the kind of an element; it is no setting
_GONE = object()


class _Wrong(Exception):
    """The text after an edit is not what it should be; names paths only."""


@dataclass(slots=True)
class _New:
    """An item that a list is given, at a place that does not matter."""

    value: Any


def mismatch(
    model: Model,
    before: Document,
    after: str,
    edits: Sequence[Edit],
    wanted: Callable[[object], object] = exact,
) -> str | None:
    """What is wrong with ``after``, as ``Format.mismatch`` has it; ``wanted`` gives what a written
    value is for this format."""
    try:
        expected = _expected(model, before, edits, wanted)
        try:
            found = {ROOT: model(after)}
        except (ValueError, RecursionError):
            return "the text after the edits does not parse"
        if not edits and after != before.text:
            return "the text differs, although nothing was edited"
        _compare(expected, found, "")
    except _Wrong as wrong:
        return str(wrong)
    except RecursionError:
        return "it is nested too deeply to be proved"
    return None


def _expected(
    model: Model, before: Document, edits: Sequence[Edit], wanted: Callable[[object], object]
) -> Any:
    result = _copied(_model(model, before))
    tree: Tree = before.private
    for node in leaves(tree.root):
        if node.parent is not None and not node.fixed:
            _same_value(result, node.steps, node.value, node.path)
    sources: dict[int, Any] = {}
    drops = [edit for edit in edits if isinstance(edit, Drop)]
    puts = [edit for edit in edits if isinstance(edit, Put)]
    for edit in edits:
        if isinstance(edit, Write):
            node = _leaf(before, edit.path)
            _set(result, node.steps, wanted(edit.value), edit.path)
    kept = {edit.path for edit in puts} | {edit.path for edit in edits if isinstance(edit, Write)}
    for drop in drops:
        if drop.path in kept:
            raise _Wrong(f"{_shown(drop.path)} is edited twice")
        _delete(result, _leaf(before, drop.path).steps, _under(before, puts, drop.path))
    for put in puts:
        if id(put.source) not in sources:
            sources[id(put.source)] = _model(model, put.source)
    _put_all(result, before, puts, sources)
    return _purged(result)


def _model(model: Model, document: Document) -> Any:
    try:
        return {ROOT: model(document.text)}
    except (ValueError, RecursionError):
        raise _Wrong("the text before the edits does not parse") from None


def _copied(model: Any, known: dict[int, Any] | None = None) -> Any:
    """Maps and lists of a model again; what stands at two places is one thing in the copy too."""
    known = {} if known is None else known
    if id(model) in known:
        return known[id(model)]
    if isinstance(model, dict):
        entries = known[id(model)] = {}
        entries.update((key, _copied(value, known)) for key, value in model.items())
        return entries
    if isinstance(model, list):
        items = known[id(model)] = []
        items.extend(_copied(item, known) for item in model)
        return items
    return model


def _leaf(document: Document, path: Path) -> Node:
    tree: Tree = document.private
    node = tree.nodes.get(path)
    if node is None or not node.leaf:
        raise _Wrong(f"{_shown(path)} is no setting of the text")
    return node


def _under(before: Document, puts: Sequence[Put], path: Path) -> int:
    """How many steps of the model stay although all in them goes, for something comes into them."""
    tree: Tree = before.private
    deepest = 0
    for put in puts:
        for length in range(len(put.path), 0, -1):
            node = tree.nodes.get(put.path[:length])
            if node is not None and not node.leaf and put.path[:length] == path[:length]:
                if length < len(put.path):
                    deepest = max(deepest, len(node.entry_steps))
                break
    return deepest


def _put_all(result: Any, before: Document, puts: Sequence[Put], sources: dict[int, Any]) -> None:
    tree: Tree = before.private
    new: dict[tuple[int, Path], set[Path]] = {}
    for put in puts:
        if same_setting(before, put):
            continue
        source: Tree = put.source.private
        origin = _leaf(put.source, put.path)
        value = _at(sources[id(put.source)], origin.steps, put.path)
        _same_value(sources[id(put.source)], origin.steps, origin.value, put.path)
        node = tree.nodes.get(put.path)
        if node is not None and node.leaf:
            _set(result, node.steps, _copied(value), put.path)
            continue
        top = next(
            n
            for n in range(1, len(put.path) + 1)
            if (known := tree.nodes.get(put.path[:n])) is None or known.leaf or n == len(put.path)
        )
        if put.path[:top] not in source.nodes:
            raise _Wrong(f"{_shown(put.path)} has no place")
        new.setdefault((id(put.source), put.path[:top]), set()).add(put.path)
    by_id = {id(put.source): put.source for put in puts}
    for (which, path), wanted in new.items():
        _insert(result, tree, by_id[which].private, path, wanted, sources[which])


def _insert(
    result: Any, tree: Tree, source: Tree, path: Path, wanted: set[Path], model: Any
) -> None:
    """Gives the expected model a whole entry that it has not, with the wanted settings only."""
    origin = source.nodes[path]
    others = [leaf for leaf in leaves(origin) if leaf.path not in wanted]
    whole = _copied(model) if others else model
    for leaf in others:
        _delete(whole, leaf.steps, 0)
    entry = _purged(_at(whole, origin.entry_steps, path))
    parent = tree.nodes[path[:-1]] if len(path) > 1 else tree.root
    steps = (*parent.entry_steps, *origin.at)
    place = result
    for step, following in pairwise(steps):
        if isinstance(place, dict) and place.get(step, _GONE) is _GONE:
            place[step] = [] if isinstance(following, int) else {}
        place = place[step]
    if isinstance(place, list):
        place.append(_New(entry))
    elif not isinstance(place, dict):
        raise _Wrong(f"{_shown(path)} has no place")
    elif steps[-1] in place and place[steps[-1]] is not _GONE:
        raise _Wrong(f"{_shown(path)} is there already")
    else:
        place[steps[-1]] = entry


def _at(model: Any, steps: Sequence[object], path: Path) -> Any:
    place = model
    try:
        for step in steps:
            place = place[step]
    except (KeyError, IndexError, TypeError):
        raise _Wrong(f"{_shown(path)} is not where it was found") from None
    return place


def _same_value(model: Any, steps: Sequence[object], value: object, path: Path) -> None:
    found = _at(model, steps, path)
    if isinstance(found, dict) and set(found) == {_TAG}:
        found = {}
    if exact(found) != value:
        raise _Wrong(f"{_shown(path)} is read in two ways")


def _set(model: Any, steps: Sequence[object], value: object, path: Path) -> None:
    place = _at(model, steps[:-1], path)
    place[steps[-1]] = value


def _delete(model: Any, steps: Sequence[object], stay: int) -> None:
    """Takes a value out, and what holds nothing else then, but for the first ``stay`` steps."""
    places = [model]
    for step in steps[:-1]:
        places.append(places[-1][step])
    for depth in range(len(steps) - 1, -1, -1):
        if depth < stay:
            return
        place = places[depth]
        place[steps[depth]] = _GONE
        if depth <= 1 or not _hollow(place):
            return


def _hollow(place: Any) -> bool:
    if isinstance(place, dict):
        return all(value is _GONE or key == _TAG for key, value in place.items())
    return all(item is _GONE for item in place)


def _purged(model: Any) -> Any:
    if isinstance(model, dict):
        return {key: _purged(value) for key, value in model.items() if value is not _GONE}
    if isinstance(model, list):
        return [_purged(item) for item in model if item is not _GONE]
    return model


def _compare(expected: Any, found: Any, where: str) -> None:
    if isinstance(expected, _New):
        expected = expected.value
    if isinstance(expected, dict) and isinstance(found, dict):
        _compare_maps(expected, found, where)
    elif isinstance(expected, list) and isinstance(found, list):
        _compare_lists(expected, found, where)
    elif exact(expected) != exact(found):
        raise _Wrong(f"{where or 'the whole'} is not what it should be")


def _compare_maps(expected: dict[Any, Any], found: dict[Any, Any], where: str) -> None:
    ours = {exact(key): value for key, value in expected.items()}
    theirs = {exact(key): value for key, value in found.items()}
    for key in ours.keys() - theirs.keys():
        raise _Wrong(f"{_below(where, key)} is missing")
    for key in theirs.keys() - ours.keys():
        raise _Wrong(f"{_below(where, key)} should not be there")
    for key, value in ours.items():
        _compare(value, theirs[key], _below(where, key))


def _compare_lists(expected: list[Any], found: list[Any], where: str) -> None:
    new = [item for item in expected if isinstance(item, _New)]
    old = [item for item in expected if not isinstance(item, _New)]
    if len(found) != len(expected):
        raise _Wrong(f"{where or 'the whole'} has another number of entries than it should")
    for index, item in enumerate(found):
        match = next((one for one in new if _equal(one.value, item)), None)
        if match is not None and not (old and _equal(old[0], item)):
            new.remove(match)
        elif old:
            _compare(old.pop(0), item, _below(where, index))
        else:
            raise _Wrong(f"{_below(where, index)} is not what it should be")


def _equal(expected: Any, found: Any) -> bool:
    try:
        _compare(expected, found, "")
    except _Wrong:
        return False
    return True


def _below(where: str, key: object) -> str:
    if key in (ROOT, "", _TAG, "text()", "items"):
        return where
    return f"{where} > {key}" if where else str(key)


def _shown(path: Path) -> str:
    return " > ".join(path)
