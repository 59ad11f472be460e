"""Reads a report's HTML the way a browser does: its elements, attributes and text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

VOID = {"meta"}


class Page(HTMLParser):
    """Every start tag with its attributes, all text outside the style sheet, and the nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, one piece behind the other."""
        return "".join(self.texts)

    def find(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Attributes of every such element that has these attributes."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


def drawing(html: str) -> ET.Element:
    """The picture of the requests, as XML."""
    start = html.index('<svg id="latency"')
    depth, at = 0, start
    while True:
        opened, closed = html.find("<svg", at), html.find("</svg>", at)
        if 0 <= opened < closed:
            depth, at = depth + 1, opened + 4
            continue
        depth, at = depth - 1, closed + 6
        if depth == 0:
            # Our own output.
            return ET.fromstring(html[start:at])  # noqa: S314


def group(svg: ET.Element, name: str) -> ET.Element:
    """The one group with this class."""
    (found,) = [g for g in svg.iter("g") if g.get("class") == name]
    return found
