"""The spans of Python settings, from the standard library's ``ast``; nothing is ever run."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

from crossfade.merge._once import once
from crossfade.merge._types import Unreadable
from crossfade.merge.formats._tree import IDENTITY, Node, named
from crossfade.merge.formats._values import Tagged, exact

__all__ = ["IDENTITY_KEYS", "bindings", "bound", "parsed", "spans", "tree_of", "value_of"]

IDENTITY_KEYS = ("NAME", "BACKEND", *IDENTITY)
_DEEPEST = 50
_LINE = "it shares its line with other statements"


@once
def parsed(text: str) -> ast.Module:
    """The statements of a text.  Raises ValueError; SyntaxError is one with a line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text.removeprefix("\ufeff"))
        except SyntaxError as error:
            raise Unreadable(error.lineno or 1, "it is not Python that parses") from None
        except (ValueError, RecursionError, MemoryError):
            raise Unreadable(1, "it is not Python that parses") from None


def _assigned(statement: ast.stmt) -> tuple[str, ast.expr, ast.expr] | None:
    """Name, value and what stands before the equals sign, of a statement that sets one name."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            return target.id, statement.value, target
    annotated = isinstance(statement, ast.AnnAssign) and statement.simple
    if annotated and isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target = statement.target
        return (
            (target.id, statement.value, statement.annotation)
            if isinstance(target, ast.Name)
            else None
        )
    return None


@once
def bindings(text: str) -> Counter[str]:
    """How often each name is bound."""
    return Counter(name for name, _ in bound(parsed(text)))


def bound(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the module binds outside of functions and classes, with the line; once for
    each time."""
    for statement in module.body:
        yield from _bound(statement)


def _bound(node: ast.AST) -> Iterator[tuple[str, int]]:
    kind = type(node)
    if kind in _NO_NAMES or (kind is ast.Name and type(getattr(node, "ctx", None)) is ast.Load):
        return
    line = getattr(node, "lineno", 0)
    if isinstance(node, _SCOPES):
        yield node.name, line
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                yield from ((name, line) for name in inner.names)
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield (alias.asname or alias.name.split(".")[0]), line
    elif isinstance(node, ast.Name):
        yield node.id, line
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, line
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name, line
    elif isinstance(node, _PARTS) and not isinstance(node.ctx, ast.Load):
        yield from _holder(node, line)  # DATABASES["default"] = ... changes a setting, too
    elif isinstance(node, ast.Call):
        method = node.func
        if isinstance(method, ast.Attribute) and method.attr in _CHANGES:
            yield from _holder(method.value, line)
    if kind in _OWN_NAMES:
        return
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _holder(node: ast.expr, line: int) -> Iterator[tuple[str, int]]:
    """The name of what a part is a part of."""
    while isinstance(node, _PARTS):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id, line


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PARTS = (ast.Attribute, ast.Subscript)
_OWN_NAMES = {ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp}
_NO_NAMES = {ast.Constant, ast.Load, ast.Store}
_CHANGES = {
    "append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault", "popitem",
    "sort", "reverse", "add", "discard",
}  # fmt: skip


def value_of(node: ast.expr) -> object:
    """What an expression is for comparing: a literal's value, else how it is written."""
    try:
        return _literal(node)
    except ValueError:
        return Tagged(("expression", ast.dump(node)))


def _literal(node: ast.expr) -> object:
    if isinstance(node, ast.Constant):
        return Tagged(("...",)) if node.value is Ellipsis else exact(node.value)
    if isinstance(node, ast.List):
        return tuple(_literal(item) for item in node.elts)
    if isinstance(node, ast.Tuple):
        return Tagged(("tuple", *(_literal(item) for item in node.elts)))
    if isinstance(node, ast.Dict) and not node.keys:
        return frozenset()
    minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    operand = getattr(node, "operand", None) if minus else None
    if isinstance(operand, ast.Constant) and type(operand.value) in (int, float):
        return exact(-operand.value)  # type: ignore[operator]  # a number, just seen
    raise ValueError("no literal")


def tree_of(text: str) -> tuple[Node, tuple[tuple[int, str], ...]]:
    """The tree of a text, and line and text of statements that are no settings.  Raises
    Unreadable."""
    try:
        reader = _Reader(text)
        return reader.root(), tuple(reader.apart)
    except RecursionError:
        raise Unreadable(1, "it is nested too deeply") from None


def spans(text: str) -> Callable[[ast.expr], tuple[int, int]]:
    """How to find where an expression of the text stands: its offsets in characters."""
    return _Reader(text).span


class _Reader:
    """Statements as nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.module = parsed(text)
        self.apart: list[tuple[int, str]] = []
        skip = 1 if text.startswith("\ufeff") else 0
        starts = [skip, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]
        self._starts = starts
        self._plain = text.isascii()

    def _offset(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        if self._plain or not column:
            return start + column
        data = self.text[start : start + column].encode()[:column]
        return start + len(data.decode())

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        end = self._offset(node.end_lineno or 0, node.end_col_offset or 0)
        return self._offset(node.lineno, node.col_offset), end

    def root(self) -> Node:
        length = len(self.text)
        own = Node("", (), 0, 0, length, leaf=False, style="lines")
        times = bindings(self.text)
        lines = Counter(one.lineno for one in self.module.body)
        ends = Counter(one.end_lineno for one in self.module.body)
        for statement in self.module.body:
            found = _assigned(statement)
            if found is None or times[found[0]] > 1:
                start, end = self.span(statement)
                self.apart.append((statement.lineno, self.text[start:end]))
                continue
            name, value, before = found
            begin, end = self.span(statement)
            child = Node(name, (name,), begin, 0, end, past_key=self._past(before))
            self._value(child, value, child.past_key, 0)
            child.whole = end
            shared = lines[statement.lineno] > 1 or ends[statement.end_lineno] > 1
            shared = shared or lines[statement.end_lineno or 0] > (
                statement.end_lineno == statement.lineno
            )
            if shared:
                _fix(child, _LINE)
            own.children.append(child)
        return own

    def _past(self, before: ast.expr) -> int:
        """The offset behind the equals sign."""
        offset = self.span(before)[1]
        while self.text[offset] != "=":
            offset += 1
        return offset + 1

    def _value(self, own: Node, value: ast.expr, limit: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise Unreadable(value.lineno, "it is nested too deeply")
        own.start, own.end = self._widened(value, limit)
        own.style = "line"
        taken = isinstance(value, ast.Dict) and self._entries(own, value, depth)
        taken = taken or (isinstance(value, ast.List) and self._items(own, value, depth))
        own.leaf = not taken
        if taken:
            own.style, own.whole = "flow", own.end
            own.start, own.end = self.span(value)
        else:
            own.children = []
            own.value, own.extra = value_of(value), value

    def _widened(self, value: ast.expr, limit: int) -> tuple[int, int]:
        """The span of a value with the round brackets around it."""
        start, end = self.span(value)
        opened = [at for at in self._signs(limit, start) if self.text[at] == "("]
        for _ in opened:
            end = next(at for at in self._signs(end, len(self.text)) if self.text[at] == ")") + 1
        return (opened[0] if opened else start), end

    def _signs(self, start: int, stop: int) -> Iterator[int]:
        """Offsets of what is neither white space nor comment."""
        offset = start
        while offset < stop:
            if self.text[offset] == "#":
                offset = self.text.find("\n", offset)
                if offset < 0:
                    return
            elif not self.text[offset].isspace() and self.text[offset] != "\\":
                yield offset
            offset += 1

    def _entries(self, own: Node, value: ast.Dict, depth: int) -> bool:
        names: set[str] = set()
        for key in value.keys:
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return False
            if key.value in names:
                raise Unreadable(key.lineno, "a key is there twice")
            names.add(key.value)
        for key, item in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant):
                begin, end = self.span(key)
                colon = next(iter(self._signs(end, len(self.text))))
                if self.text[colon] != ":":
                    raise Unreadable(key.lineno, "a key is not followed by a colon")
                child = Node(str(key.value), (key.value,), begin, 0, 0, past_key=colon + 1)
                self._value(child, item, colon + 1, depth + 1)
                own.children.append(child)
        return bool(own.children)

    def _items(self, own: Node, value: ast.List, depth: int) -> bool:
        if not all(isinstance(item, ast.Dict) for item in value.elts):
            return False
        limit = self.span(value)[0] + 1
        for index, item in enumerate(value.elts):
            begin = self.span(item)[0]
            child = Node(f"[{index}]", (index,), begin, 0, 0, sort="item")
            self._value(child, item, limit, depth + 1)
            if child.leaf:
                return False
            limit = child.last
            own.children.append(child)
        own.naming = next((key for key in IDENTITY_KEYS if named(own.children, key)), "")
        return bool(own.naming)


def _fix(node: Node, reason: str) -> None:
    node.fixed = reason
    for child in node.children:
        _fix(child, reason)
