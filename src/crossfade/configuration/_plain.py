"""Values of the merge's formats as plain data, and the literals that Python's are made of."""

from __future__ import annotations

import ast
import json
import tokenize
import tomllib
from collections.abc import Iterator
from io import StringIO
from typing import Any

from crossfade.merge.formats._values import Tagged, Truth

__all__ = ["constants", "literals", "loaded", "plain"]


def constants(expression: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Constants in the order of a walk; what is put together of pieces counts as one."""
    if isinstance(expression, ast.Constant | ast.JoinedStr):
        yield expression
        return
    for child in ast.iter_child_nodes(expression):
        yield from constants(child)


def literals(raw: str) -> int:
    """How many literals stand in a constant's text."""
    blank = (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
    try:
        tokens = list(tokenize.generate_tokens(StringIO(raw).readline))
    except tokenize.TokenError:
        return 0
    return sum(token.type not in blank for token in tokens)


def loaded(format: str, raw: str) -> Any:
    """One value of JSON, TOML or Python."""
    if format == "python":
        return ast.literal_eval(raw)
    return json.loads(raw) if format == "json" else tomllib.loads(f"x = {raw}")["x"]


def plain(value: object, raw: str) -> Any:
    """A setting's value as plain data; of what is none, its text."""
    if isinstance(value, Tagged) or (isinstance(value, frozenset) and value):
        return raw
    if isinstance(value, frozenset):
        return {}
    if isinstance(value, tuple):
        return [plain(item, raw) for item in value]
    if isinstance(value, Truth):
        return bool(value)
    return float(value) if isinstance(value, float) else value
