"""YAML: spans of PyYAML's nodes, raw values, the proof by the loader in C."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model
from tests.merge.pairs import templates

from crossfade.merge._types import Drop, Path, Put, Unreadable, Write
from crossfade.merge.formats import detect
from crossfade.merge.formats.yaml import Yaml

YAML = Yaml()

HOMESERVER = """\
# Configuration of the server
server_name: example.org
pid_file: /data/homeserver.pid
#web_client_location: https://riot.example.com/
# Whether people may register.
# enable_registration: false
listeners:
  - port: 8008
    tls: false
    bind_addresses: ['::1', '127.0.0.1']
    resources:
      - names: [client, federation]
  # the other one
  - port: 8448
    tls: true
database:
  name: psycopg2
  args:
    user: synapse   # who
    password: "p#1"
    #cp_min: 5
limits: {rate: 1.5, burst: 10, names: [a, b]}
banner: |
  Welcome
    here

note: >-
  folded
  text
mode: 0755
country: no
hosts:
- one
- two
empty: {}
nothing:
"""

NAMES = st.sampled_from(["a", "b", "port", "long-name", "x.y", "'q r'"])
SCALARS = st.sampled_from(
    ["1", "no", "0755", "1e3", "1.5", "text", "'it''s'", '"a\\n#b"', "null", "''", "2020-01-02",
     "a b", "[x, y]", "[]", "{}", "{k: v}", "é", "~", "!secret s", "|\n{pad}  one\n{pad}   two"]
)  # fmt: skip


@st.composite
def yaml_texts(draw: st.DrawFn) -> str:
    """Maps in maps, lists of scalars and of maps, with comments and commented keys."""
    lines: list[str] = []
    _block(draw, lines, "", 0)
    text = "\n".join(lines) + draw(st.sampled_from(["\n", ""]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))


def _block(draw: st.DrawFn, lines: list[str], pad: str, depth: int) -> None:
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from([f"{pad}# words", f"{pad}#{name}: 1", ""])))
            continue
        kind = draw(st.integers(0, 4 if depth < 2 else 1))
        if kind <= 1:
            value = draw(SCALARS).replace("{pad}", pad)
            lines += f"{pad}{name}: {value}".split("\n")
        elif kind == 2:
            lines.append(f"{pad}{name}:")
            _block(draw, lines, pad + draw(st.sampled_from(["  ", "   "])), depth + 1)
        elif kind == 3:
            lines.append(f"{pad}{name}:")
            lines += [f"{pad}- {item}" for item in draw(st.sampled_from([["a"], ["1", "b c"]]))]
        else:
            lines.append(f"{pad}{name}:")
            for item in draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True)):
                lines.append(f"{pad}  - name: {item}")
                _block(draw, lines, pad + "    ", depth + 2)


class TestContract(FormatContract):
    """The contract of formats."""

    format = YAML
    examples = (HOMESERVER, "a: 1\nb:\n  c: 'x'\n  d: [1, 2]\n")
    refused = (
        ("a: hunter2\nb: 1\na: 2\n", 3),
        ("a: hunter2\nb: {c: 1, c: 2}\n", 2),
        ("a: hunter2\n---\nb: 1\n", 2),
        ("a: hunter2\n\tb: 1\n", 2),
        ("a: hunter2\nb: *nowhere\n", 2),
        ("a: hunter2\nb: &b\n  c: *b\n", 3),
        ("a: hunter2\n? b\n: c\n", 2),
        ("a: hunter2\n? [x]\n: c\n", 2),
        ("a: hunter2\nb: !!int word\n", 2),
        ("hunter2\n", 1),
        ("a: hunter2\nb: [c: 1, d: 2]\n", 2),
        ("a: hunter2\nb: \x07\n", 2),
    )
    texts = yaml_texts()
    fixed = frozenset({("listeners", f"[port={port}]", "port") for port in (8008, 8448)})

    def other(self, path: Path, value: object) -> object:
        """A number stands for what is nothing; what names an item stays."""
        if path[-1] == "name" and len(path) > 1 and path[-2].startswith("["):
            return value
        return 7 if value is None or value == frozenset() else super().other(path, value)


def test_what_is_read() -> None:
    """Paths go by keys and by what names the maps of a list, values are those of a program."""
    found = model(YAML.read(HOMESERVER))
    assert found[("listeners", "[port=8008]", "bind_addresses")] == ("::1", "127.0.0.1")
    assert found[("listeners", "[port=8448]", "tls")] is not None
    assert found[("database", "args", "password")] == "p#1"
    assert found[("limits", "burst")] == 10
    assert found[("banner",)] == "Welcome\n  here\n"
    assert found[("mode",)] == 0o755
    assert found[("hosts",)] == ("one", "two")
    assert found[("empty",)] == frozenset()
    assert found[("nothing",)] is None


def test_values_that_only_python_takes_for_equal_differ() -> None:
    """1, 1.0 and true are three values, and so are no and 'no'."""
    values = [model(YAML.read(f"a: {raw}\n"))[("a",)] for raw in ("1", "1.0", "true", "no", "'no'")]
    assert [values.index(value) for value in values] == [0, 1, 2, 3, 4]


def test_commented_settings() -> None:
    """With and without a space, in the block where they stand."""
    assert {path: found.raw for path, found in YAML.read(HOMESERVER).commented.items()} == {
        ("web_client_location",): "https://riot.example.com/",
        ("enable_registration",): "false",
        ("database", "args", "cp_min"): "5",
    }
    block = "a: 1\n#redis:\n#  enabled: true\n#  hosts:\n#  - x\n\n#b: 2\n"
    document = YAML.read(block)
    assert list(document.commented) == [
        ("redis",),
        ("redis", "enabled"),
        ("redis", "hosts"),
        ("b",),
    ]
    source = YAML.read("redis:\n  enabled: false\n")
    after = YAML.edited(document, [Put(("redis", "enabled"), source)])
    assert after == block.replace("- x\n", "- x\nredis:\n  enabled: false\n")


@pytest.mark.parametrize("raw", ["no", "0755", "1e3", "'0'", '"a: b"', "|\n  a\n  b", "[1,  2]"])
def test_a_value_is_carried_as_it_is_written(raw: str) -> None:
    """Quotes, spaces, and words that mean something else elsewhere."""
    source = YAML.read(f"k: {raw}\n")
    assert (
        YAML.edited(YAML.read("k: 5 # old\n"), [Put(("k",), source)]).replace(" # old", "")
        == f"k: {raw}\n"
    )


def test_a_block_moves_to_the_depth_where_it_goes() -> None:
    """Lines of a literal and of a list are indented as their key is."""
    source = YAML.read(
        "a:\n    b:\n        text: |\n            x\n              y\n        l:\n        - 1\n"
    )
    document = YAML.read("a:\n  b:\n    z: 1\n    text: old\n")
    edits = [Put(("a", "b", "text"), source), Put(("a", "b", "l"), source)]
    after = "a:\n  b:\n    z: 1\n    text: |\n        x\n          y\n    l:\n    - 1\n"
    assert YAML.edited(document, edits) == after
    assert YAML.edited(document, edits[::-1]) == after


def test_a_list_becomes_a_block_and_back() -> None:
    """The comment on the key's line stays."""
    line, block = YAML.read("h: [] # none\nz: 1\n"), YAML.read("h: # all\n  - a\n  - b\nz: 1\n")
    assert YAML.edited(line, [Put(("h",), block)]) == "h: # all # none\n  - a\n  - b\nz: 1\n"
    assert YAML.edited(block, [Put(("h",), line)]) == "h: [] # all\nz: 1\n"


def test_a_port_that_was_changed_is_the_same_listener() -> None:
    """Identity first, then what is left over in its order, if it is alike."""
    base = YAML.read(HOMESERVER)
    user = YAML.aligned(YAML.read(HOMESERVER.replace("8008", "9009")), base)
    assert set(user.settings) == set(base.settings)
    new = YAML.read(HOMESERVER.replace("tls: false", "tls: false\n    type: http"))
    after = YAML.edited(new, [Put(("listeners", "[port=8008]", "port"), user)])
    assert after == new.text.replace("8008", "9009")


def test_another_item_is_not_taken_for_one_that_was_changed() -> None:
    """An item that was taken out and one that was put in share nothing."""
    base = YAML.read("l:\n- name: a\n  x: 1\n  y: 1\n")
    user = YAML.aligned(YAML.read("l:\n- name: b\n  x: 2\n  z: 3\n"), base)
    assert ("l", "[name=b]", "x") in user.settings


def test_a_whole_item_is_put_beside_its_neighbour() -> None:
    """With the comment above it, and only as a whole."""
    source = YAML.read("l:\n  # mine\n  - name: b\n    x: 2\n  - name: a\n    x: 1\n")
    document = YAML.read("l:\n- name: a\n  x: 1\n- name: c\n  x: 3\n")
    edits = [Put(("l", "[name=b]", name), source) for name in ("name", "x")]
    after = "l:\n# mine\n- name: b\n  x: 2\n- name: a\n  x: 1\n- name: c\n  x: 3\n"
    assert YAML.edited(document, edits) == after
    with pytest.raises(Unreadable, match="without what names it"):
        YAML.edited(document, edits[1:])


def test_maps_of_a_list_that_nothing_names_are_one_value() -> None:
    """By position they could be mixed."""
    document = YAML.read("l:\n- x: 1\n- x: 1\n")
    assert list(document.settings) == [("l",)]


def test_anchors_are_read_and_never_edited() -> None:
    """What is shown at two places is refused for edits; all else is edited."""
    text = "base: &base\n  a: 1\n  l: [x]\nother:\n  <<: *base\n  b: 2\nlist: *base\nz: 1\n"
    document = YAML.read(text)
    assert YAML.edited(document, [Write(("z",), 5)]) == text.replace("z: 1", "z: 5")
    assert YAML.edited(document, [Write(("other", "b"), 5)]) == text.replace("b: 2", "b: 5")
    for path in (("base", "a"), ("list",), ("other", "<<")):
        with pytest.raises(Unreadable, match="other places"):
            YAML.edited(document, [Drop(path)])
    with pytest.raises(Unreadable):
        YAML.edited(
            YAML.read("base: {a: 1}\n"), [Put(("base", "a"), YAML.read("base: &b {a: 2}\n"))]
        )


def test_a_comment_directly_above_travels_once() -> None:
    """Also when it holds a secret; what the document says already is not said twice."""
    source = YAML.read("a: 1\n# same\n# token was hunter2\nb: 2\n")
    document = YAML.read("# same\na: 1\n")
    after = YAML.edited(document, [Put(("b",), source)])
    assert after == "# same\na: 1\n# token was hunter2\nb: 2\n"


def test_aliases_that_unfold_to_billions_are_refused() -> None:
    """Quickly, and so is deep nesting."""
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True):
        laughs += f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n"
    for text in (laughs, "a: " + "[" * 5000 + "]" * 5000, "a:\n" + "- " * 3000 + "x\n"):
        with pytest.raises(Unreadable):
            YAML.read(text)


@pytest.mark.parametrize("text", ["", "# only\n", "---\n", "\n\n", "# a: 1", "\ufeff"])
def test_a_text_without_settings_can_be_given_one(text: str) -> None:
    """Nothing, comments only, with and without a last line end."""
    document = YAML.read(text)
    assert document.settings == {}
    after = YAML.edited(document, [Put(("x", "y"), YAML.read("x:\n  y: 1\n"))])
    assert after.startswith(text)
    assert model(YAML.read(after)) == {("x", "y"): 1}


def test_a_part_becomes_a_value_and_back() -> None:
    """When what stood there is dropped in the same breath; else it is refused."""
    part, value = YAML.read("a:\n  x: 1\n  y: 2\nb: 1\n"), YAML.read("a: {}\nb: 1\n")
    puts = [Put(("a", "x"), part), Put(("a", "y"), part)]
    assert YAML.edited(value, [*puts, Drop(("a",))]) == part.text
    assert YAML.edited(value, [puts[1], Drop(("a",))]) == "a:\n  y: 2\nb: 1\n"
    drops = [Drop(("a", "x")), Drop(("a", "y"))]
    assert YAML.edited(part, [*drops, Put(("a",), value)]) == value.text
    for document, edits in ((value, puts), (part, [Put(("a",), value)])):
        with pytest.raises(Unreadable):
            YAML.edited(document, edits)


def test_it_is_detected() -> None:
    """By its ending, and by a block below a key."""
    for name, text in (("x.yml", HOMESERVER), ("homeserver.conf", HOMESERVER)):
        found = detect(name, text)
        assert found is not None
        assert found.name == "yaml"


def test_real_files_stay_byte_for_byte() -> None:
    """What this project, its packages and Debian bring, and real templates."""
    read = 0
    roots = ("src", "tests", ".venv", "/usr/share", "/usr/lib/python3", "/etc")
    for _, text in (*found_texts(roots, ("*.yaml", "*.yml")), *templates("yaml")):
        try:
            document = YAML.read(text)
        except Unreadable:
            continue
        assert YAML.edited(document, []) == text
        assert YAML.edited(document, [Put(path, document) for path in document.settings]) == text
        read += 1
    assert read >= 10
