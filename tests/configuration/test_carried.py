"""Carrying a whole site: what is rewritten, what is kept, and what the findings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.configuration.scratch import HOMESERVER, LOG, Disk, Site, failing

from crossfade.configuration import facts, locate, mapped
from crossfade.configuration._prove import same
from crossfade.errors import UsageError
from crossfade.recipes import load


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of its own for each test."""
    return Site(tmp_path)


def test_rewrites_what_belongs_to_a_side(site: Site) -> None:
    """Paths, port and log are the new side's; comments, quotes and all the rest are kept."""
    rendering = site.render()
    new = site.new
    expected = (
        HOMESERVER.replace("/run/chat/homeserver.pid", f"{new.data}/homeserver.pid")
        .replace("port: 8008", "port: 8009")
        .replace("media_store_path: media_store", f"media_store_path: {new.data}/media_store")
        .format(data=new.data, config=new.config)
    )
    assert site.rendered(rendering) == expected
    assert site.rendered(rendering, "log.yaml") == LOG.replace(
        "/var/log/chat/homeserver.log", f"{new.data}/homeserver.log"
    )
    assert failing(rendering) == []
    assert len(rendering.findings) > 15


def test_files_modes_and_sources(site: Site) -> None:
    """Files are keyed by their new path, lead back to the old one, and secrets are closed."""
    rendering = site.render()
    modes = {Path(path).name: mode for path, (_, mode) in rendering.files.items()}
    assert modes == {"homeserver.yaml": 0o600, "log.yaml": 0o640, "chat.signing.key": 0o600}
    for path, source in rendering.sources.items():
        assert Path(path).relative_to(site.new.config) == Path(source).relative_to(site.old.config)
    key = rendering.files[str(site.new.config / "chat.signing.key")][0]
    assert key == (site.old.config / "chat.signing.key").read_bytes()


def test_nothing_changes_on_disk(site: Site) -> None:
    """Rendering writes nothing, neither on the old side nor on the new one."""
    before = _tree(site.directory)
    site.render()
    assert _tree(site.directory) == before


def test_difference_shows_the_changes(site: Site) -> None:
    """The diff names both files and has each changed line, old and new."""
    shown = site.render().difference
    assert f"--- {site.main}" in shown
    assert "-  - port: 8008\n+  - port: 8009\n" in shown
    assert f'-signing_key_path: "{site.old.config}/chat.signing.key"\n' in shown
    assert f'+signing_key_path: "{site.new.config}/chat.signing.key"\n' in shown
    assert "same (fingerprint" in shown


def test_port_that_is_not_the_old_sides(site: Site) -> None:
    """If no listener has the port that the manifest gives, the finding says where it looked."""
    site.main.write_text(site.main.read_text().replace("port: 8008", "port: 8448"))
    (finding,) = failing(site.render())
    assert "listeners.*.port has the old side's port" in finding.claim
    assert "homeserver.yaml:5 listeners.0.port" in finding.observed


def test_recipe_that_does_not_fit(site: Site) -> None:
    """A site on another database is told so, before anything is tried."""
    site.main.write_text(site.main.read_text().replace("sqlite3", "psycopg2"))
    claims = [finding.claim for finding in failing(site.render())]
    assert claims == ["the recipe fits: the database is SQLite"]


def test_files_that_a_list_names(site: Site) -> None:
    """Each application service's file is carried, and its path in the list rewritten."""
    for name in ("irc.yaml", "bot.yaml"):
        (site.old.config / name).write_text(f"id: {name}\nas_token: planted\nhs_token: planted\n")
    site.add("app_service_config_files:\n  - {config}/irc.yaml\n  - '{config}/bot.yaml'\n")
    rendering = site.render()
    assert failing(rendering) == []
    model = yaml.safe_load(site.rendered(rendering))
    assert model["app_service_config_files"] == [
        str(site.new.config / "irc.yaml"),
        str(site.new.config / "bot.yaml"),
    ]
    assert "bot.yaml" in site.rendered(rendering, "bot.yaml")


def test_locate_database_and_tree(site: Site) -> None:
    """The configuration wins over the recipe's default; relative paths count from the data."""
    recipe = load("synapse", Path())
    database, media = recipe.databases[0], recipe.files[0]
    assert locate(database, site.old, Disk()) == site.old.data / "homeserver.db"
    assert locate(media, site.old, Disk()) == site.old.data / "media_store"
    text = site.main.read_text().replace("/homeserver.db", "/other.db")
    site.main.write_text(text.replace("media_store_path: media_store\n", ""))
    assert locate(database, site.old, Disk()) == site.old.data / "other.db"
    assert locate(media, site.old, Disk()) == site.old.data / "media_store"


def test_mapped(site: Site) -> None:
    """A path goes to the same place below the new side's directory, else it is refused."""
    assert mapped(site.old.data / "a/b", site.old, site.new) == site.new.data / "a/b"
    assert mapped(site.old.config, site.old, site.new) == site.new.config
    for outside in (Path("/etc/passwd"), Path(f"{site.old.data}-more/x")):
        with pytest.raises(UsageError) as caught:
            mapped(outside, site.old, site.new, "media_store_path")
        assert caught.value.code == "path-outside"
        assert "media_store_path" in caught.value.what


def test_mapped_by_the_longest_directory(site: Site) -> None:
    """Configuration inside the data directory goes to the new configuration directory."""
    old = replace(site.old, config=site.old.data / "etc")
    assert mapped(old.config / "x", old, site.new) == site.new.config / "x"
    old = replace(site.old, data=site.old.config / "data")
    assert mapped(old.data / "x", old, site.new) == site.new.data / "x"


def test_same_tells_types_apart() -> None:
    """The proof's equality is stricter than Python's, but for nan."""
    nan = float("nan")
    assert same({"a": [1, None, nan]}, {"a": [1, None, nan]})
    assert not any(
        same(one, two) for one, two in [(1, True), (1, 1.0), ("1", 1), ([1], [1, 2]), ({}, [])]
    )
    assert not same({"a": 1, "b": 2}, {"b": 2, "a": 1})


def test_database_outside(site: Site) -> None:
    """A database that is not below the old side's data has no place on the new side."""
    text = site.main.read_text().replace(f"{site.old.data}/homeserver.db", "/srv/homeserver.db")
    site.main.write_text(text)
    with pytest.raises(UsageError) as caught:
        site.render()
    assert caught.value.code == "path-outside"
    assert "database.args.database" in caught.value.what


def test_facts(site: Site) -> None:
    """Every file that is carried has a digest in the plan, which changes with its bytes."""
    before = facts(site.carried().originals())
    assert {Path(path).name for path in before} == {
        "homeserver.yaml",
        "log.yaml",
        "chat.signing.key",
    }
    site.add("# a comment\n")
    after = facts(site.carried().originals())
    assert [path for path in before if before[path] != after[path]] == [str(site.main)]
    assert facts({"x": b""}) == {
        "x": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    }


def test_fingerprints_differ_between_renderings(site: Site) -> None:
    """A fingerprint cannot be looked up: each rendering of another instance has another key."""

    def fingerprint() -> str:
        (finding,) = [f for f in site.render().findings if "form_secret came" in f.claim]
        assert finding.expected == finding.observed
        return finding.observed

    assert fingerprint() != fingerprint()


def test_effects(site: Site) -> None:
    """Nothing is active in a closed site; each opened thing is named with its sentence."""
    carried = site.carried()
    assert carried.active_effects(carried.render(site.new)) == ()
    text = site.main.read_text().replace("federation_domain_whitelist: []\n", "")
    site.main.write_text(text.replace("report_stats: false", "report_stats: true"))
    site.add("email: {smtp_host: mail.example.org}\nmodules: []\n")
    active = carried.active_effects(carried.render(site.new))
    assert [effect.split(":")[0] for effect in active] == ["federation", "e-mail", "statistics"]
    assert "reports usage statistics" in active[2]


def test_effects_of_an_unreadable_configuration(site: Site) -> None:
    """When a rendered file is missing or broken, every effect that asks about it is active."""
    carried = site.carried()
    rendering = carried.render(site.new)
    everything = {effect.name for effect in load("synapse", Path()).effects}
    main = str(site.new.config / "homeserver.yaml")
    for broken in ({}, {main: (b"a: [", 0o600)}, {main: (b"a: 1\na: 2\n", 0o600)}):
        again = type(rendering)(broken, "", (), rendering.sources)
        names = {effect.split(":")[0] for effect in carried.active_effects(again)}
        assert names == everything


def _tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() if path.is_file() else b"" for path in directory.rglob("*")
    }
