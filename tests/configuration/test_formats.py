"""Files of every format, carried: what belongs to a side is rewritten, all other bytes stay, and
what is left of the old side stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.configuration.formats import EXAMPLES, Example, FormatSite
from tests.configuration.scratch import failing

from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import apply
from crossfade.errors import Failed
from crossfade.merge.formats import names
from crossfade.recipes import _load

every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


@every
def test_rewrites_what_belongs_to_a_side(tmp_path: Path, example: Example) -> None:
    """Ports, paths and databases are the new side's, and no other byte is another."""
    site = FormatSite(tmp_path, example)
    rendering = site.render()
    assert failing(rendering) == []
    assert site.rendered(rendering) == site.expected()
    assert len(rendering.findings) >= 4


@every
def test_line_ends_and_mark_stay(tmp_path: Path, example: Example) -> None:
    """With CRLF and a byte order mark it is the same."""
    site = FormatSite(tmp_path, example)
    mark = "" if example.format == "xml" else "\ufeff"
    site.write((mark + site.file.read_text()).replace("\n", "\r\n"))
    rendering = site.render()
    assert failing(rendering) == []
    assert site.rendered(rendering) == mark + site.expected().replace("\n", "\r\n")


@every
def test_leftover_stops_it(tmp_path: Path, example: Example) -> None:
    """A value that no rule knows and that points into the old side's data is named."""
    site = FormatSite(tmp_path, example)
    old, new, place = example.leftover
    text = site.file.read_text()
    assert old in text
    site.write(text.replace(old, new.replace("{data}", str(site.old.data))))
    (finding,) = failing(site.render())
    assert finding.claim == "no rendered file points into the old side's data or configuration"
    assert finding.observed.split("still in ")[1].split(";")[0] == place


@every
def test_old_database_in_a_comment_is_told(tmp_path: Path, example: Example) -> None:
    """A comment is nobody's setting: it is told, and stops nothing."""
    if example.format == "json":
        return
    site = FormatSite(tmp_path, example)
    url = f"{site.kind}://10.0.0.5:6000/old_notes"
    comment = f"<!-- {url} -->\n" if example.format == "xml" else f"# {url}\n"
    site.write(site.file.read_text() + comment)
    rendering = site.render()
    assert failing(rendering) == []
    told = [f.observed for f in rendering.findings if "database main" in f.claim]
    assert "(comment)" in told[0]


@every
def test_secrets_are_not_shown(tmp_path: Path, example: Example) -> None:
    """Nothing that was planted shows anywhere but in the file, which only its owner may read."""
    site = FormatSite(tmp_path, example)
    rendering = site.render()
    assert "planted" not in rendering.difference + repr(rendering.findings)
    assert f"--- {site.file}" in rendering.difference
    modes = {mode for _, mode in rendering.files.values()}
    assert modes == {0o640 if example.format == "mycnf" else 0o600}


@every
def test_refused_by_its_place(tmp_path: Path, example: Example) -> None:
    """A file that is not of its format is refused by its place."""
    broken = {
        "ini": "[a]\nb = 1\nb = 2\n",
        "toml": "a = 1\na = 2\n",
        "json": '{"a": 1,\n "a": 2}\n',
        "xml": "<a>\n<b>\n</a>\n",
        "python": "a = 1\nb = (\n",
        "properties": "a=1\na=2\n",
        "env": "a=1\nif x; then\n",
        "mycnf": "[a]\nb='1\n",
        "postgresql": "port = 1\nport\n",
        "redis": "port 1\nport\n",
        "systemd": "[Unit]\nnothing\n",
        "yaml": "a: 1\na: 2\n",
    }[example.format]
    site = FormatSite(tmp_path, example)
    site.write(broken)
    with pytest.raises(Failed) as caught:
        site.render()
    assert caught.value.code == "configuration-refused"
    assert caught.value.where.startswith(f"{site.file}:")
    assert caught.value.where.rpartition(":")[2] in ("2", "3")


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"[a]\nb = \xe9\n", 2, "not UTF-8"),
        ("[a]\nb = 1\n".encode("utf-16"), 1, "UTF-16"),
        (b"[a]\nb = 1\n\0\n", 3, "not text"),
        (b"[a]\n" + b"b = 1\n" * 900_000, 1, "larger than 5 MB"),
    ],
)
def test_what_is_no_text(data: bytes, line: int, reason: str) -> None:
    """Another encoding is refused with file and line."""
    with pytest.raises(Failed) as caught:
        parse("ini", Path("/etc/app.ini"), data)
    assert caught.value.where == f"/etc/app.ini:{line}"
    assert reason in caught.value.what


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("xml", '<?xml version="1.0" encoding="ISO-8859-1"?>\n<a>caf\xe9</a>\n'),
        ("python", "# -*- coding: latin-1 -*-\nA = 'caf\xe9'\n"),
    ],
)
def test_another_encoding_declared(format: str, text: str) -> None:
    """A file that says another encoding must not get characters in ours."""
    with pytest.raises(Failed) as caught:
        parse(format, Path("/etc/x"), text.encode())
    assert "only UTF-8 is read" in caught.value.what
    parse(format, Path("/etc/x"), text.replace("\xe9", "e").encode())


def test_a_recipe_can_name_every_format() -> None:
    """Those of the merge, and files that are copied as they are."""
    text = Path(_load.__file__).with_name("recipe.schema.json").read_text(encoding="utf-8")
    files = json.loads(text)["properties"]["configuration"]["items"]["properties"]
    named = files["format"]["enum"]
    assert sorted(named) == sorted([*names(), "opaque"])
    assert {example.format for example in EXAMPLES} == set(names())


def test_latin_1_properties(tmp_path: Path) -> None:
    """Java's older properties are Latin-1, whatever their name; they stay so."""
    example = next(one for one in EXAMPLES if one.format == "properties")
    site = FormatSite(tmp_path, example)
    data = site.file.read_bytes() + b"caf\xe9 = cr\xe8me\n"
    site.file.write_bytes(data)
    rendering = site.render()
    assert failing(rendering) == []
    ((rendered, _),) = rendering.files.values()
    assert rendered == site.expected().encode() + b"caf\xe9 = cr\xe8me\n"


@pytest.mark.parametrize(
    ("format", "text", "key", "expected"),
    [
        ("ini", "Top=1\n[a b]\nX.y = 2\n[c]\nX.y=3\n", "*.x.y", ["2", "3"]),
        ("ini", "Top=1\n[c]\nX=3\n", "TOP", ["1"]),
        ("ini", "[c]\nX=3\ny=4\n", "c", [{("x",): "3", ("y",): "4"}]),
        ("properties", "a.b.c=1\na.b=2\n", "a.*", ["2"]),
        ("properties", "a.b.c=1\na.b=2\n", "*", ["1", "2"]),
        ("properties", "a.b.c=1\na.b=2\na.x=3\n", "a.b|x", ["2", "3"]),
        ("toml", "a.b = 1\n[c]\nd = [1, {e = true}]\n", "c.d.1.e", [True]),
        ("toml", "[[t]]\nx = 1\n[[t]]\nx = 2\n", "t.*.x", [1, 2]),
        ("toml", "x = { a.b = 5 }\n", "x.a.b", [5]),
        ("json", '{"l": [{"name": "a", "p": 1}, {"name": "b", "p": 2}]}', "l.1.p", [2]),
        ("json", '["x", {"y": null}]', "1.y", [None]),
        ("json", '{"l": [1, [2.5]]}', "l", [[1, [2.5]]]),
        ("python", 'A = ["x", 2]\n', "A.*", ["x", 2]),
        ("python", 'A = {"b": {"c": -1}}\n', "A.b.c", [-1]),
        ("python", 'A = env("B", default=False)\n', "A", ['env("B", default=False)']),
        ("xml", "<a><b name='x'><c>1</c></b><b name='y'><c>2</c></b></a>", "a.b.c", ["1", "2"]),
        ("xml", "<a><b name='x'><c>1</c></b><b name='y'><c>2</c></b></a>", "a.b[y].c", ["2"]),
        ("env", "A=1\nA=2\n", "A", ["1", "2"]),
        ("mycnf", "[mysqld]\nskip-name-resolve\n", "mysqld.skip_name_resolve", [None]),
        ("systemd", "[Service]\nEnvironment=A=1\nEnvironment=B=2\n", "*.*", ["A=1", "B=2"]),
        ("systemd", "[Service]\nEnvironment=A=1 'B=%%x'\n", "Service.Environment.B", ["%x"]),
    ],
)
def test_keys(format: str, text: str, key: str, expected: list[object]) -> None:
    """What a key leads to, in formats where names hold dots, or are told by what they hold."""
    assert parse(format, Path("x"), text.encode()).values(key) == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_side_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Where both sides have the same values, no byte changes, whatever lines are left out."""
    example = data.draw(st.sampled_from(EXAMPLES))
    site = FormatSite(tmp_path_factory.mktemp("same"), example)
    lines = site.file.read_bytes().decode().splitlines(keepends=True)
    kept = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    text = "".join(line for line, keep in zip(lines, kept, strict=True) if keep)
    site.write(text)
    try:
        rendering = site.render(site.old)
    except Failed:  # what is left may be broken
        return
    assert site.rendered(rendering) == text
    changed = [f for f in rendering.findings if "decided changes" in f.claim]
    assert [finding.expected for finding in changed] == ["0 changes: none"]
    assert all(f.holds for f in rendering.findings if "over itself" in f.claim)


@every
def test_proof_notices_tampering(tmp_path: Path, example: Example) -> None:
    """A text with one more change than was decided does not hold, and with one less neither."""
    site = FormatSite(tmp_path, example)
    old, same = (parse(example.format, site.file, site.file.read_bytes()) for _ in range(2))
    other = old.text.replace(str(site.old.data), "/elsewhere").encode()
    moved = parse(example.format, site.file, other)
    found = next(one for one in old.find(PATHS[example.format]) if "/old/" in one.text)
    change = old.change(found, found.text.replace(str(site.old.data), "/elsewhere"))
    assert old.becomes(same, [])
    assert not old.becomes(moved, [])
    assert not old.becomes(same, [change])
    new = parse(example.format, site.file, apply(old.text, [change]).encode())
    assert old.becomes(new, [change])
    assert not old.becomes(new, [])


PATHS = {
    "yaml": "store",
    "ini": "server.app_data_path",
    "toml": "mirror.0.dir",
    "json": "plugins.1.dir",
    "xml": "Server.Service.*.Host.@appBase",
    "python": "MEDIA_ROOT",
    "properties": "storage.dir",
    "env": "UPLOADS",
    "mycnf": "mysqld.tmpdir",
    "postgresql": "data_directory",
    "redis": "dir",
    "systemd": "Service.WorkingDirectory",
}
"""A key of each example whose value is a path."""
