"""Unusual YAML: what is handled, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.configuration.scratch import Site, failing

from crossfade.configuration._document import YamlFile
from crossfade.errors import Failed

PATH = Path("x.yaml")


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"a: 1\nb: 2\na: 3\n", "x.yaml:3", "the key a is there twice"),
        (b"x:\n  a: 1\n  a: 1\n", "x.yaml:3", "the key a is there twice"),
        (b"x: {1: a, true: b}\n", "x.yaml:1", "the key true is there twice"),
        (b"a: 1\n\tb: 2\n", "x.yaml:2", "tab"),
        (b"a: 1\n---\nb: 2\n", "x.yaml:2", "more than one document"),
        (b"a: caf\xe9\n", "x.yaml:1", "not UTF-8"),
        ("a: 1\n".encode("utf-16"), "x.yaml:1", "not UTF-8"),
        (b"a: 1\n[x, y]: 2\n", "x.yaml:2", ""),
        (b"? {a: 1}\n: 2\n", "x.yaml:1", "a key is no plain value"),
        (b".nan: 1\n", "x.yaml:1", "a key is no plain value"),
        (b"a: &a [*a]\n", "x.yaml:1", "leads back"),
        (b"a: \x00\n", "x.yaml:1", "a character"),
        (b"a: 1\n" * 1_200_000, "x.yaml:1", "larger than 5 MB"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "x.yaml:1", "nested too deeply"),
    ],
)
def test_refused(data: bytes, place: str, reason: str) -> None:
    """Whatever hides places or means several things is refused with file and line."""
    with pytest.raises(Failed) as caught:
        YamlFile(PATH, data)
    assert caught.value.code == "configuration-refused"
    assert caught.value.where == place
    assert reason in caught.value.what


def test_aliases_that_unfold_without_end() -> None:
    """Ten lists of ten aliases each are refused, quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for index in range(1, 10):
        inner = ", ".join([f"*a{index - 1}"] * 10)
        lines.append(f"a{index}: &a{index} [{inner}]")
    with pytest.raises(Failed) as caught:
        YamlFile(PATH, "\n".join(lines).encode())
    assert "unfold" in caught.value.what


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_breaks_and_marks_are_kept(tmp_path: Path, line_break: str, mark: str) -> None:
    """CRLF and a byte order mark come over as they are."""
    site = Site(tmp_path)
    text = mark + site.main.read_text().replace("\n", line_break)
    site.main.write_bytes(text.encode())
    rendering = site.render()
    assert failing(rendering) == []
    result = rendering.files[str(site.new.config / "homeserver.yaml")][0].decode()
    assert result.startswith(mark + "# Configuration")
    assert result.count(line_break) == text.count("\n") == result.count("\n")
    assert f"port: 8009{line_break}" in result


def test_aliases_are_kept_where_nothing_changes(tmp_path: Path) -> None:
    """Anchors, aliases and merge keys elsewhere in the file are no obstacle."""
    site = Site(tmp_path)
    site.add("rc: &rc {per_second: 1, burst_count: 2}\nrc_a: *rc\nrc_b:\n  <<: *rc\n  more: 1\n")
    rendering = site.render()
    assert failing(rendering) == []
    assert yaml.safe_load(site.rendered(rendering))["rc_b"]["burst_count"] == 2


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("port: 8008", "port: &port 8008", "listeners.0.port"),
        ("port: 8008", "port: !!int 8008", "listeners.0.port"),
        ("pid_file: /run/chat/homeserver.pid", "pid_file: >-\n  /run/x.pid", "pid_file"),
        ("pid_file: /run/", "other: &x /run/x\npid_file: *x\nagain: /run/", "pid_file"),
        ("  args:\n", "  args: &args\n", "database.args.database"),
        ("pid_file: /run/", "<<: {pid_file: /run/x}\nagain: /run/", "pid_file"),
    ],
)
def test_shared_text_is_not_edited(tmp_path: Path, old: str, new: str, key: str) -> None:
    """A value that must change but whose text means more than this value is refused by its key."""
    site = Site(tmp_path)
    assert old in site.main.read_text()
    site.main.write_text(site.main.read_text().replace(old, new))
    if "&args" in new:
        site.add("also: *args\n")
    with pytest.raises(Failed) as caught:
        site.render()
    assert caught.value.code == "configuration-refused"
    assert f"{key} must change" in caught.value.what
    assert "homeserver.yaml:" in caught.value.where


def test_empty_file(tmp_path: Path) -> None:
    """A file with nothing in it carries nothing, and the required port is missed."""
    site = Site(tmp_path)
    site.main.write_text("")
    claims = [finding.claim for finding in failing(site.render())]
    assert "homeserver.yaml: listeners.*.port has the old side's port" in claims


def test_missing_file(tmp_path: Path) -> None:
    """A file that the configuration names and that is not there is an error, not an omission."""
    site = Site(tmp_path)
    (site.old.config / "log.yaml").unlink()
    with pytest.raises(FileNotFoundError):  # the scratch disk's error; a host raises Failed
        site.render()
