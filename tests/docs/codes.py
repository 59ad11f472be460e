"""Every error code that the program can print, read from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

from crossfade import errors, model

__all__ = ["codes_in_source"]

SOURCE = ROOT / "src" / "crossfade"
CLASSES = {*errors.__all__, "Need", "Problem", "TlsError"}
"""What takes a code as its first argument."""
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)+")


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
        if node.id in [argument.arg for argument in _arguments(function)]:
            yield from _passed(node.id, function, place)
        else:
            yield from _assigned(node.id, function, module, place)
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


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.args, *function.args.kwonlyargs]


def _assigned(name: str, function: Function, module: ast.Module, place: str) -> Iterator[str]:
    """What a variable of the function may hold: codes in what is assigned to it, and in the
    module's constants that are named there."""
    values = [
        inner.value
        for inner in ast.walk(function)
        if isinstance(inner, ast.Assign | ast.NamedExpr | ast.AnnAssign) and inner.value
        if name in _targets(inner)
    ]
    values += [
        inner.iter
        for inner in ast.walk(function)
        if isinstance(inner, ast.For)
        and name in {_name(n) for n in ast.walk(inner.target) if isinstance(n, ast.Name)}
    ]
    assert values, (name, place)
    used = {n.id for value in values for n in ast.walk(value) if isinstance(n, ast.Name)}
    values += [
        other.value
        for other in module.body
        if isinstance(other, ast.Assign | ast.AnnAssign) and other.value
        if used & _targets(other)
    ]
    found = [
        str(n.value)
        for value in values
        for n in ast.walk(value)
        if isinstance(n, ast.Constant) and CODE.fullmatch(str(n.value))
    ]
    assert found, (name, place)
    yield from found


def _targets(node: ast.Assign | ast.NamedExpr | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _passed(name: str, function: Function, place: str) -> Iterator[str]:
    """What callers of the function give for its parameter ``name``."""
    names = [argument.arg for argument in _arguments(function)]
    position = names.index(name) - (names[0] == "self")
    given = 0
    for _, module, caller, call in _every_call():
        if _name(call.func) == function.name:
            by_name = [word.value for word in call.keywords if word.arg == name]
            argument = by_name[0] if by_name else None
            if argument is None and len(call.args) > position:
                argument = call.args[position]
            constant = isinstance(argument, ast.Constant) and "-" in str(argument.value)
            if constant or _is_local(argument, caller):
                assert argument is not None
                given += 1
                yield from _codes(argument, module, caller, place)
    assert given, f"nobody gives {name} to {function.name} ({place})"


def _is_local(node: ast.expr | None, function: Function | None) -> bool:
    """Whether a variable of the function, which is not among its parameters, holds a code."""
    return (
        isinstance(node, ast.Name)
        and function is not None
        and node.id not in [argument.arg for argument in _arguments(function)]
        and any(
            isinstance(n, ast.Constant) and CODE.fullmatch(str(n.value))
            for loop in ast.walk(function)
            if isinstance(loop, ast.For)
            and node.id in {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
            for n in ast.walk(loop.iter)
        )
    )
