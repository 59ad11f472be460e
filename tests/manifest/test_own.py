"""Configuration files, rules and trees that only the manifest names."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.manifest.scratch import MANIFEST, complaints, write

from crossfade.manifest import SCHEMA, load
from crossfade.recipes import RewriteSpec

OWN = """\
configuration:
  - {path: homeserver.yaml, rewrite: [{key: templates.custom_template_directory, to: path}]}
  - {path: bridge.yml, rewrite: [{key: bind, to: host}], identity: [token]}
  - {path: rules.cfg, format: ini}
  - {path: welcome.html}
files:
  - {name: templates, path: templates}
"""
TEXT = MANIFEST + OWN


def test_values(tmp_path: Path) -> None:
    """They stand behind the recipe's; a format that is not said is the recipe's, or by the name."""
    recipe = load(write(tmp_path, TEXT)).recipe
    own = recipe.configuration[-4:]
    assert [(spec.path, spec.format) for spec in own] == [
        ("homeserver.yaml", "yaml"),
        ("bridge.yml", "yaml"),
        ("rules.cfg", "ini"),
        ("welcome.html", "opaque"),
    ]
    assert own[1].rewrite == (RewriteSpec("bind", "host"),)
    assert own[1].identity == ("token",)
    assert [(part.name, part.driver, part.path) for part in recipe.files[1:]] == [
        ("templates", "tree", "templates")
    ]


def test_schema_agrees() -> None:
    """What we accept, editors accept; and what may be said of a rule is what recipes may say."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(TEXT))
    of_recipes = json.loads((SCHEMA.parents[1] / "recipes" / "recipe.schema.json").read_text())
    ours, theirs = (
        one["properties"]["configuration"]["items"]["properties"] for one in (schema, of_recipes)
    )
    assert ours["rewrite"] == theirs["rewrite"]
    assert ours["format"]["enum"] == theirs["format"]["enum"]
    assert schema["$defs"]["key"] == of_recipes["$defs"]["key"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("bridge.yml", "../bridge.yml", "configuration.1.path: must be relative and stay inside"),
        ("rules.cfg", "/etc/rules.cfg", "configuration.2.path: must be relative and stay inside"),
        ("bridge.yml", "bridge", "configuration.1.rewrite: cannot be done in an opaque file; say"),
        ("format: ini", "format: cfg", "configuration.2.format"),
        (
            "homeserver.yaml,",
            "homeserver.yaml, format: json,",
            "configuration.0.format: is yaml in the recipe",
        ),
        ("path: templates", "path: ../x", "files.0.path: must be relative and stay inside"),
        ("name: templates", "name: media", "files.0.name: is a name that was used before"),
    ],
)
def test_complaints(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """What does not hold is said with its place."""
    assert old in TEXT
    assert complaint in str(complaints(tmp_path, TEXT.replace(old, new, 1)).where)
