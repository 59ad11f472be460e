"""TOML: a scanner of our own, the proof by tomllib."""

from __future__ import annotations

import tomllib
from pathlib import Path as FilePath

import pytest
from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Drop, Edit, Path, Put, Unreadable, Write
from crossfade.merge.formats import detect
from crossfade.merge.formats.toml import Toml

TOML = Toml()

CONFIG = """\
# Top of all
title = "x \\"y\\""  # said
#debug = false
ports = [
  8001, # first
  8002,
]
when = 1979-05-27T07:32:00Z
point = { x = 1, y = 2.5 }
fruit.apple.color = 'red'

# The server
[server]
host = "::1"
text = '''
a # no comment
  b'''
# tls.cert = "x"
# limits = [
#   1,
# ]

[server."log.file"]
  path = '/var/log'
  rotate = true

# [cache]
# size = 5

[[workers]]
name = "one"
count = 0x1F
[workers.env]
HOME = "/a"

[[workers]]
name = "two"
count = 1_000

[empty]
"""

KEYS = st.sampled_from(["a", "b", "port", "long-name", '"x y"'])
VALUES = st.sampled_from(
    ["1", "1.5", "true", '"a b"', "'c'", '"a\\n#"', "[]", "[1, 2]", '[\n  "x", # c\n]', "{}",
     "{ k = 1, l = 'm' }", "2020-01-02", "1e3", '"é"', "0o755"]
)  # fmt: skip


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """Keys, tables, tables of tables and repeated tables, with comments and commented keys."""
    lines: list[str] = []
    _keys(draw, lines)
    for name in draw(st.lists(st.sampled_from(["t", "u.v", '"w x"']), unique=True)):
        lines += draw(st.sampled_from([[], [""], ["", "# about"], [f"# [{name}z]"]]))
        lines.append(f"[{name}]")
        _keys(draw, lines)
    for name in draw(st.lists(st.sampled_from("xyz"), max_size=2, unique=True)):
        lines += ["", "[[item]]", f'name = "{name}"']
        _keys(draw, lines)
    text = "\n".join(lines) + draw(st.sampled_from(["\n", ""]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def _keys(draw: st.DrawFn, lines: list[str]) -> None:
    for key in draw(st.lists(KEYS, max_size=3, unique=True)):
        way = draw(st.integers(0, 6))
        value = draw(VALUES)
        if way == 0:
            lines.append(draw(st.sampled_from(["", "# words", f"#{key} = 1"])))
        elif way == 1:
            lines.append(f"{key}.sub = {value}")
        else:
            lines.append(f"{key} = {value}")


class TestContract(FormatContract):
    """The contract of formats."""

    format = TOML
    examples = (CONFIG, "a = 1\nb = 'x'\n")
    refused = (
        ('a = "hunter2"\na = 1\n', 2),
        ('a = "hunter2"\n[b]\n[b]\n', 3),
        ('a = "hunter2"\nb = {c = 1, c = 2}\n', 2),
        ('a = "hunter2"\nb = \n', 2),
        ('a = "hunter2"\nb\n', 2),
        ('a = "hunter2', 1),
    )
    texts = toml_texts()
    fixed = frozenset({("workers", f"[name={name}]", "name") for name in ("one", "two")})

    def other(self, path: Path, value: object) -> object:
        """What names a table stays, and so does what is not one value."""
        if value == frozenset() or (path[-1] == "name" and len(path) > 1):
            return value
        return super().other(path, value)


def test_what_is_read() -> None:
    """Values are those of a program, repeated tables go by what names them."""
    found = model(TOML.read(CONFIG))
    assert found[("ports",)] == (8001, 8002)
    assert found[("point", "y")] == 2.5
    assert found[("fruit", "apple", "color")] == "red"
    assert found[("server", "text")] == "a # no comment\n  b"
    assert found[("server", "log.file", "path")] == "/var/log"
    assert found[("workers", "[name=one]", "env", "HOME")] == "/a"
    assert found[("workers", "[name=two]", "count")] == 1000
    assert found[("empty",)] == frozenset()


def test_commented_keys() -> None:
    """By the table where they stand, also one that is a comment itself."""
    assert {path: found.raw for path, found in TOML.read(CONFIG).commented.items()} == {
        ("debug",): "false",
        ("server", "tls", "cert"): '"x"',
        ("server", "limits"): "[",
        ("cache", "size"): "5",
    }


def test_new_keys_and_tables_have_their_places() -> None:
    """Under their twins, behind their neighbours, tables before the next table."""
    source = TOML.read(
        '# why\ndebug = true\n[server]\nlimits = [2]\nport = 1\n[cache]\nsize = 6\nway = "x"\n'
        "[server.new]\nx = 1\n"
    )
    edits: list[Edit] = [Put(path, source) for path in source.settings]
    after = TOML.edited(TOML.read(CONFIG), edits)
    expected = CONFIG.replace("#debug = false\n", "#debug = false\n# why\ndebug = true\n")
    expected = expected.replace("# ]\n", "# ]\nlimits = [2]\n")
    expected = expected.replace("# size = 5\n", '# size = 5\n[cache]\nsize = 6\nway = "x"\n')
    found = tomllib.loads(after)
    assert found["server"]["new"] == {"x": 1}
    assert found["server"]["port"] == 1
    assert after.index("[server.new]") > after.index("[server]")
    for line in expected.splitlines():
        assert line in after.splitlines()
    assert model(TOML.read(TOML.edited(TOML.read(CONFIG), edits[::-1]))) == model(TOML.read(after))


def test_the_first_key_of_a_text_of_tables() -> None:
    """It goes above them, for below it would be of the last one."""
    document = TOML.read("# about t\n[t]\na = 1\n")
    after = TOML.edited(document, [Put(("k",), TOML.read("k = 1\n"))])
    assert tomllib.loads(after) == {"k": 1, "t": {"a": 1}}


def test_a_name_that_was_changed_is_the_same_table() -> None:
    """When the rest is alike."""
    base = TOML.read(CONFIG)
    user = TOML.aligned(TOML.read(CONFIG.replace('"one"', '"uno"')), base)
    after = TOML.edited(base, [Put(("workers", "[name=one]", "name"), user)])
    assert after == user.text


def test_keys_with_dots_come_and_go() -> None:
    """Each with its line, also with brackets behind it."""
    document = TOML.read("a.b = {k = 1, l = 2}\na.c = 3\nd = 4\n")
    gone: list[Edit] = [Drop(path) for path in document.settings if path[0] == "a"]
    after = TOML.edited(document, gone)
    assert after == "d = 4\n"
    edits: list[Edit] = [Put(path, document) for path in document.settings if path[0] == "a"]
    assert TOML.edited(TOML.read(after), edits) == document.text


def test_a_table_goes_with_all_in_it() -> None:
    """Its header, its keys and the tables below it."""
    document = TOML.read("a = 1\n[t]\nb = 1\n[t.u]\nc = 1\n[v]\nd = 1\n")
    edits: list[Edit] = [Drop(("t", "b")), Drop(("t", "u", "c"))]
    assert TOML.edited(document, edits) == "a = 1\n[v]\nd = 1\n"


def test_values_are_carried_and_written_in_their_style() -> None:
    """Raw text when carried; quotes and lines stay when written."""
    source = TOML.read("a = 0x1F\nb = '''x\ny'''\n")
    document = TOML.read("a = 1 # c\nb = 'o'\nl = [\n  1,\n  2,\n]\n")
    edits: list[Edit] = [Put(("a",), source), Put(("b",), source), Write(("l",), (1, 5))]
    after = "a = 0x1F # c\nb = '''x\ny'''\nl = [\n  1,\n  5,\n]\n"
    assert TOML.edited(document, edits) == after
    assert TOML.edited(document, [Write(("b",), "p")]).splitlines()[1] == "b = 'p'"


@pytest.mark.parametrize("text", ["", "# only\n", "\n", "\ufeff"])
def test_a_text_without_settings_can_be_given_one(text: str) -> None:
    """Nothing, or comments only."""
    after = TOML.edited(TOML.read(text), [Put(("t", "x"), TOML.read("[t]\nx = 1\n"))])
    assert after.startswith(text)
    assert model(TOML.read(after)) == {("t", "x"): 1}


def test_deep_nesting_is_refused() -> None:
    """Without an end of the stack."""
    for text in ("a = " + "[" * 5000 + "]" * 5000, "a = " + "[" * 200 + "]" * 200):
        with pytest.raises(Unreadable):
            TOML.read(text)


def test_it_is_detected() -> None:
    """By its ending."""
    found = detect("config.toml", CONFIG)
    assert found is not None
    assert found.name == "toml"


def test_real_files_stay_byte_for_byte() -> None:
    """What this project, its packages and Debian bring."""
    read = 0
    ours = FilePath("pyproject.toml").read_text()
    theirs = found_texts((".venv", "/usr/share", "/etc"), ("*.toml",))
    for text in (ours, *(text for _, text in theirs)):
        try:
            document = TOML.read(text)
        except Unreadable:
            continue
        assert TOML.edited(document, []) == text
        assert TOML.edited(document, [Put(path, document) for path in document.settings]) == text
        read += 1
    assert read >= 1
