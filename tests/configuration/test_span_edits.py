"""Any YAML, any edits: the result parses to the model with the edits, all other bytes are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfade.configuration._document import YamlFile
from crossfade.configuration._edit import apply, change
from crossfade.configuration._prove import prove_file, same

Draw = Callable[[st.SearchStrategy[Any]], Any]

WORDS = st.text("abcXYZ019 .:/-_#'\"\\,[]{}&*!|>%@`?~=éß€\U0001f600\n\t\x85", max_size=12)
PATHS = st.text("ab/._ -'\"#:é\\\x7f", min_size=1, max_size=12).map(lambda text: "/" + text)
SPECIAL = st.sampled_from(["", "null", "yes", "1.10", "0x10", "1:30", "2024-01-01", "~", "<<", "="])
TEXTS = st.one_of(WORDS, PATHS, SPECIAL)
SCALARS = st.one_of(TEXTS, st.integers(-9, 70000), st.booleans(), st.none(), st.floats(0, 9))
KEYS = st.text("abcdefgh_", min_size=1, max_size=6).filter(lambda key: key not in ("y", "n"))
MODELS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)
BUSY = [HealthCheck.too_slow]
"""Another test may have the processor; this is not about how quickly examples are made."""
COMMENTS = st.sampled_from(["", "", '  # it\'s "so": [', " #x", "   "])


class Writer:
    """Writes a model as YAML in random styles, remembering which pieces are whose value."""

    def __init__(self, draw: Draw, line_break: str) -> None:
        self.draw = draw
        self.line_break = line_break
        self.pieces: list[tuple[str, tuple[Any, ...] | None]] = []

    def add(self, text: str) -> None:
        """Text that belongs to no value."""
        self.pieces.append((text, None))

    def end(self) -> None:
        """The end of a line, perhaps with a comment, perhaps with an empty line or one more."""
        self.add(self.draw(COMMENTS) + self.line_break)
        if self.draw(st.integers(0, 5)) == 0:
            self.add("   # between: 'lines" + self.line_break + self.line_break)

    def mapping(self, model: dict[str, Any], path: tuple[Any, ...], indent: str) -> None:
        """The pairs of a block mapping, one after the other."""
        for key, value in model.items():
            self.add(f"{indent}{key}:")
            self.value(value, (*path, key), indent)

    def value(self, value: Any, path: tuple[Any, ...], indent: str) -> None:
        """What follows a key or a dash: a scalar, or a collection in block or flow style."""
        if not isinstance(value, dict | list):
            self.add(" ")
            self.scalar(value, path)
            self.end()
        elif not value or self.draw(st.booleans()):
            self.add(" ")
            self.flow(value, path)
            self.end()
        elif isinstance(value, dict):
            self.end()
            self.mapping(value, path, indent + self.draw(st.sampled_from([" ", "   "])))
        else:
            self.end()
            deeper = indent + self.draw(st.sampled_from([" ", "   "]))
            for index, item in enumerate(value):
                self.add(f"{deeper}-")
                self.value(item, (*path, index), deeper)

    def flow(self, value: Any, path: tuple[Any, ...]) -> None:
        """A value inside brackets."""
        if isinstance(value, dict):
            self.add("{")
            for key, inner in value.items():
                self.add(f"{key}: ")
                self.flow(inner, (*path, key))
                self.add(self.draw(st.sampled_from([", ", ","])))
            self.add("}")
        elif isinstance(value, list):
            self.add("[")
            for index, inner in enumerate(value):
                self.flow(inner, (*path, index))
                self.add(self.draw(st.sampled_from([", ", " ,"])))
            self.add("]")
        else:
            self.scalar(value, path)

    def scalar(self, value: Any, path: tuple[Any, ...]) -> None:
        """A scalar as PyYAML would write it in one line, in a style of its own."""
        style = self.draw(st.sampled_from([None, "'", '"'])) if isinstance(value, str) else None
        text = yaml.safe_dump(
            [value], default_style=style, width=10**6, allow_unicode=True, default_flow_style=True
        )
        inner = text.strip()[1:-1]
        if "\n" in inner or (isinstance(value, str) and not value.isprintable()):
            inner = yaml.safe_dump([value], default_style='"', width=10**6, default_flow_style=True)
            inner = inner.strip()[1:-1]
        self.pieces.append((inner, path))


@st.composite
def documents(draw: Draw) -> tuple[dict[str, Any], list[tuple[str, tuple[Any, ...] | None]]]:
    """A model and its text in pieces."""
    model = draw(MODELS)
    writer = Writer(draw, draw(st.sampled_from(["\n", "\n", "\r\n"])))
    if draw(st.integers(0, 4)) == 0:
        writer.add("\ufeff")
    writer.add(draw(st.sampled_from(["", "# head: {\n", "---\n", "%YAML 1.1\n---\n"])))
    if model:
        writer.mapping(model, (), "")
        writer.add(draw(st.sampled_from(["", "# tail", "...\n"])))
    return model, writer.pieces


@settings(max_examples=150, deadline=None, suppress_health_check=BUSY)
@given(st.data())
def test_edits(data: st.DataObject) -> None:
    """The edited values are new, the model is otherwise the same, and so is every other byte."""
    model, pieces = data.draw(documents())
    text = "".join(piece for piece, _ in pieces)
    file = YamlFile(Path("x.yaml"), text.encode())
    loaded = yaml.safe_load(text)
    assert same(loaded or {}, model), text
    editable = [path for _, path in pieces if path and type(_at(model, path)) in (str, int)]
    chosen = data.draw(st.lists(st.sampled_from(editable), unique=True)) if editable else []
    changes = []
    for path in chosen:
        (found,) = [found for found in file.find(".".join(map(str, path))) if found.keys == path]
        kind: st.SearchStrategy[str | int] = st.integers(0, 65535)
        if isinstance(_at(model, path), str):
            kind = TEXTS
        changes.append(change(file, found, data.draw(kind)))
    result = apply(text, changes)
    expected = yaml.safe_load(text) or {}
    for each in changes:
        _at(expected, each.found.keys[:-1])[each.found.keys[-1]] = each.value
    assert same(yaml.safe_load(result) or {}, expected), result
    pattern = "".join("(.*?)" if path in chosen else re.escape(piece) for piece, path in pieces)
    assert re.fullmatch(pattern, result, re.DOTALL)
    findings = prove_file(file, YamlFile(Path("y.yaml"), result.encode()), changes)
    assert [finding.holds for finding in findings] == [True, True]


@settings(max_examples=50, deadline=None, suppress_health_check=BUSY)
@given(documents(), st.data())
def test_proof_notices_tampering(
    document: tuple[dict[str, Any], list[tuple[str, tuple[Any, ...] | None]]], data: st.DataObject
) -> None:
    """A result with one more change than was decided does not hold."""
    model, pieces = document
    numbers = [path for _, path in pieces if path and type(_at(model, path)) is int]
    if not numbers:
        return
    text = "".join(piece for piece, _ in pieces)
    file = YamlFile(Path("x.yaml"), text.encode())
    path = data.draw(st.sampled_from(numbers))
    (found,) = [found for found in file.find(".".join(map(str, path))) if found.keys == path]
    tampered = apply(text, [change(file, found, _at(model, path) + 1)])
    findings = prove_file(file, YamlFile(Path("y.yaml"), tampered.encode()), [])
    assert [finding.holds for finding in findings] == [True, False]


def _at(model: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        model = model[key]
    return model
