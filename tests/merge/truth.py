"""What a program reads from a configuration file, by parsers that the merge does not use to find
anything: the truth that its results are measured against.

A model is a mapping of paths to values.  Entries of lists are named by what tells them apart; those
of another text of the same file get the names of the ones that they were made of.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import javaproperties
import yaml

__all__ = ["Model", "Truth", "parsed"]

Model = dict[tuple[str, ...], object]
_IDENTITY = (
    *("@name", "@id", "@port", "@className", "@type"),
    *("name", "id", "key", "port", "path", "url"),
)


def parsed(format: str, text: str) -> Any:
    """The text as maps, lists and scalars.  Raises ValueError for what is no such text."""
    try:
        return _PARSERS[format](text)
    except (
        configparser.Error,
        yaml.YAMLError,
        ElementTree.ParseError,
        SyntaxError,
        javaproperties.InvalidUEscapeError,
    ) as error:
        raise ValueError(str(error)) from error


def _ini(text: str) -> Any:
    inline = (";", "#") if "[supervisord]" in text else None  # as Supervisor reads its own
    parser = configparser.ConfigParser(
        interpolation=None, default_section="\0", inline_comment_prefixes=inline
    )
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


class _OnceOnly(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML where no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError("a key is there twice")
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _yaml(text: str) -> Any:
    return yaml.load(text, _OnceOnly)  # noqa: S506


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found = list(pairs)
    if len(dict(found)) != len(found):
        raise ValueError("a key is there twice")
    return dict(found)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _properties(text: str) -> Any:
    return javaproperties.loads(text, object_pairs_hook=_once)


_PARAMETER = re.compile(r"\s*([\w.]+)\s*=?\s*('(?:[^']|'')*'|[^\s'#]+)\s*(#.*)?")


def _postgresql(text: str) -> Any:
    """Names and values; of those that stand several times the last one counts."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        match = _PARAMETER.fullmatch(line)
        if match is None:
            raise ValueError("no parameter")
        found[match[1].lower()] = match[2].strip("'")
    return found


def _redis(text: str) -> Any:
    """Words of lines; a directive that stands several times has all its values."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        name, *words = shlex.split(line)
        if not words:
            raise ValueError("no value")
        found.setdefault(name.lower(), []).append("\0".join(words))
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def _xml(text: str) -> Any:
    return _element(ElementTree.fromstring(text))  # noqa: S314


def _element(element: ElementTree.Element) -> Any:
    found: dict[str, Any] = {f"@{key}": value for key, value in element.attrib.items()}
    words = (element.text or "").strip()
    found |= {"#text": words} if words else {}
    children: dict[str, list[Any]] = {}
    for child in element:
        children.setdefault(child.tag, []).append(_element(child))
    return {**found, "#is": True, **children}


def _python(text: str) -> Any:
    """Names and what is assigned to them; all other statements are keys of their own."""
    found: dict[str, Any] = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = ast.unparse(statement.targets[0])
            if target in found:
                raise ValueError("a name is assigned twice")
            found[target] = _expression(statement.value)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            found[f"statement {ast.unparse(statement)}"] = True
    return found


def _expression(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        keys = [ast.unparse(key) for key in node.keys if key is not None]
        if len(set(keys)) != len(keys):
            raise ValueError("a key is there twice")
        return {key: _expression(value) for key, value in zip(keys, node.values, strict=True)}
    if isinstance(node, ast.List | ast.Tuple):
        return [_expression(item) for item in node.elts]
    return ast.unparse(node)


_PARSERS = {
    "ini": _ini,
    "yaml": _yaml,
    "json": _json,
    "properties": _properties,
    "postgresql": _postgresql,
    "redis": _redis,
    "xml": _xml,
    "python": _python,
}


def _names(items: list[Any]) -> list[str]:
    for key in _IDENTITY:
        if all(isinstance(item, dict) and key in item for item in items):
            words = [f"[{key}={item[key]}]" for item in items]
            if len(set(words)) == len(words):
                return words
    return [f"[{at}]" for at in range(len(items))]


def _named(value: Any, like: Any, in_order: bool, yours: Any = None) -> Any:
    """Lists of maps as maps by name; ``like`` is the named text that this one was made of, and
    ``yours`` one from which entries may have come that it does not have."""
    mine = yours if isinstance(yours, dict) else {}
    of = like if isinstance(like, dict) else {}
    if isinstance(value, dict):
        return {
            str(key): _named(each, of.get(str(key)), in_order, mine.get(str(key)))
            for key, each in value.items()
        }
    if not (isinstance(value, list) and any(isinstance(item, dict | list) for item in value)):
        return tuple(value) if isinstance(value, list) else value
    theirs = list(of)
    names = _names(value)
    if theirs and in_order and len(theirs) == len(names):
        names = theirs
    elif theirs:
        came = {name: each for name, each in mine.items() if name not in theirs}
        for at, name in enumerate(names):
            if name not in theirs:
                free = {one: each for one, each in came.items() if one not in names}
                names[at] = _came_from(free, value[at]) or name
        left = [name for name in theirs if name not in names]
        for at, name in enumerate(names):
            if name not in theirs and name not in came and left:
                names[at] = left.pop(0)
    return {
        name: _named(item, of.get(name, mine.get(name)), in_order, mine.get(name))
        for name, item in zip(names, value, strict=True)
    }


def _came_from(entries: dict[str, Any], item: Any) -> str:
    """The name of the entry that an item is, value for value."""
    same = (name for name, each in entries.items() if _named(item, each, in_order=True) == each)
    return next(same, "")


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    else:
        yield path, (() if value == {} else value)


def _same(one: object, two: object) -> bool:
    return type(one) is type(two) and one == two


class Truth:
    """Three texts as a program reads them, and what a fourth has to be as their merge."""

    def __init__(self, format: str, base: str, user: str, new: str) -> None:
        self._format = format
        base_tree = _named(parsed(format, base), None, in_order=True)
        self._new_tree = _named(parsed(format, new), base_tree, in_order=False)
        self._user_tree = _named(parsed(format, user), base_tree, in_order=True)
        self.base, self.user, self.new = (
            dict(_leaves(tree)) for tree in (base_tree, self._user_tree, self._new_tree)
        )

    def _paths(self) -> list[tuple[str, ...]]:
        return list({**self.new, **self.user, **self.base})

    def customised(self) -> int:
        """How many settings the user changed."""
        return sum(
            not _same(self.base.get(path, ...), self.user.get(path, ...)) for path in self._paths()
        )

    def conflicts(self) -> list[tuple[str, ...]]:
        """Settings that all three have differently; lists that can be merged are none."""
        return [path for path in self._paths() if not self._right(path)]

    def _right(self, path: tuple[str, ...]) -> list[object]:
        """What the result may have there; ``...`` is nothing; empty where somebody must decide."""
        base, user, new = (model.get(path, ...) for model in (self.base, self.user, self.new))
        if _same(user, base) or _same(user, new):
            return [new]
        if _same(new, base):
            return [user]
        if isinstance(base, tuple) and isinstance(user, tuple) and isinstance(new, tuple):
            return _list_of(base, user, new)
        return []

    def result(self, text: str) -> Model:
        """The model of a result, with the new text's names.  Raises ValueError."""
        tree = _named(parsed(self._format, text), self._new_tree, True, self._user_tree)
        return dict(_leaves(tree))

    def wrong(self, text: str, asked: Iterable[str] = ()) -> list[tuple[str, ...]]:
        """Settings that ``text`` has wrong.  Where something with one of the names ``asked`` is in
        the path, somebody decided: yours and the new version's are right then."""
        try:
            result = self.result(text)
        except ValueError:
            return [("the result cannot be read",)]
        names = [name.lower() for name in asked]
        bad = []
        for path in list({**self.new, **self.user, **self.base, **result}):
            right = self._right(path)
            if any(name in part.lower() for name in names for part in path):
                right = [*right, *(model.get(path, ...) for model in (self.user, self.new))]
            if not any(_allowed(result.get(path, ...), one) for one in right):
                bad.append(path)
        return bad


@dataclass(frozen=True, slots=True)
class _Bag:
    """A list in any order."""

    items: tuple[Any, ...]


def _list_of(base: tuple[Any, ...], user: tuple[Any, ...], new: tuple[Any, ...]) -> list[object]:
    if any(len(set(items)) != len(items) for items in (base, user, new)):
        return []
    added = [item for item in user if item not in base and item not in new]
    taken = [item for item in base if item not in user]
    if added and any(item in new for item in taken):
        return []
    grown = any(item not in base and item not in user for item in new)
    shrunk = any(item not in new and item in user for item in base)
    if grown and shrunk:
        return []
    return [_Bag((*(item for item in new if item not in taken), *added))]


def _allowed(value: object, right: object) -> bool:
    if isinstance(right, _Bag):
        return isinstance(value, tuple) and Counter(value) == Counter(right.items)
    return _same(value, right)
