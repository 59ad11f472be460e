"""Our validator against ``jsonschema``: both accept and refuse the same documents."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.manifest.scratch import MANIFEST

from crossfade import manifest, recipes
from crossfade.recipes._validate import load_schema, parse

FILES = {
    "manifest": manifest.SCHEMA,
    "recipe": Path(recipes.__file__).parent / "recipe.schema.json",
}
SCHEMAS: dict[str, Any] = {name: load_schema(path) for name, path in FILES.items()}
THEIRS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
EXAMPLES: dict[str, Any] = {
    "manifest": yaml.safe_load(MANIFEST),
    "recipe": yaml.safe_load((Path(recipes.__file__).parent / "synapse.yaml").read_text()),
}
VALUES: list[Any] = [None, True, 0, -1, 1.5, 10**6, "", "~", "text", "/x", "local", [], {}, [{}]]
VALUES += [["a"], [""], {"a": 1}, {"path": "/x"}, {"file": "f", "key": "k"}, "a..b", "yaml", 2.0]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_a_schema(name: str) -> None:
    """The published files are valid draft 2020-12, with a title for editors."""
    schema = json.loads(FILES[name].read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_example_is_accepted(name: str) -> None:
    """The whole manifest of these tests, and the recipe of Synapse, hold against their schemas."""
    assert _ours(name, EXAMPLES[name]) == _theirs(name, EXAMPLES[name]) == []


def test_checks_are_the_same_in_both() -> None:
    """A site's check may say exactly what a recipe's check may say."""
    keys = [set(SCHEMAS[name]["$defs"]["check"]["properties"]) for name in SCHEMAS]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_agrees_with_jsonschema(name: str, data: st.DataObject) -> None:
    """Whatever is put in, taken out or renamed, both validators say the same."""
    document = copy.deepcopy(EXAMPLES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        _disturb(document, data)
    ours, theirs = _ours(name, document), _theirs(name, document)
    assert bool(ours) == bool(theirs), (ours, theirs)


def _disturb(document: Any, data: st.DataObject) -> None:
    """Change one thing somewhere in the document."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        break
    deed = data.draw(st.sampled_from(["replace", "remove", "rename"]))
    if deed == "replace" or isinstance(place, list):
        place[key] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    elif deed == "remove":
        del place[key]
    else:
        place[f"{key}x"] = place.pop(key)


def _ours(name: str, document: Any) -> list[str]:
    """Our complaints, but not those about empty files: a schema knows no files."""
    text = json.dumps(document)  # which is YAML as well
    return [complaint.shown("f") for complaint in parse(text, SCHEMAS[name])[1]]


def _theirs(name: str, document: Any) -> list[str]:
    return [error.message for error in THEIRS[name].iter_errors(document)]
