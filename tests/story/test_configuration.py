"""A site's own settings on their way into the new version's file, up to the pause."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.testbed.client import Client
from tests.testbed.moments import Moments
from tests.testbed.site import Site, site_at
from tests.testbed.stocked import decisions, has, stocked_site_at


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A running site whose application makes its configuration, differently in both versions."""
    with stocked_site_at(tmp_path) as made:
        yield made


def new_text(site: Site) -> str:
    """The new side's file."""
    return (site.directory / "new" / "notes.yaml").read_text(encoding="utf-8")


def new_settings(site: Site) -> dict[str, object]:
    """What is in it."""
    found = yaml.safe_load(new_text(site))
    assert isinstance(found, dict)
    return found


def test_in_the_new_versions_text(site: Site) -> None:
    """The new side runs with the new version's text and ours in it.  What is changed on the old
    side after the rehearsal comes too, without another one."""
    site.run("rehearse")
    has(site, motd="changed after the rehearsal")
    with Client(site.gate) as client:
        site.run("cutover", "--yes")
    assert (client.failures, client.lost(site.gate)) == ([], set())
    assert site.version() == "2.0"
    assert new_text(site).startswith("# Notes, version 2\n")
    assert "# On a page.\npage: 25\n" in new_text(site)
    settings = new_settings(site)
    assert settings["motd"] == "changed after the rehearsal"
    assert (settings["theme"], settings["secret_key"]) == ("light", "planted-secret-4711")
    assert settings["listen"] == str(site.new)


def test_drift_until_the_pause_is_merged(site: Site) -> None:
    """An edit after the configuration was carried, right before the old side is stopped, is there
    on the new side; the report says so."""
    site.run("rehearse")
    deed = {"cutover.stop.before-act": lambda: has(site, motd="at the last moment")}
    with Client(site.gate) as client, Moments(site.directory, deed) as moments:
        result = site.run("cutover", "--yes", env=moments.environment)
    assert (client.failures, client.lost(site.gate)) == ([], set())
    assert new_settings(site)["motd"] == "at the last moment"
    assert "changed on the old side since it was carried, and merged" in result.err


def test_drift_in_conflict_goes_back_and_asks(site: Site) -> None:
    """An edit right before the pause that only a person can decide about: the old side serves
    again, the question is written down, and once it is answered it all goes through."""
    site.run("rehearse")
    deed = {"cutover.stop.before-act": lambda: has(site, page=50)}
    with Client(site.gate) as client, Moments(site.directory, deed) as moments:
        result = site.run("cutover", "--yes", ok=False, env=moments.environment)
        assert (result.code, "error: configuration-questions" in result.err) == (5, True)
        assert "The old side (1.0) serves" in result.err
        assert "next: crossfade config review" in result.err
        assert site.version() == "1.0"
        answer = decisions(site).read_text(encoding="utf-8")
        assert 'setting = ["page"]' in answer
        assert site.run("cutover", "--yes", ok=False).code == 3
        decisions(site).write_text(answer.replace('choose = ""', 'choose = "yours"'))
        site.run("rehearse")
        site.run("cutover", "--yes")
    assert (client.failures, client.lost(site.gate)) == ([], set())
    assert new_settings(site)["page"] == 50


def test_broken_at_the_last_moment(site: Site) -> None:
    """A file that cannot be read any more right before the pause: the old side serves again, and
    the line to mend is named."""
    site.run("rehearse")
    deed = {"cutover.stop.before-act": lambda: has(site, motd="[")}
    with Client(site.gate) as client, Moments(site.directory, deed) as moments:
        result = site.run("cutover", "--yes", ok=False, env=moments.environment)
        assert (result.code, "error: configuration-refused" in result.err) == (5, True)
        assert "The old side (1.0) serves" in result.err
        assert "next: crossfade config plan   (first mend line " in result.err
        assert site.version() == "1.0"
    assert (client.failures, client.lost(site.gate)) == ([], set())


def test_hands_on_the_new_side(site: Site) -> None:
    """Somebody edits the new side's file right before the pause: nobody rehearsed that, so the old
    side serves again, and what they wrote is kept.  Done on the old side, it goes through."""
    site.run("rehearse")
    file = site.directory / "new" / "notes.yaml"
    deed = {"cutover.stop.before-act": lambda: file.write_text(f"{new_text(site)}motto: by hand\n")}
    with Client(site.gate) as client:
        with Moments(site.directory, deed) as moments:
            result = site.run("cutover", "--yes", ok=False, env=moments.environment)
        assert (result.code, "error: new-side-edited" in result.err) == (5, True)
        assert "The old side (1.0) serves" in result.err
        assert "next: crossfade cutover   (first make the same edit on the old side)" in result.err
        (kept,) = (site.directory / "state").rglob("edited/**/notes.yaml")
        assert (kept.read_text().endswith("motto: by hand\n"), kept.stat().st_mode & 0o777) == (
            True,
            0o600,
        )
        has(site, motto="by hand")
        site.run("cutover", "--yes")
    assert (client.failures, client.lost(site.gate)) == ([], set())
    assert new_settings(site)["motto"] == "by hand"


def test_a_file_that_is_taken_whole_goes_back(tmp_path: Path) -> None:
    """Without the stock nobody can merge: an edit that comes so late takes another rehearsal."""
    with site_at(tmp_path / "site") as site:
        site.start()
        site.run("rehearse")
        deed = {"cutover.stop.before-act": lambda: has(site, motd="at the last moment")}
        with Moments(site.directory, deed) as moments:
            result = site.run("cutover", "--yes", ok=False, env=moments.environment)
        assert (result.code, "error: configuration-drifted" in result.err) == (5, True)
        assert "notes.yaml" in result.err
        assert "next: crossfade rehearse" in result.err
        assert site.version() == "1.0"


def test_questions_before_anything_is_carried(site: Site) -> None:
    """A rehearsal that must not decide ends with 3, and leaves nothing; ``config`` shows the
    question, asks it at a terminal, and then all is decided."""
    has(site, page=50)
    result = site.run("rehearse", ok=False)
    assert (result.code, "error: configuration-questions" in result.err) == (3, True)
    assert f"{decisions(site)}" in result.err
    assert not (site.directory / "try").exists()
    assert site.version() == "1.0"
    for words in (("plan",), ("config", "plan"), ("config", "review"), ("rehearse",)):
        assert site.run(*words, ok=False).code == 3, words
    shown = site.run("config", "plan", ok=False)
    assert "page   conflict: both you and the new version changed it" in shown.out
    asked = site.run("config", "plan", "--json", ok=False).json
    assert [one["setting"] for one in asked if one["open"]] == [["page"]]
    assert "planted-secret" not in shown.out + shown.err + decisions(site).read_text()
    assert at_a_terminal(site, "y\n", "config", "review") == 0
    assert "decided                     yours" in site.run("config", "why", "page").out
    site.run("rehearse")


def at_a_terminal(site: Site, typed: str, *words: str) -> int:
    """Run a command whose input is a terminal, and type; its exit code."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "crossfade", *words, "-f", str(site.manifest)],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.write(ours, typed.encode())
        process.communicate(timeout=60)
        return process.returncode
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_setting_that_nobody_knows(site: Site) -> None:
    """``config why`` names what it did not find, and where to look."""
    result = site.run("config", "why", "colour", ok=False)
    assert (result.code, "error: setting-unknown" in result.err) == (2, True)
    assert "next: crossfade config plan" in result.err


def test_scan_finds_what_is_ours(site: Site) -> None:
    """Without any list of files: the configuration, where it is known from, and how far was looked;
    nothing of the program that nobody changed, and no secret."""
    result = site.run("config", "scan", "--json")
    found = {one["name"]: one for one in result.json["found"]}
    assert str(site.data / "notes.yaml") in found
    assert all(one["evidence"] for one in found.values())
    assert not any("/app1/" in name for name in found), "nobody changed the program"
    assert result.json["coverage"]["detectors"]["runtime"] == "ran"
    shown = site.run("config", "scan")
    assert "looked at" in shown.out
    assert "planted-secret" not in result.out + shown.out


def test_what_only_the_manifest_names(tmp_path: Path) -> None:
    """Files that no recipe knows are told first; named in the manifest they come over, with their
    places, and so does a tree that the recipe's own file leads to.  An edit of one that comes while
    the cutover runs takes it back."""
    with site_at(tmp_path / "site") as site:
        (site.data / "pages").mkdir()
        (site.data / "pages" / "welcome.html").write_text("Welcome!")
        (site.data / "bridge.yml").write_text(f"# ours\nlisten: {site.old}\nkey: 4712\n")
        (site.data / "terms.txt").write_text("Be kind.\n")
        file = site.data / "notes.yaml"
        file.write_text(file.read_text(encoding="utf-8") + f"pages: {site.data}/pages\n")
        told = site.run("config", "plan", ok=False)
        assert told.code == 4
        assert "still in notes.yaml:7 pages" in told.out
        assert "bridge.yml: it lies in the old side's configuration directory" in told.out
        assert "name it under configuration in crossfade.yaml" in told.out
        site.write_manifest(extra=OWN)
        site.start()
        site.run("rehearse")
        late = {"cutover.stop.before-act": lambda: has_text(site.data / "terms.txt", "Be nice.\n")}
        with Moments(site.directory, late) as moments:
            result = site.run("cutover", "--yes", ok=False, env=moments.environment)
        assert (result.code, site.version()) == (5, "1.0")
        assert "terms.txt" in result.err
        site.run("rehearse")
        site.run("cutover", "--yes")
        new = site.directory / "new"
        assert (new / "bridge.yml").read_text() == f"# ours\nlisten: {site.new}\nkey: 4712\n"
        assert (new / "terms.txt").read_text() == "Be nice.\n"
        assert (new / "pages" / "welcome.html").read_text() == "Welcome!"
        assert new_settings(site)["pages"] == str(new / "pages")


def test_two_formats_for_one_file(tmp_path: Path) -> None:
    """Rules that would be lost, because the recipe reads the file otherwise, are refused."""
    with site_at(tmp_path / "site") as site:
        (site.data / "more.yaml").write_text("a: 1\n")
        file = site.data / "notes.yaml"
        file.write_text(f"{file.read_text(encoding='utf-8')}more: more.yaml\n", encoding="utf-8")
        recipe = site.recipe.read_text(encoding="utf-8")
        more = "  - {path_from: {file: notes.yaml, key: more}, format: yaml}\ndatabases:\n"
        site.recipe.write_text(recipe.replace("databases:\n", more, 1), encoding="utf-8")
        rule = "{path: more.yaml, format: ini, rewrite: [{key: a, to: port}]}"
        site.write_manifest(extra=f"configuration: [{rule}]\n")
        refused = site.run("plan", ok=False)
        assert (refused.code, "error: configuration-format" in refused.err) == (2, True), (
            refused.err
        )
        assert "more.yaml is to be read as yaml and as ini" in refused.err
        assert "The old side (1.0) serves" in refused.err


OWN = """\
configuration:
  - {path: notes.yaml, rewrite: [{key: pages, to: path}]}
  - {path: bridge.yml, rewrite: [{key: listen, to: address, required: true}]}
  - {path: terms.txt}
files:
  - {name: pages, path: pages}
"""


def has_text(path: Path, text: str) -> None:
    """Somebody edits a file."""
    path.write_text(text, encoding="utf-8")
