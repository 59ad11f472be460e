"""Recipes: the one of Synapse, and complaints about others."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.errors import UsageError
from crossfade.recipes import fill, is_secret_name, load, names

RECIPE = """\
application: demo
install: {driver: python, packages: ["demo=={version}"]}
service:
  driver: process
  command: ["{root}/demo", "--port", "{port}"]
health: {path: /health}
effects:
  - {name: mail, what: sends mail, when: {file: demo.yaml, key: mail}}
configuration:
  - path: demo.yaml
    format: yaml
    rewrite: [{key: port, to: port}]
    identity: [secret]
databases:
  - {name: main, driver: sqlite, path: demo.db}
"""


def test_synapse() -> None:
    """The recipe of Synapse is there and says the things that the steps need."""
    recipe = load("synapse", Path())
    assert names() == ("mlflow", "synapse")
    assert recipe.title == "Matrix Synapse"
    assert recipe.service.command[0] == "{root}/bin/python"
    assert (recipe.service.start_timeout, recipe.service.stop_timeout) == (120.0, 30.0)
    assert recipe.health.contains == "OK"
    assert recipe.version is not None
    assert recipe.version.equals == "{version}"
    assert recipe.installed_version is not None
    assert recipe.installed_version.equals == "{version}"
    assert [database.driver for database in recipe.databases] == ["sqlite", "postgres"]
    assert {database.name for database in recipe.databases} == {"main"}
    assert [tree.name for tree in recipe.files] == ["media"]
    assert {"federation", "push", "e-mail", "statistics"} <= {
        effect.name for effect in recipe.effects
    }


def test_mlflow() -> None:
    """The recipe of MLflow knows it on both kinds of server, and names no password."""
    recipe = load("mlflow", Path())
    assert [database.driver for database in recipe.databases] == ["postgres", "mysql"]
    assert recipe.service.environment["MLFLOW_BACKEND_STORE_URI"] == "{main.sqlalchemy}"
    assert recipe.service.migrate[-1] == "{main.sqlalchemy}"
    assert [tree.name for tree in recipe.files] == ["artifacts"]


def test_own_recipe(tmp_path: Path) -> None:
    """A path relative to the manifest's directory is read, with defaults filled in."""
    (tmp_path / "demo.yaml").write_text(RECIPE)
    recipe = load("./demo.yaml", tmp_path)
    assert (recipe.title, recipe.source) == ("demo", tmp_path / "demo.yaml")
    assert recipe.configuration[0].identity == ("secret",)
    assert recipe.configuration[0].rewrite[0].outside == "keep"
    assert recipe.effects[0].when[0].compares is False
    assert (recipe.health.name, recipe.health.status) == ("health", 200)


@pytest.mark.parametrize(
    ("install", "options"),
    [
        ("driver: python", {}),
        ('driver: python, python: "3.12"', {"python": "3.12"}),
        ('driver: npm, node: ">=18 <23.1"', {"node": ">=18 <23.1"}),
        ("driver: tarball, strip: true", {"strip": True}),
        ("driver: theirs, strip: true", {"strip": True}),
    ],
)
def test_install_options(tmp_path: Path, install: str, options: dict[str, object]) -> None:
    """Options go to the install by name; a driver of somebody else's may have any of them."""
    (tmp_path / "demo.yaml").write_text(RECIPE.replace("driver: python", install, 1))
    assert load("demo.yaml", tmp_path).install.options == options


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{version}", "{verson}", "demo.yaml:2 install.packages.0: has the unknown placeholder {v"),
        ("driver: process", "drivers: process", "demo.yaml:4 service.drivers (did you mean driver"),
        ("key: mail}", "keys: mail}", "demo.yaml:8 effects.0.when.keys (did you mean key?)"),
        (
            "to: port",
            "to: prt",
            "rewrite.0.to: must be one of path, port, host, address, version, database-host",
        ),
        ("to: port", "to: database", "rewrite.0.to: must be one of path, port, host"),
        ("path: demo.db", "path: /demo.db", "databases.0.path: must be relative and stay inside"),
        ("path: demo.db", "path: ../demo.db", "databases.0.path: must be relative and stay inside"),
        ("format: yaml", "format: opaque", "configuration.0.rewrite: cannot be done in an opaque"),
        (
            "    format: yaml\n",
            "    format: opaque\n    stock: x.yaml\n",
            "configuration.0.stock: is for a file that is read",
        ),
        (
            "format: yaml",
            "format: unit",
            "configuration.0.format: must be one of yaml, ini, toml, json, xml, python",
        ),
        (
            "  - path: demo.yaml\n    format",
            "  - format",
            "demo.yaml:10 configuration.0: must have",
        ),
        ("driver: python,", "driver: python, python: 3.11,", "yaml:2 install.python: must be text"),
        (
            "driver: python,",
            'driver: python, python: "3.11.2",',
            "demo.yaml:2 install.python: must be a version of Python in quotes, such as",
        ),
        (
            "driver: python,",
            'driver: npm, node: ">= 18",',
            "demo.yaml:2 install.node: must be versions of Node.js in quotes, such as",
        ),
        ("driver: python,", "driver: tarball, strip: 1,", "install.strip: must be true or false"),
        (
            "driver: python,",
            "driver: python, strip: true,",
            "demo.yaml:2 install.strip: is for the install tarball, not for python",
        ),
        (
            "driver: python,",
            'driver: apt, node: "18",',
            "demo.yaml:2 install.node: is for the install npm, not for apt",
        ),
        ("driver: python,", "driver: npm, nodes: x,", "install.nodes (did you mean node?)"),
        ("key: port", "key: a..b", "rewrite.0.key: must be keys with dots between them"),
        ("path: /health", "path: /health, status: ok", "demo.yaml:6 health.status: must be a whol"),
    ],
)
def test_complaint(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """A mistake in a recipe is named with its line, key path and the nearest right word."""
    assert old in RECIPE
    (tmp_path / "demo.yaml").write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load("demo.yaml", tmp_path)
    assert caught.value.code == "recipe-invalid"
    assert expected in caught.value.where


@pytest.mark.parametrize("name", ["missing.yaml", "latin.yaml", "nothing"])
def test_no_recipe(tmp_path: Path, name: str) -> None:
    """A recipe that is not there, or is no text, is explained."""
    (tmp_path / "latin.yaml").write_bytes(b"\xff")
    with pytest.raises(UsageError) as caught:
        load(name, tmp_path)
    assert caught.value.code == "recipe-missing"
    assert name in caught.value.what


def test_fill() -> None:
    """Known names are replaced once; other braces stay as they are."""
    text = '{root}/x {port}{other} {"a": {}} {{port}}'
    assert fill(text, {"root": "{port}", "port": "80"}) == '{port}/x 80{other} {"a": {}} {80}'


def test_secret_names() -> None:
    """Names that may hold a secret are told from those that do not."""
    assert all(map(is_secret_name, ("form_secret", "SMTP_PASSWORD", "api-Key", "SENTRY_DSN")))
    assert not any(map(is_secret_name, ("LANG", "port", "server_name")))


MUTED = """\
effects:
  - name: mail
    what: sends mail
    when: {file: demo.yaml, key: "mail.server|relay"}
    unless: {file: demo.yaml, key: mail.enabled, equals: false}
    mute: [MUTE]
"""


@pytest.mark.parametrize(
    ("mute", "says"),
    [
        ("{file: demo.yaml, key: mail.enabled, value: false}", ""),
        ("{file: demo.yaml, key: mail, drop: true}", ""),
        ("{file: demo.yaml, key: mail, value: {enabled: false}}", ""),
        ("{file: demo.yaml, key: mail, value: {to: nobody}}", ""),
        (
            "{file: demo.yaml, key: mail.server, drop: true}, "
            "{file: demo.yaml, key: mail.relay, value: null}",
            "",
        ),
        ("{file: demo.yaml, key: mail.server, drop: true}", "does not silence its effect"),
        ("{file: demo.yaml, key: mail.enabled, value: 0}", "does not silence its effect"),
        ("{file: other.yaml, key: mail, drop: true}", "does not silence its effect"),
        ("{file: demo.yaml, key: mail, value: {relay: x}}", "does not silence its effect"),
        (
            "{file: demo.yaml, key: mail, drop: true}, {file: demo.yaml, key: mail, value: 1}",
            "mute.1: wants this key otherwise than one before",
        ),
        (
            "{file: demo.yaml, key: mail, drop: true}, {file: demo.yaml, key: secret, drop: true}",
            "mute.1: is an identity key",
        ),
        ("{file: demo.yaml, key: mail}", "one of value and drop"),
        ("{file: demo.yaml, key: mail, drop: true, value: 1}", "one of value and drop"),
        ("{file: demo.yaml, key: mail, drop: false}", "mute.0.drop: must be one of True"),
        ('{file: demo.yaml, key: "mail.*", drop: true}', "must be names with dots between them"),
    ],
)
def test_mutes(tmp_path: Path, mute: str, says: str) -> None:
    """A mute is taken when its effect is silent with it whatever else is configured; else the
    recipe is not, and the line is named."""
    before, _, after = RECIPE.partition("effects:\n")
    rest = after.partition("configuration:\n")[2]
    text = f"{before}{MUTED.replace('MUTE', mute)}configuration:\n{rest}"
    (tmp_path / "demo.yaml").write_text(text)
    if not says:
        assert load("demo.yaml", tmp_path).effects[0].mute
        return
    with pytest.raises(UsageError) as caught:
        load("demo.yaml", tmp_path)
    assert caught.value.code == "recipe-invalid"
    assert "demo.yaml:12 effects.0.mute" in caught.value.where
    assert says in caught.value.where


VARIABLE = """\
effects:
  - name: mail
    what: sends mail
    when: WHEN
    mute: [MUTE]
"""


@pytest.mark.parametrize(
    ("when", "mute", "says"),
    [
        ("{variable: MAIL}", "{variable: MAIL, value: ''}", ""),
        ("{variable: MAIL, equals: 'on'}", "{variable: MAIL, value: 'off'}", ""),
        ("{variable: MAIL}", "{variable: MAIL, value: 'x'}", "mute: does not silence its effect"),
        ("{variable: MAIL}", "{variable: OTHER, value: ''}", "mute: does not silence its effect"),
        ("{variable: MAIL}", "{variable: MAIL, drop: true}", "or variable with value"),
        ("{variable: MAIL}", "{variable: MAIL, value: 0}", "mute.0: must be text in quotes"),
        ("{variable: MAIL, equals: off}", "{variable: MAIL, value: ''}", "when: must be text in"),
        (
            "{variable: MAIL, key: mail}",
            "{variable: MAIL, value: ''}",
            "when: is about a variable, so file and key go",
        ),
        ("{key: mail}", "{variable: MAIL, value: ''}", "must have file and key, or variable"),
        ("{variable: a-b}", "{variable: MAIL, value: ''}", "must be the name of a variable"),
    ],
)
def test_muted_variables(tmp_path: Path, when: str, mute: str, says: str) -> None:
    """As mutes of keys; what cannot be said of a variable is refused."""
    before, _, after = RECIPE.partition("effects:\n")
    rest = after.partition("configuration:\n")[2]
    effect = VARIABLE.replace("WHEN", when).replace("MUTE", mute)
    (tmp_path / "demo.yaml").write_text(f"{before}{effect}configuration:\n{rest}")
    if not says:
        assert load("demo.yaml", tmp_path).muted_variables.keys() == {"MAIL"}
        return
    with pytest.raises(UsageError) as caught:
        load("demo.yaml", tmp_path)
    assert says in str(caught.value.where)


def test_requirements_ask_files(tmp_path: Path) -> None:
    """What variables there will be is not known before anything is done."""
    text = RECIPE + "requires: [{what: it sends mail, when: {variable: MAIL}}]\n"
    (tmp_path / "demo.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load("demo.yaml", tmp_path)
    assert "requires.0.when: must ask about a file" in str(caught.value.where)
