"""JSON: a scanner of our own, the proof by the standard library."""

from __future__ import annotations

import json

import pytest
from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Drop, Edit, Path, Put, Unreadable, Write
from crossfade.merge.formats import detect
from crossfade.merge.formats.json import Json

JSON = Json()

GHOST = """\
{
    "url": "http://localhost:2368/",
    "server": {"host": "127.0.0.1", "port": 2368},
    "mail": {
\t"transport": "Direct",
        "options": {}
    },
    "paths": ["a", "b",
        "c"],
    "nested": [[1, 2], [3]],
    "workers": [
        {"name": "one", "on": true, "rate": 1.50},
        {"name": "two", "on": false, "rate": 1e3}
    ],
    "nothing": null,
    "list": [],
    "text": "a\\u00e9\\n\\"b"
}
"""

KEYS = st.sampled_from(["a", "b", "port", "x y", "é"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, 1.0, 1e30]),
    st.text("a\\\"\n/é,]}", max_size=4),
)  # fmt: skip


@st.composite
def _items(draw: st.DrawFn) -> list[dict[str, object]]:
    """Maps that have different names."""
    names = draw(st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True))
    return [{"name": name, **draw(st.dictionaries(KEYS, SCALARS, max_size=2))} for name in names]


VALUES = st.recursive(
    st.one_of(SCALARS, st.lists(SCALARS, max_size=3), _items()),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def _written(value: object, indent: int | None, compact: bool) -> str:
    signs = (",", ":") if compact else None
    return json.dumps(value, indent=indent, separators=signs, ensure_ascii=compact)


TEXTS = st.builds(
    lambda held, indent, compact, end, crlf: (_written(held, indent, compact) + end).replace(
        "\n", crlf
    ),
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.sampled_from([None, 2, 4]),
    st.booleans(),
    st.sampled_from(["", "\n"]),
    st.sampled_from(["\n", "\r\n"]),
)


class TestContract(FormatContract):
    """The contract of formats."""

    format = JSON
    examples = (GHOST, '{"a":1,"b":[1,2],"c":{"d":"x"}}\n')
    refused = (
        ('{"a": "hunter2",\n"a": 1}', 2),
        ('{"a": "hunter2",\n"b": {"c": 1, "c": 2}}', 2),
        ('{"a": "hunter2"\n"b": 1}', 2),
        ('{"a": "hunter2",\n}', 2),
        ('{"a": "hunter2", // no\n"b": 1}', 1),
        ('{"a": "hunter2",\n/* no */ "b": 1}', 2),
        ('{"a": "hunter2",\n"b": 01}', 2),
        ('{"a": "hunter2",\n"b": NaN}', 2),
        ("{'a': 'hunter2'}", 1),
        ('"hunter2"', 1),
        ('{"a": "hunter2"}\n{}', 2),
        ('{"a": "hunter2",\n"b": "x\ty"}', 2),
    )
    texts = TEXTS
    fixed = frozenset({("workers", f"[name={name}]", "name") for name in ("one", "two")})

    def other(self, path: Path, value: object) -> object:
        """A number stands for what is nothing; what names an item stays."""
        if path[-1] == "name" and len(path) > 1 and path[-2].startswith("["):
            return value
        return 7 if value is None or value == frozenset() else super().other(path, value)


def test_what_is_read() -> None:
    """Values are those of a program; lists of lists are one value."""
    found = model(JSON.read(GHOST))
    assert found[("server", "port")] == 2368
    assert found[("mail", "options")] == frozenset()
    assert found[("paths",)] == ("a", "b", "c")
    assert found[("nested",)] == ((1, 2), (3,))
    assert found[("workers", "[name=two]", "rate")] == 1000.0
    assert found[("text",)] == 'aé\n"b'
    assert model(JSON.read("{}")) == model(JSON.read("\ufeff{ }\r\n")) == {}
    assert model(JSON.read("[1]")) == {("[]",): (1,)}


def test_a_number_is_carried_as_it_is_written() -> None:
    """1.50 stays 1.50, and only true is true."""
    after = JSON.edited(JSON.read('{"a": 1}'), [Put(("a",), JSON.read('{"a": 1.50}'))])
    assert after == '{"a": 1.50}'
    values = [model(JSON.read(f'{{"a": {raw}}}'))[("a",)] for raw in ("1", "1.0", "true")]
    assert [values.index(value) for value in values] == [0, 1, 2]


def test_new_keys_are_laid_out_like_their_neighbours() -> None:
    """On lines of their own, in a line, at the front and at the end, with the right commas."""
    lines = JSON.read('{\n\t"b": 1\n}\n')
    line = JSON.read('{"b": 1}')
    tight = JSON.read('{"b":1,"d":2}')
    source = JSON.read('{"a": {\n  "x": 1\n}, "b": 2, "c": [1], "d": 3}')
    edits = [Put(("c",), source), Put(("a", "x"), source)]
    for document, after in (
        (lines, '{\n\t"a": {\n\t  "x": 1\n\t},\n\t"b": 1,\n\t"c": [1]\n}\n'),
        (line, '{"a": {\n  "x": 1\n}, "b": 1, "c": [1]}'),
        (tight, '{"a": {\n  "x": 1\n},"b":1,"c": [1],"d":2}'),
    ):
        found = JSON.edited(document, edits)
        assert json.loads(found) == json.loads(after)
        assert found == JSON.edited(document, edits[::-1])
    assert JSON.edited(lines, edits) == '{\n\t"a": {\n\t  "x": 1\n\t},\n\t"b": 1,\n\t"c": [1]\n}\n'


def test_what_goes_takes_its_comma() -> None:
    """First, last, several, and all of a map with the map."""
    document = JSON.read('{\n  "a": 1,\n  "b": {"x": 1, "y": 2},\n  "c": 3\n}\n')
    assert JSON.edited(document, [Drop(("a",)), Drop(("c",))]) == '{\n  "b": {"x": 1, "y": 2}\n}\n'
    assert JSON.edited(document, [Drop(("b", "y"))]) == document.text.replace(', "y": 2', "")
    edits: list[Edit] = [Drop(("b", "x")), Drop(("b", "y"))]
    assert JSON.edited(document, edits) == '{\n  "a": 1,\n  "c": 3\n}\n'
    assert json.loads(JSON.edited(document, [*edits, Drop(("a",)), Drop(("c",))])) == {}


def test_an_empty_map_is_filled() -> None:
    """Also the whole text."""
    source = JSON.read('{"a": {"b": 1}}')
    assert JSON.edited(JSON.read("{}"), [Put(("a", "b"), source)]) == '{"a": {"b": 1}}'
    edits: list[Edit] = [Drop(("a",)), Put(("a", "b"), source)]
    assert JSON.edited(JSON.read('{"a": {}}'), edits) == '{"a": {"b": 1}}'


def test_an_item_that_was_renamed_is_the_same_item() -> None:
    """When the rest of it is alike."""
    base = JSON.read(GHOST)
    user = JSON.aligned(JSON.read(GHOST.replace('"two"', '"deux"')), base)
    path = ("workers", "[name=two]", "name")
    assert model(user)[path] == "deux"
    assert JSON.edited(base, [Put(path, user)]) == user.text


def test_written_lists_keep_their_lines() -> None:
    """A list that has one item a line has so afterwards."""
    document = JSON.read('{"a": [\n  1,\n  2\n]}')
    assert JSON.edited(document, [Write(("a",), (1, 3, 4))]) == '{"a": [\n  1,\n  3,\n  4\n]}'


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "", " \n"])
def test_deep_and_empty_texts_are_refused(text: str) -> None:
    """Without an end of the stack."""
    with pytest.raises(Unreadable):
        JSON.read(text)


def test_it_is_detected() -> None:
    """By content, whatever the name is."""
    found = detect("settings.conf", GHOST)
    assert found is not None
    assert found.name == "json"


def test_real_files_stay_byte_for_byte() -> None:
    """What this project, its packages, Python and Debian bring."""
    read = 0
    for _, text in found_texts(("src", ".venv", "/usr/share", "/usr/lib", "/etc"), ("*.json",)):
        try:
            document = JSON.read(text)
        except Unreadable:
            continue
        if len(text) > 50_000:
            continue
        assert JSON.edited(document, []) == text
        assert JSON.edited(document, [Put(path, document) for path in document.settings]) == text
        read += 1
        if read == 60:
            break
    assert read >= 5
