"""An XML text for the proof, by the standard library's documents."""

from __future__ import annotations

import re
from typing import Any
from xml.dom import expatbuilder
from xml.parsers import expat

from crossfade.merge._once import once
from crossfade.merge.formats._xml_nodes import Attribute, Comment, Element, canonical, grouped

__all__ = ["model"]

_DECLARATION = re.compile(r"\ufeff?(<\?xml\s[^>]*\?>)?")


@once
def model(text: str) -> Any:
    """A text by the standard library's documents.  Raises ValueError."""
    bare = text[_DECLARATION.match(text).end() :]  # type: ignore[union-attr]  # matches always
    if re.search(r"<!(DOCTYPE[^>]*\[|ENTITY)", bare):
        raise ValueError("declarations")
    try:
        document: Any = expatbuilder.parseString(bare.encode(), namespaces=False)  # noqa: S316  (no declarations)
    except (expat.ExpatError, UnicodeEncodeError):
        raise ValueError("no XML") from None
    root = _element_of(document.documentElement)
    return {"": [_modelled(root)]}


def _element_of(found: Any) -> Element:
    element = Element(found.tagName, 0)
    for name, value in (found.attributes or {}).items():
        element.attributes.append(Attribute(name, value, 0, 0, 0))
    for child in found.childNodes:
        if child.nodeType == child.ELEMENT_NODE:
            element.children.append(_element_of(child))
            element.content.append(element.children[-1])
        elif child.nodeType in (child.TEXT_NODE, child.CDATA_SECTION_NODE):
            element.text.append(child.data)
            if element.content and isinstance(element.content[-1], str):
                element.content[-1] += child.data
            else:
                element.content.append(child.data)
        else:
            element.notes.append(Comment(0, 0, ""))
    return element


def _modelled(element: Element) -> dict[str, Any]:
    model: dict[str, Any] = {"<>": element.tag}
    groups = grouped(element.children)
    if groups is None or element.opaque:
        return {**model, "opaque": canonical(element)}
    model.update({f"@{one.name}": one.value for one in element.attributes})
    if element.words.strip():
        model["text()"] = element.words
    below: list[Any] = []
    for group in groups:
        if len(group.elements) > 1:
            items = [canonical(one) for one in group.elements]
            below.append({"<>": group.elements[0].tag, "items": items})
        else:
            below.append(_modelled(group.elements[0]))
    return {**model, "": below} if below else model
