"""What a Python module sets, for the proof: by a walk of its own, with values from
``ast.literal_eval`` and expressions as ``ast.unparse`` and parsing again have them."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

from crossfade.merge._once import once
from crossfade.merge._types import Unreadable
from crossfade.merge.formats._python_nodes import IDENTITY_KEYS, bindings, parsed
from crossfade.merge.formats._values import Tagged

__all__ = ["model"]


class _Settings(ast.NodeVisitor):
    """Walks over the module's own statements."""

    def __init__(self, times: Counter[str]) -> None:
        self.times = times
        self.found: dict[str, Any] = {}
        self.other: list[str] = []

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [one.id for one in node.targets if isinstance(one, ast.Name)]
        if len(names) == len(node.targets) == 1 and self.times[names[0]] == 1:
            self.found[names[0]] = _modelled(node.value)
        else:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        name = node.target.id if isinstance(node.target, ast.Name) and node.simple else ""
        if name and node.value is not None and self.times[name] == 1:
            self.found[name] = _modelled(node.value)
        else:
            self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        self.other.append(ast.dump(node))


def _modelled(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        keys = [one.value if isinstance(one, ast.Constant) else None for one in node.keys]
        if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
            return {key: _modelled(one) for key, one in zip(keys, node.values, strict=True)}
    if isinstance(node, ast.List) and node.elts:
        items = [_modelled(item) for item in node.elts]
        if all(isinstance(item, dict) and item for item in items) and _told_apart(items):
            return items
    try:
        return _typed(ast.literal_eval(ast.unparse(node)))
    except (ValueError, SyntaxError, TypeError):
        return Tagged(("expression", ast.dump(node)))


def _told_apart(items: list[dict[str, Any]]) -> bool:
    """Whether the dicts of a list have a key that is different in all of them."""
    for key in IDENTITY_KEYS:
        words = [item.get(key) for item in items]
        plain = all(one is not None and not isinstance(one, list | dict | tuple) for one in words)
        if plain and len({str(one) for one in words}) == len(words):
            return True
    return False


def _typed(value: Any) -> Any:
    if isinstance(value, tuple):
        return Tagged(("tuple", *(_typed(item) for item in value)))
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if value is Ellipsis:
        return Tagged(("...",))
    if isinstance(value, dict | set | complex):
        raise ValueError("compared as it is written")
    return value


@once
def model(text: str) -> Any:
    """The settings by name, and under "" all other statements.  Raises ValueError."""
    try:
        module = parsed(text)
        walk = _Settings(bindings(text))
        walk.visit(module)
    except (Unreadable, RecursionError):
        raise ValueError("no Python") from None
    return {**walk.found, **({"": walk.other} if walk.other else {})}
