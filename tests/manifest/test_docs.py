"""The reference pages say what the program does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossfade import manifest, recipes
from crossfade.manifest import load, skeleton
from crossfade.recipes import load as load_recipe

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def _keys(schema: Any) -> Iterator[str]:
    """Every name of a key in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield from schema["properties"]
        for inner in schema.values():
            yield from _keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _keys(inner)


@pytest.mark.parametrize(
    ("page", "schema"),
    [
        ("manifest.md", manifest.SCHEMA),
        ("recipes.md", Path(recipes.__file__).parent / "recipe.schema.json"),
    ],
)
def test_every_key_has_a_word(page: str, schema: Path) -> None:
    """Every key of the schema is on its page (checks are on the manifest's)."""
    text = (DOCS / page).read_text() + (DOCS / "manifest.md").read_text()
    missing = {
        key
        for key in _keys(json.loads(schema.read_text()))
        if not re.search(rf"`[^`]*\b{key}\b[^`]*`", text)
    }
    assert missing == set()


def test_example_manifest_holds(tmp_path: Path) -> None:
    """The manifest on the page is one that is accepted."""
    (tmp_path / "crossfade.yaml").write_text(_block("manifest.md", "A whole manifest"))
    assert load(tmp_path / "crossfade.yaml").new.version == "1.163.2"


def test_example_recipe_holds(tmp_path: Path) -> None:
    """The recipe on the page is one that is accepted."""
    (tmp_path / "notes.yaml").write_text(_block("recipes.md", "A small recipe"))
    assert load_recipe("notes.yaml", tmp_path).title == "Notes"


def test_every_effect_of_synapse_is_told() -> None:
    """The page lists what Synapse does to the outside."""
    text = (DOCS / "recipes.md").read_text()
    for effect in load_recipe("synapse", Path()).effects:
        assert effect.name in text


def test_skeleton_holds(tmp_path: Path) -> None:
    """What ``crossfade init`` writes is accepted as it is."""
    (tmp_path / "crossfade.yaml").write_text(skeleton("synapse"))
    assert load(tmp_path / "crossfade.yaml").application == "synapse"


def _block(page: str, heading: str) -> str:
    """The first code block below a heading."""
    text = (DOCS / page).read_text().partition(f"## {heading}")[2]
    return text.partition("```yaml\n")[2].partition("```")[0]
