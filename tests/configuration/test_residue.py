"""Leftovers of the old side in rendered files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.configuration.scratch import Site, failing

from crossfade.recipes import mentions


@pytest.mark.parametrize(
    "text",
    [
        "/var/lib/app",
        "/var/lib/app/x.db",
        "file:///var/lib/app/x",
        "sqlite:////var/lib/app/x.db?mode=ro",
        "postgres://h/db?sslcert=/var/lib/app/x",
        "--dir=/var/lib/app --other",
        "-I/var/lib/app",
        "/usr/bin:/var/lib/app/bin",
        "see /var/lib/app.",
        '"/var/lib/app"',
        "(/var/lib/app)",
        "https://h/x and /var/lib/app",
        "/var/lib/app-new:/var/lib/app",
    ],
)
def test_mentions(text: str) -> None:
    """A path is found wherever a program could take it from."""
    assert mentions(text, "/var/lib/app")


@pytest.mark.parametrize(
    "text",
    [
        "/var/lib/app-new/x",
        "/var/lib/app2",
        "/var/lib/app_old",
        "/var/lib/app.bak/x",
        "/srv/var/lib/app",
        "https://example.org/var/lib/app",
        "https://example.org:8448/a/var/lib/app",
        "/var/lib/ap",
        "var/lib/app",
    ],
)
def test_does_not_mention(text: str) -> None:
    """Another path, or a web address, is not taken for it."""
    assert not mentions(text, "/var/lib/app")


def test_value_that_no_rule_rewrites(tmp_path: Path) -> None:
    """A key unknown to the recipe that points into the old side is named with file, line, key."""
    site = Site(tmp_path)
    site.add("templates:\n  custom_template_directory: {data}/templates\n")
    rendering = site.render()
    (finding,) = failing(rendering)
    assert "homeserver.yaml:26 templates.custom_template_directory" in finding.observed


@pytest.mark.parametrize(
    "line",
    [
        'x: "\\x2f{data}/homeserver.db"\n'.replace("\\x2f{data}", "\\x2f{slashless}"),
        "x: >-\n  --db={data}/homeserver.db\n  --more\n",
        "x: {inner: ['sqlite:///{data}/homeserver.db']}\n",
        "{data}/homeserver.db: x\n",
        "x: &anchor {data}/homeserver.db\ny: *anchor\n",
    ],
)
def test_old_database_in_any_spelling(tmp_path: Path, line: str) -> None:
    """The old side's database is found however YAML spells it, and stops the upgrade."""
    site = Site(tmp_path)
    site.add(line.replace("{slashless}", str(site.old.data).removeprefix("/")))
    claims = [finding.claim for finding in failing(site.render())]
    assert "no rendered file points at the old side's database main" in claims


def test_opaque_files_are_looked_at_too(tmp_path: Path) -> None:
    """A leftover in a file that is copied as it is counts as well."""
    site = Site(tmp_path)
    (site.old.config / "chat.signing.key").write_text(f"first\nx {site.old.data}/keys\n")
    (finding,) = failing(site.render())
    assert "chat.signing.key:2" in finding.observed


def test_told_but_no_failure(tmp_path: Path) -> None:
    """Comments, the old program and the old port are told, for a person to judge."""
    site = Site(tmp_path)
    site.add(f"# was {site.old.data}\nx: {site.old.root}/bin\npublic: http://127.0.0.1:8008/\n")
    rendering = site.render()
    assert failing(rendering) == []
    (told,) = [f.observed for f in rendering.findings if "data or configuration" in f.claim]
    assert "homeserver.yaml:25 (comment)" in told
    assert "homeserver.yaml:26 x (the old side's program)" in told
    assert "homeserver.yaml:27 public (the old side's port)" in told
