"""Markup that is safe by construction: text becomes markup only through here, escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from crossfade.report.words import visible

__all__ = ["Content", "Markup", "element", "join"]

_EMPTY = frozenset({"meta", "line", "path", "polygon", "rect"})


class Markup(str):
    """A string that is markup already.  Only ``element`` and ``join`` make one from data."""

    __slots__ = ()


Content = str | Markup | None | Iterable["Content"]


def element(tag: str, *content: Content, **attributes: object) -> Markup:
    """An element.  Strings in ``content`` are text unless they are Markup; None is left out.

    Attribute names lose a trailing underscore (``class_``) and turn others into hyphens; a value
    of None or False leaves the attribute out, True writes its name as its value.  Numbers are
    written with at most two decimals.
    """
    given = "".join(
        f' {_name(name)}="{_value(name, value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    inside = join(content)
    if tag in _EMPTY and not inside:
        return Markup(f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{inside}</{tag}>")


def join(content: Content) -> Markup:
    """All of the content, one after the other, escaped where it is not Markup."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(escape(visible(content)))
    return Markup("".join(join(part) for part in content))


def _name(name: str) -> str:
    # SVG has two attributes with capitals that we use; keyword arguments keep them as they are.
    return name.rstrip("_").replace("_", "-")


def _value(name: str, value: object) -> str:
    if value is True:
        return _name(name)
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(visible(str(value)))
