"""Python settings: spans from ast, nothing is ever run."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Drop, Path, Put, Unreadable, Write
from crossfade.merge.formats import apart, detect
from crossfade.merge.formats.python import Python

PYTHON = Python()

SETTINGS = '''\
"""Settings of the application."""
import os
from pathlib import Path

BASE = Path(__file__).parent
DEBUG = False  # never on
# How many at once
# WORKERS = 4
#CACHES = {
#    "default": {},
#}
ALLOWED_HOSTS = ["a.example", 'b.example']
ADMINS = (("who", "who@example.org"),)
DATABASES = {
    # the main one
    "default": {
        "ENGINE": "postgres",
        "NAME": os.path.join(BASE, "db"),
        "PORT": 5432, "OPTIONS": {},
    },
}
TEMPLATES = [
    {"BACKEND": "django", "APP_DIRS": True},
    {"BACKEND": "jinja", "APP_DIRS": False},
]
BANNER = """\\
two
  lines"""
LONG = (
    "one "  # first
    "two"
)
RATE: float = 1.5
INSTALLED = ["a"]
INSTALLED += ["b"]
if DEBUG:
    EXTRA = 1


def helper():
    return DEBUG
'''

NAMES = st.sampled_from(["A", "B", "PORT", "long_name"])
VALUES = st.sampled_from(
    ["1", "-1.5", "True", "None", "'x'", '"it\'s"', "[1, 'a']", "[]", "{}", "(1, 2)", "b'x'",
     "('a'\n    'b')", '"""x\ny"""', "len([1])", "{1: 2}", "{'k': 1, 'l': [2]}", "'é'",
     "[{'NAME': 'n', 'v': 1}]", "{\n    'm': 1,\n    'n': {'o': 2},  # c\n}"]
)  # fmt: skip


@st.composite
def python_texts(draw: st.DrawFn) -> str:
    """Statements with literals and expressions, comments and commented statements."""
    lines: list[str] = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        lines += draw(st.sampled_from([[], [""], ["# words"], [f"#{name} = 9"], ["import os"]]))
        lines += f"{name} = {draw(VALUES)}".split("\n")
    text = "\n".join(lines) + draw(st.sampled_from(["\n", ""]))
    return text if '"""' in text else text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


class TestContract(FormatContract):
    """The contract of formats."""

    format = PYTHON
    examples = (SETTINGS, "a = 1\nb = {'c': 'x', 'd': [1, 2]}\n")
    refused = (
        ("a = 'hunter2'\nb = {'c': 1, 'c': 2}\n", 2),
        ("a = 'hunter2'\nb = \n", 2),
        ("a = 'hunter2\n", 1),
        ("a = 'hunter2'\n b = 1\n", 2),
        ("a = 'hunter2'\n\x00\n", 1),
    )
    texts = python_texts()
    fixed = frozenset(
        {("BASE",), ("DEBUG",), ("LONG",), ("ADMINS",), ("DATABASES", "default", "NAME")}
        | {("TEMPLATES", f"[BACKEND={name}]", "BACKEND") for name in ("django", "jinja")}
    )

    def other(self, path: Path, value: object) -> object:
        """Only what is a literal has another one; what names an item stays."""
        if isinstance(value, bytes | frozenset) or type(value).__name__ == "Tagged":
            return value
        if path[-1] == "NAME" and len(path) > 1:
            return value
        return super().other(path, value)


def test_what_is_read() -> None:
    """Literals by their values, dicts by their keys, expressions as they are written."""
    found = model(PYTHON.read(SETTINGS))
    assert found[("ALLOWED_HOSTS",)] == ("a.example", "b.example")
    assert found[("DATABASES", "default", "PORT")] == 5432
    assert found[("DATABASES", "default", "OPTIONS")] == frozenset()
    assert found[("BANNER",)] == "two\n  lines"
    assert found[("LONG",)] == "one two"
    assert found[("RATE",)] == 1.5
    assert not isinstance(found[("BASE",)], str)
    assert found[("ADMINS",)] != (("who", "who@example.org"),)
    assert not {("INSTALLED",), ("EXTRA",)} & set(found)
    assert list(PYTHON.read(SETTINGS).commented) == [("WORKERS",), ("CACHES",)]


def test_other_statements_are_told() -> None:
    """What is no setting is not carried, so somebody else has to look at it."""
    lines = [line for line, _ in apart(PYTHON.read(SETTINGS))]
    rows = SETTINGS.split("\n")
    assert [rows[line - 1].split()[0] for line in lines] == [
        '"""Settings', "import", "from", "INSTALLED", "INSTALLED", "if", "def",
    ]  # fmt: skip


def test_a_name_that_is_changed_later_is_no_setting() -> None:
    """By a second value, a method, an item, a loop."""
    for change in ("A = 2", "A.append(2)", "A['x'] = 2", "for A in B: pass", "del A", "A += [1]"):
        assert model(PYTHON.read(f"A = [1]\nB = [1]\n{change}\n")) == {("B",): (1,)}


def test_new_settings_go_below_their_twins() -> None:
    """With the comments above them, also below a twin of several lines."""
    source = PYTHON.read("# we have many\nWORKERS = 9\nCACHES = {'default': {'x': 1}}\n")
    edits = [Put(path, source) for path in source.settings]
    after = SETTINGS.replace("# WORKERS = 4\n", "# WORKERS = 4\n# we have many\nWORKERS = 9\n")
    after = after.replace("#}\n", "#}\nCACHES = {'default': {'x': 1}}\n")
    assert PYTHON.edited(PYTHON.read(SETTINGS), edits) == after
    assert PYTHON.edited(PYTHON.read(SETTINGS), edits[::-1]) == after


def test_keys_of_dicts_come_and_go() -> None:
    """With comments, commas and the layout of their neighbours."""
    document = PYTHON.read(SETTINGS)
    source = PYTHON.read(
        "DATABASES = {\n  'default': {\n    'ENGINE': 'x',\n"
        "    # mine\n    'USER': 'me',\n  },\n}\n"
    )
    after = PYTHON.edited(document, [Put(("DATABASES", "default", "USER"), source)])
    line = '        "ENGINE": "postgres",\n'
    assert after == SETTINGS.replace(line, f"{line}        # mine\n        'USER': 'me',\n")
    gone = PYTHON.edited(document, [Drop(("DATABASES", "default", "OPTIONS"))])
    assert gone == SETTINGS.replace('5432, "OPTIONS": {},', "5432, ")


def test_an_expression_needs_its_names() -> None:
    """It is carried as it is written where all that it uses is known, else refused."""
    source = PYTHON.read("import os\nBASE = 1\nDATA = os.path.join(BASE, 'x')\nN = max(1, 2)\n")
    document = PYTHON.read("import os\nBASE = 2\nDATA = 1\nN = 1\n")
    edits = [Put(("DATA",), source), Put(("N",), source)]
    assert PYTHON.edited(document, edits) == source.text.replace("BASE = 1", "BASE = 2")
    for text in ("BASE = 2\nDATA = 1\n", "import os\nDATA = 1\nBASE = 2\n"):
        with pytest.raises(Unreadable, match="not known"):
            PYTHON.edited(PYTHON.read(text), edits[:1])


def test_a_name_that_is_used_is_not_taken_out() -> None:
    """The file would not run."""
    with pytest.raises(Unreadable, match="is used"):
        PYTHON.edited(PYTHON.read("A = 1\nB = A + 1\n"), [Drop(("A",))])


def test_several_statements_of_a_line_are_not_edited() -> None:
    """They are read."""
    document = PYTHON.read("A = 1; B = 2\nC = 3\n")
    assert set(document.settings) == {("A",), ("B",), ("C",)}
    with pytest.raises(Unreadable):
        PYTHON.edited(document, [Drop(("A",))])


def test_written_values_keep_their_quotes() -> None:
    """Where the value allows it."""
    document = PYTHON.read("A = \"x\"\nB = 'y'\nC = ('p'\n  'q')  # c\n")
    edits = [Write(("A",), 'it\'s "1"'), Write(("B",), "z"), Write(("C",), "r")]
    assert PYTHON.edited(document, edits) == "A = \"it's \\\"1\\\"\"\nB = 'z'\nC = 'r'  # c\n"


def test_nothing_is_run(tmp_path: object) -> None:
    """A text that would leave a trace leaves none."""
    mark = f"{tmp_path}/mark"
    text = f"A = open({mark!r}, 'w')\nB = 1\n"
    document = PYTHON.read(text)
    PYTHON.edited(document, [Write(("B",), 2)])
    with pytest.raises(FileNotFoundError):
        open(mark)  # noqa: PTH123, SIM115


@pytest.mark.parametrize("text", ["", "# only\n", "\n", "\ufeff"])
def test_a_text_without_settings_can_be_given_one(text: str) -> None:
    """Nothing, or comments only."""
    after = PYTHON.edited(PYTHON.read(text), [Put(("X",), PYTHON.read("X = 1\n"))])
    assert after.startswith(text)
    assert model(PYTHON.read(after)) == {("X",): 1}


def test_deep_nesting_is_refused() -> None:
    """Without an end of the stack."""
    deep = "{'a': " * 80 + "1" + "}" * 80
    for text in ("A = " + "(" * 5000, f"A = {deep}", "A = " + "-" * 20000 + "1"):
        with pytest.raises(Unreadable):
            PYTHON.read(text)


def test_it_is_detected() -> None:
    """By its ending."""
    found = detect("gunicorn.conf.py", SETTINGS)
    assert found is not None
    assert found.name == "python"


def test_real_files_stay_byte_for_byte() -> None:
    """The modules of the packages that the tests need anyway."""
    read = 0
    for _, text in found_texts((".venv",), ("*.py",)):
        try:
            document = PYTHON.read(text)
        except Unreadable:
            continue
        if not document.settings or len(text) > 50_000:
            continue
        assert PYTHON.edited(document, []) == text
        assert PYTHON.edited(document, [Put(path, document) for path in document.settings]) == text
        read += 1
        if read == 125:
            break
    assert read == 125
