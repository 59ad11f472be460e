"""The house rules that a program can check."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from crossfade.drivers import BUILT_IN, driver
from crossfade.errors import UsageError

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "crossfade").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_modules_and_functions_stay_small(path: Path) -> None:
    """No module is longer than 400 lines, no function longer than 60."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_words_that_we_do_not_use(path: Path) -> None:
    """Each idea has one word: old and new, never blue and green and the like."""
    text = path.read_text(encoding="utf-8").lower()
    for word in ("blue/green", "blue-green", "blue_green", "failover", "shell=true"):
        if word == "primary" and "database" in str(path):
            continue  # SQLite's own word for a kind of key
        assert word not in text


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_place_of_a_machine(path: Path) -> None:
    """No file names a package registry's host."""
    text = path.read_text(encoding="utf-8")
    for host in ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "debian" + ".org"):
        assert host not in text


def test_what_only_a_run_needs_is_loaded_by_it_alone() -> None:
    """``status`` answers at once: it loads no merge, no settings, no HTTP client."""
    words = "import sys, crossfade.wiring; print(*sys.modules)"
    loaded = subprocess.check_output((sys.executable, "-c", words), text=True).split()
    assert "crossfade.manifest" in loaded
    for name in ("crossfade.merge", "crossfade.configuration", "crossfade.gateway", "http.client"):
        assert name not in loaded


def test_exported_names_are_sorted_and_there() -> None:
    """Every package with an __all__ has those names, in order."""
    for path in SOURCES:
        if path.name != "__init__.py" or "broken" in path.parts:
            continue
        relative = path.relative_to(ROOT / "src").parent
        module = importlib.import_module(".".join(relative.parts))
        exported = getattr(module, "__all__", [])
        assert [name for name in exported if not hasattr(module, name)] == []
        assert list(exported) == sorted(
            exported, key=lambda n: (not n.isupper(), n[0].islower(), n)
        )


def test_drivers_are_registered_twice_alike() -> None:
    """The readable registry and the entry points agree, and every driver can be loaded."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["crossfade.drivers"] == BUILT_IN
    for key in BUILT_IN:
        kind, _, name = key.partition(".")
        assert isinstance(driver(kind, name), type)
    with pytest.raises(UsageError, match="there is mysql, postgres, sqlite"):
        driver("databases", "oracle")
