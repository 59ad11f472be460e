"""The documentation as text: its pages, their headings, and the code in them."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DOCS", "PAGES", "ROOT", "code", "headings", "prose", "section", "table"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
]
PAGES += sorted(DOCS.rglob("*.md"))

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def code(text: str) -> list[str]:
    """Every line of a fenced block, and every span of code, of a page."""
    blocks = [line for block in _FENCE.findall(text) for line in block.splitlines()[1:-1]]
    return blocks + [span.replace("\n", " ") for span in _SPAN.findall(prose(text))]


def headings(text: str) -> set[str]:
    """The anchors that a page's headings have."""
    found = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in found}


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level, up to the next one."""
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The rows of all tables in a text, without their heads, as lists of cells."""
    rows: list[list[str]] = []
    lines = prose(text).splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|") or line.startswith("| ---"):
            continue
        if number + 1 < len(lines) and lines[number + 1].startswith("| ---"):
            continue
        rows.append(
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        )
    return rows
