"""Every error code that the program can print, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

from crossfade import errors, model

__all__ = ["codes_in_source"]

SOURCE = ROOT / "src" / "crossfade"
CLASSES = {*errors.__all__, "Problem"}
"""What takes a code as its first argument."""


@cache
def _modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _every_call() -> list[tuple[Path, ast.Module, Function | None, ast.Call]]:
    modules = _modules().items()
    return [(path, module, *found) for path, module in modules for found in _calls(module, None)]


@cache
def codes_in_source() -> dict[str, str]:
    """Codes, each with a place where it is used.  A form that is not understood fails."""
    found: dict[str, str] = {}
    for path, module, function, call in _every_call():
        if _name(call.func) in CLASSES and call.args:
            place = f"{path.relative_to(SOURCE)}:{call.lineno}"
            for code in _codes(call.args[0], module, function, place):
                found.setdefault(code, place)
    return found


def _calls(node: ast.AST, function: Function | None) -> Iterator[tuple[Function | None, ast.Call]]:
    """Every call, with the function that it stands in."""
    for child in ast.iter_child_nodes(node):
        inside = child if isinstance(child, Function) else function
        if isinstance(child, ast.Call):
            yield inside, child
        yield from _calls(child, inside)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _codes(
    node: ast.expr, module: ast.Module, function: Function | None, place: str
) -> Iterator[str]:
    """The codes that an expression can be."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _codes(node.body, module, function, place)
        yield from _codes(node.orelse, module, function, place)
    elif isinstance(node, ast.JoinedStr):
        yield from _sides(node, place)
    elif isinstance(node, ast.Call):
        yield from _returned(node, module, place)
    elif isinstance(node, ast.Name):
        assert function is not None, place
        yield from _passed(node.id, function, place)
    else:  # another error's code, passed on: ``error.code``, ``told["code"]``
        assert ast.unparse(node).endswith((".code", "['code']")), (place, ast.unparse(node))


def _sides(node: ast.JoinedStr, place: str) -> Iterator[str]:
    """A code that begins with the name of a side."""
    first, rest = node.values
    assert isinstance(first, ast.FormattedValue), place
    assert isinstance(rest, ast.Constant), place
    assert isinstance(rest.value, str), place
    yield from (f"{side}{rest.value}" for side in model.Side)


def _returned(node: ast.Call, module: ast.Module, place: str) -> Iterator[str]:
    """What a function of the module, or a mapping's ``get``, may give."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        mapping = _name(node.func.value)
        yield from _codes(node.args[1], module, None, place)
        for other in module.body:
            if isinstance(other, ast.Assign) and _name(other.targets[0]) == mapping:
                yield from ast.literal_eval(other.value).values()
        return
    for other in module.body:
        if isinstance(other, ast.FunctionDef) and other.name == _name(node.func):
            for inner in ast.walk(other):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield from _codes(inner.value, module, other, place)


def _passed(name: str, function: Function, place: str) -> Iterator[str]:
    """What callers of the function give for its parameter ``name``."""
    names = [argument.arg for argument in function.args.args]
    position = names.index(name) - (names[0] == "self")
    given = 0
    for _, module, caller, call in _every_call():
        if _name(call.func) == function.name and len(call.args) > position:
            argument = call.args[position]
            if isinstance(argument, ast.Constant) and "-" in str(argument.value):
                given += 1
                yield from _codes(argument, module, caller, place)
    assert given, f"nobody gives {name} to {function.name} ({place})"
