"""Links, layers, the site's menu and make targets that the documentation names exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.docs.pages import DOCS, PAGES, ROOT, code, headings, prose, section, table

page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _links(text: str) -> Iterator[str]:
    """Targets of links and pictures outside of code."""
    without = re.sub(r"`[^`]*`", "", prose(text))
    yield from re.findall(r"\]\(([^)\s]+)\)", without)


@page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists, and a heading that it has."""
    for link in _links(page.read_text()):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target.read_text()), link
        if page.is_relative_to(DOCS):
            assert target.is_relative_to(DOCS), f"{link} is not on the site"


@page
def test_plain_pages(page: Path) -> None:
    """No page names a path of the machine that it was written on, nor a registry's host."""
    assert not re.search(r"/work\b|/tmp/|pypi\.org|pythonhosted|npmjs", page.read_text())


def test_menu_has_every_page() -> None:
    """The site's menu names existing pages only, and all of them."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert sorted(_leaves(site["nav"])) == sorted(
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")
    )
    assert site["strict"] is True
    assert site["theme"]["font"] is False


def _leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _leaves(each)


def test_layers_are_those_of_the_linter() -> None:
    """ARCHITECTURE.md has the layers of pyproject.toml, in their order."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = table(section((ROOT / "ARCHITECTURE.md").read_text(), "Layers"))
    told = [re.findall(r"`([^`]+)`", row[0]) for row in rows]
    assert told == [[name.strip() for name in layer.split("|")] for layer in layers]


def test_tree_has_every_package() -> None:
    """ARCHITECTURE.md has a line for each package and module at the top, and for no other."""
    tree = (ROOT / "ARCHITECTURE.md").read_text().partition("```\n")[2].partition("```")[0]
    told = set(re.findall(r"^  ([a-z]+(?:\.py|/)) ", tree, re.MULTILINE))
    source = ROOT / "src" / "crossfade"
    there = {f"{p.name}/" for p in source.iterdir() if (p / "__init__.py").exists()}
    there |= {p.name for p in source.glob("[!_]*.py")}
    assert told == there


def test_kinds_of_drivers() -> None:
    """The page of drivers has the built-in ones, with their classes."""
    from crossfade.drivers import BUILT_IN

    rows = [r for r in table((DOCS / "reference" / "drivers.md").read_text()) if len(r) == 3]
    told = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert told == {name: place.partition(":")[2] for name, place in BUILT_IN.items()}


def test_make_targets_exist() -> None:
    """Each ``make TARGET`` in the documentation is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        found
        for each in PAGES
        for line in code(each.read_text())
        for found in re.findall(r"^make ([a-z-]+)", line)
    }
    assert "demo" in named
    assert named <= targets


def test_files_named_in_architecture_exist() -> None:
    """The paths that ARCHITECTURE.md and CONTRIBUTING.md name are there."""
    for name in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
        for span in code((ROOT / name).read_text()):
            if re.fullmatch(r"(src|tests|docs|tools)/[\w./]+", span):
                assert (ROOT / span).exists(), span
