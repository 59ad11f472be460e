"""Keys that hold where a database on a server is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.configuration.scratch import Disk

from crossfade.configuration import CarriedConfiguration
from crossfade.model import Address, Endpoint, Installation, Side
from crossfade.recipes import load

RECIPE = """\
application: notes
install: {driver: python, packages: [notes]}
service: {driver: process, command: [notes]}
health: {path: /health}
configuration:
  - path: notes.yaml
    format: yaml
    rewrite:
      - {key: db.host, to: database-host, required: true}
      - {key: db.port, to: database-port, required: true}
      - {key: db.name, to: database-name, required: true}
      - {key: db.user, to: database-user, required: true}
      - {key: db.password, to: database-password, required: true}
databases:
  - {name: main, driver: postgres}
"""
CONFIG = """\
db:   # ours
  host: 10.0.0.5
  port: 5432
  name: notes
  user: notes
  password: old-planted
"""


def side(directory: Path, which: Side, host: str, port: int) -> Installation:
    """An installation with a database on a server."""
    address = Address(host, port)
    password = f"file:{which}-pw"
    database = Endpoint("postgres", address, "notes", "notes", password, "admin", "", directory)
    place = directory / which
    here = Address("127.0.0.1", 8001 if which is Side.OLD else 8002)
    return Installation("notes", "1", which, "local", place, place, place, here, {"main": database})


def carried(directory: Path, recipe: str = RECIPE, config: str = CONFIG) -> CarriedConfiguration:
    """The recipe's configuration of the old side."""
    (directory / "old").mkdir()
    (directory / "old" / "notes.yaml").write_text(config)
    (directory / "old-pw").write_text("old-planted\n")
    (directory / "new-pw").write_text("new-planted\n")
    (directory / "recipe.yaml").write_text(recipe)
    old = side(directory, Side.OLD, "10.0.0.5", 5432)
    return CarriedConfiguration(load("recipe.yaml", directory), old, Disk())


def test_every_value_is_the_new_sides(tmp_path: Path) -> None:
    """Host, port, name, user and password are rewritten in place; no secret is shown."""
    configuration = carried(tmp_path)
    rendering = configuration.render(side(tmp_path, Side.NEW, "10.0.0.6", 6000))
    ((data, mode),) = rendering.files.values()
    assert yaml.safe_load(data)["db"] == {
        "host": "10.0.0.6",
        "port": 6000,
        "name": "notes",
        "user": "notes",
        "password": "new-planted",
    }
    assert b"db:   # ours\n" in data
    assert mode == 0o600
    assert all(finding.holds for finding in rendering.findings)
    shown = rendering.difference + repr(rendering.findings)
    assert "planted" not in shown


@pytest.mark.parametrize("before", ["host: 10.0.0.5", "port: 5432", "password: old-planted"])
def test_a_value_that_is_not_the_old_sides(tmp_path: Path, before: str) -> None:
    """A configuration that speaks of another database than the manifest stops the upgrade."""
    configuration = carried(tmp_path)
    path = tmp_path / "old" / "notes.yaml"
    path.write_text(CONFIG.replace(before, before.partition(":")[0] + ": 7777"))
    findings = configuration.render(side(tmp_path, Side.NEW, "10.0.0.6", 6000)).findings
    broken = [finding for finding in findings if not finding.holds]
    assert len(broken) == 1
    assert f"database-{before.partition(':')[0]}" in broken[0].claim


@pytest.mark.parametrize(("port", "whole"), [(5432, True), (6000, False)])
def test_a_value_left_to_its_default(tmp_path: Path, port: int, whole: bool) -> None:
    """A port that the file does not name is the default one, so the new side's must be it too."""
    configuration = carried(tmp_path, config=CONFIG.replace("  port: 5432\n", ""))
    findings = configuration.render(side(tmp_path, Side.NEW, "10.0.0.6", port)).findings
    assert all(finding.holds for finding in findings) == whole


@pytest.mark.parametrize("key", ["name", "dbname"])
def test_either_of_two_keys(tmp_path: Path, key: str) -> None:
    """A name that both sides share stays, under either key, though another rule sees a path."""
    recipe = RECIPE.replace(
        "{key: db.name, to: database-name, required: true}",
        "{key: db.name|dbname, to: database-name, required: true}\n"
        "      - {key: db.name|dbname, to: path, outside: refuse}",
    )
    configuration = carried(tmp_path, recipe, CONFIG.replace("name: notes", f"{key}: notes"))
    rendering = configuration.render(side(tmp_path, Side.NEW, "10.0.0.6", 5432))
    ((data, _),) = rendering.files.values()
    assert yaml.safe_load(data)["db"][key] == "notes"
    assert all(finding.holds for finding in rendering.findings)
