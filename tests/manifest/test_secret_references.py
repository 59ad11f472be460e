"""Secrets by reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.errors import UsageError
from crossfade.manifest import is_reference, resolve


def test_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment variables and files are read; other text is taken as it is."""
    monkeypatch.setenv("CROSSFADE_TEST", "from the environment")
    (tmp_path / "secret").write_text("from a file\n")
    (tmp_path / "absolute").write_text("two\nlines\n\n")
    assert resolve("env:CROSSFADE_TEST", tmp_path) == "from the environment"
    assert resolve("file:secret", tmp_path) == "from a file"
    assert resolve(f"file:{tmp_path / 'absolute'}", Path("/nowhere")) == "two\nlines\n"
    assert resolve("plain: text", tmp_path) == "plain: text"
    assert is_reference("env:X")
    assert not is_reference("environment")


@pytest.mark.parametrize("reference", ["env:CROSSFADE_NOT_SET", "file:missing", "file:binary"])
def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    """What cannot be read is named by its reference, and nothing of its content is told."""
    monkeypatch.delenv("CROSSFADE_NOT_SET", raising=False)
    (tmp_path / "binary").write_bytes(b"hunter2\xff")
    with pytest.raises(UsageError) as caught:
        resolve(reference, tmp_path)
    assert caught.value.code == "secret-missing"
    assert reference in caught.value.what
    assert "hunter2" not in str(caught.value.as_json())
