"""How a value is written in YAML, in the style of the one that it replaces."""

from __future__ import annotations

import json
from datetime import date

import yaml

from crossfade.merge._types import Document
from crossfade.merge.formats._brackets import column
from crossfade.merge.formats._tree import Node
from crossfade.merge.formats._tree_edit import line_end
from crossfade.merge.formats._values import exact
from crossfade.merge.formats._yaml_compose import FAST

__all__ = ["spelled"]


def spelled(document: Document, node: Node, value: object) -> str:
    """``value`` as the text of ``node``.  Raises ValueError."""
    raw = document.text[node.start : node.end]
    if isinstance(value, tuple | list):
        words = [_scalar(item, "", True) for item in value]
        if node.style != "block" or not words:
            return "[" + ", ".join(words) + "]"
        gap = line_end(document.text) + " " * column(document.text, node.start)
        return gap.join("- " + _scalar(item, "", False) for item in value)
    if node.style == "block" or isinstance(value, dict | frozenset):
        raise ValueError("not one value")
    inside = node.parent is not None and node.parent.style == "flow"
    return _scalar(value, raw[:1], inside)


def _scalar(value: object, quote: str, inside: bool) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _text(value, quote, inside)
    if isinstance(value, date | int | float):
        plain = str(value).lower() if exact(value) != value or isinstance(value, bool) else None
        plain = plain if plain is not None else str(value)
        plain = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(plain.lower(), plain)
        plain = plain.lower() if plain in ("True", "False") else plain
        if _reads_as(plain, value, inside):
            return plain
        if isinstance(value, float) and "e" in plain:  # 1e+20 is text for YAML 1.1
            mantissa, _, power = plain.partition("e")
            plain = f"{mantissa}{'' if '.' in mantissa else '.0'}e{int(power):+03d}"
            if _reads_as(plain, value, inside):
                return plain
    raise ValueError("no plain value")


def _text(value: str, quote: str, inside: bool) -> str:
    single = "'" + value.replace("'", "''") + "'"
    double = json.dumps(value, ensure_ascii=False)
    styles = {"'": (single, double), '"': (double,)}.get(quote, (value, single, double))
    for style in styles:
        if "\n" not in style and _reads_as(style, value, inside):
            return style
    raise ValueError("no text for YAML")


def _reads_as(text: str, value: object, inside: bool) -> bool:
    """Whether a program gets ``value`` from ``text`` at this kind of place."""
    whole = "{k: " + text + ", l: 1}" if inside else "k: " + text + "  # c\nl: 1\n"
    try:
        found = yaml.load(whole, Loader=FAST)  # noqa: S506  (a safe loader)
        return bool(exact(found) == exact({"k": value, "l": 1}))
    except (yaml.YAMLError, ValueError, TypeError):
        return False
