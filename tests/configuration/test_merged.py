"""Files whose stock is known: merged into the new version's, by verdicts and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.configuration.scratch import failing

from crossfade.configuration import CarriedConfiguration, Decision, judge_of
from crossfade.configuration._decisions import holding
from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import UsageError
from crossfade.model import Address, Installation, Side
from crossfade.ports import Rendering
from crossfade.recipes import load

RECIPE = """\
application: tiny
install: {driver: python, packages: ["tiny=={version}"]}
service: {driver: process, command: ["{root}/run"]}
health: {path: /health}
stock:
  command: [sh, "{root}/make", "{stock}", "{data}", "{name}"]
  values: {name: {file: app.yaml, key: name}}
configuration:
  - path: app.yaml
    format: yaml
    stock: "{name}.yaml"
    rewrite:
      - {key: port, to: port, required: true}
      - {key: "store|log", to: path, outside: refuse}
    identity: [secret_key]
"""

OLD_STOCK = """\
# The old version's.
name: $3
port: 8008
store: $2/store
log: $1/log
secret_key: made-$$-old
workers: 2
timeout: 20
colour: red
"""

NEW_STOCK = """\
# The new version's.
name: $3
port: 8008
store: $2/store
log: $1/log
secret_key: made-$$-new
# How many at once.
workers: 2
timeout: 30
cache: true
"""


class Tiny:
    """Two versions of an application that make their configuration, and an old side."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.old, self.new = (self._side(side) for side in Side)
        (directory / "recipe.yaml").write_text(RECIPE)
        for side, stock in ((self.old, OLD_STOCK), (self.new, NEW_STOCK)):
            side.root.mkdir(parents=True)
            (side.root / "make").write_text(f'cat > "$1/$3.yaml" <<END\n{stock}END\n')
        self.file = self.old.config / "app.yaml"
        self.file.parent.mkdir(parents=True)
        self.write()

    def _side(self, side: Side) -> Installation:
        place = self.directory / side
        version, port = ("1", 8008) if side is Side.OLD else ("2", 8009)
        places = (place / "app", place / "etc", place / "data")
        address = Address("127.0.0.1", port)
        return Installation("tiny", version, side, "local", *places, address)

    def write(self, **changed: object) -> None:
        """The old side's file: its version's stock with some values changed, None takes one out."""
        values: dict[str, Any] = {
            "name": "ours",
            "port": 8008,
            "store": str(self.old.data / "store"),
            "log": str(self.old.config / "log"),
            "secret_key": "planted-secret",
            "workers": 2,
            "timeout": 20,
            "colour": "red",
        } | changed
        text = {name: value for name, value in values.items() if value is not None}
        self.file.write_text("# The old version's.\n" + yaml.safe_dump(text, sort_keys=False))

    @property
    def configuration(self) -> CarriedConfiguration:
        """What is tested, as a new process of ours has it."""
        recipe, host = load("recipe.yaml", self.directory), LocalHost()
        sides = {Side.OLD: (host, self.old), Side.NEW: (host, self.new)}
        judge = judge_of(recipe, self.old, sides, self.directory / "state")
        return CarriedConfiguration(recipe, self.old, host, judge=judge)

    def render(self) -> Rendering:
        """A rendering for the new side."""
        return self.configuration.render(self.new)

    def text(self, rendering: Rendering) -> str:
        """The rendered file."""
        return rendering.files[str(self.new.config / "app.yaml")][0].decode()

    def verdicts(self, rendering: Rendering) -> dict[str, str]:
        """The verdicts by setting."""
        return {".".join(one.setting): one.verdict for one in rendering.settings}

    @property
    def decisions(self) -> Path:
        """The file of questions and answers."""
        return self.directory / "state" / "configuration" / "decisions.toml"

    def choose(self, choice: str) -> None:
        """Fill in the first open question by hand."""
        text = self.decisions.read_text()
        self.decisions.write_text(text.replace('choose = ""', f'choose = "{choice}"', 1))


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """An application of its own for each test."""
    return Tiny(tmp_path)


def test_yours_in_the_new_versions_text(tiny: Tiny) -> None:
    """What you changed is in the new version's text with its new settings and comments; identity
    keys keep the old value, and what belongs to a side is rewritten."""
    tiny.write(workers=8, colour=None)
    rendering = tiny.render()
    assert rendering.questions == ()
    assert failing(rendering) == []
    assert tiny.text(rendering) == (
        "# The new version's.\n"
        "name: ours\n"
        "port: 8009\n"
        f"store: {tiny.new.data}/store\n"
        f"log: {tiny.new.config}/log\n"
        "secret_key: planted-secret\n"
        "# How many at once.\n"
        "workers: 8\n"
        "timeout: 30\n"
        "cache: true\n"
    )
    assert rendering.merged == {str(tiny.new.config / "app.yaml")}
    verdicts = tiny.verdicts(rendering)
    assert (verdicts["workers"], verdicts["timeout"]) == ("carried", "kept-new")


def test_a_conflict_is_asked_and_answered_in_a_file(tiny: Tiny) -> None:
    """Both changed it: nothing is chosen.  The file to fill in is its owner's only, and an answer
    in it decides."""
    tiny.write(timeout=60, colour=None)
    rendering = tiny.render()
    assert [one.setting for one in rendering.questions] == [("timeout",)]
    assert "timeout: 60" in tiny.text(rendering)
    assert "cache" not in tiny.text(rendering), "while a question is open it is yours, whole"
    assert tiny.configuration.ask(rendering.settings) == tiny.decisions
    assert tiny.decisions.stat().st_mode & 0o777 == 0o600
    assert "the new version's default: 30" in tiny.decisions.read_text()
    tiny.choose("yours")
    decided = tiny.render()
    assert decided.questions == ()
    assert "timeout: 60\ncache: true" in tiny.text(decided)
    tiny.configuration.ask(decided.settings)
    assert tiny.render().questions == (), "writing the questions again keeps the answers"


def test_an_answer_holds_for_its_values_only(tiny: Tiny) -> None:
    """Once your value is another, the question is asked again."""
    tiny.write(timeout=60, colour=None)
    tiny.configuration.ask(tiny.render().settings)
    tiny.choose("new")
    assert "timeout: 30" in tiny.text(tiny.render())
    tiny.write(timeout=90, colour=None)
    assert [one.setting for one in tiny.render().questions] == [("timeout",)]
    tiny.write(timeout=60, colour=None)
    assert tiny.render().questions == ()


def test_answers_for_other_values_are_kept(tiny: Tiny) -> None:
    """Writing the questions down, with or without another answer, loses none that was given."""
    tiny.write(timeout=60, colour=None)
    tiny.configuration.ask(tiny.render().settings)
    tiny.choose("new")
    tiny.write(timeout=90, colour="blue")
    rendering = tiny.render()
    tiny.configuration.ask(rendering.settings)
    by_name = {one.setting[0]: one for one in rendering.questions}
    tiny.configuration.answer(rendering.settings, by_name["timeout"], "value", "45")
    again = tiny.render()
    tiny.configuration.ask(again.settings)
    text = tiny.decisions.read_text()
    assert text.count("[[decision]]") == 3
    assert text.count("# Given for other values than there are now.") == 1
    assert "timeout: 45\n" not in tiny.text(again), "colour is open still"
    tiny.write(timeout=60, colour=None)
    assert "timeout: 30\n" in tiny.text(tiny.render())
    tiny.write(timeout=90, colour=None)
    assert "timeout: 45\n" in tiny.text(tiny.render())


def test_an_answer_is_given_once(tiny: Tiny) -> None:
    """Another answer for the same values takes the first one's place."""
    tiny.write(timeout=60, colour=None)
    for choice in ("yours", "new"):
        rendering = tiny.render()
        (about,) = (one for one in rendering.settings if one.setting == ("timeout",))
        tiny.configuration.answer(rendering.settings, about, choice)
    assert tiny.decisions.read_text().count("[[decision]]") == 1
    assert "timeout: 30\n" in tiny.text(tiny.render())


def test_an_answer_of_an_earlier_upgrade(tiny: Tiny) -> None:
    """The file had another place then: it holds for the same values.  That of another file of
    today, which happens to be called the same, does not."""
    tiny.write(timeout=60, colour=None)
    tiny.configuration.ask(tiny.render().settings)
    tiny.choose("new")
    text = tiny.decisions.read_text()
    tiny.decisions.write_text(text.replace(str(tiny.file), "/srv/before/app.yaml"))
    assert tiny.render().questions == ()
    tiny.configuration.ask(tiny.render().settings)
    assert tiny.decisions.read_text().count("[[decision]]") == 1
    twin = tiny.file.with_name("twin") / "app.yaml"
    decided = [Decision("new", None, "0" * 16, str(twin), ("timeout",))]
    assert holding(decided, str(tiny.file), ("timeout",), "0" * 16, {str(tiny.file)})
    assert not holding(decided, str(tiny.file), ("timeout",), "0" * 16, {str(twin)})


@pytest.mark.parametrize(("choice", "line"), [("new", "made-"), ("drop", ""), ("value", "ours")])
def test_an_identity_key_that_only_the_new_version_has(tiny: Tiny, choice: str, line: str) -> None:
    """A secret that the new version made up, where the old side sets none: asked, never shown, and
    what was decided is what stands there, whatever else is changed."""
    make = tiny.old.root / "make"
    make.write_text(make.read_text().replace("secret_key: made-$$-old\n", ""))
    tiny.write(secret_key=None, colour=None)
    rendering = tiny.render()
    (asked,) = rendering.questions
    assert (asked.setting, asked.verdict) == (("secret_key",), "needs-review")
    assert asked.new_default.startswith("(secret, fingerprint ")
    assert set(asked.choices) == {"new", "value", "drop"}
    tiny.configuration.answer(rendering.settings, asked, choice, "ours")
    for changed in ({}, {"workers": 8}):
        tiny.write(secret_key=None, colour=None, **changed)
        decided = tiny.render()
        assert (decided.questions, failing(decided)) == ((), [])
        lines = [each for each in tiny.text(decided).splitlines() if "secret_key" in each]
        assert [each.startswith(f"secret_key: {line}") for each in lines] == [True] * bool(line)


def test_taken_back(tiny: Tiny) -> None:
    """An answer, or all of them, with those for other values; the others stay."""
    for timeout in (60, 90):
        tiny.write(timeout=timeout, colour="blue")
        tiny.configuration.ask(tiny.render().settings)
        tiny.choose("yours")
        tiny.choose("yours")
    settings = tiny.render().settings
    assert tiny.configuration.take_back(settings, "nothing") == []
    assert tiny.configuration.take_back(settings, "timeout") == ["app.yaml timeout"]
    text = tiny.decisions.read_text()
    assert ("timeout" in text, text.count('choose = "yours"')) == (False, 1)
    assert tiny.configuration.take_back(tiny.render().settings) == ["app.yaml colour"]
    assert 'choose = "yours"' not in tiny.decisions.read_text()


def test_a_value_of_its_own_and_dropping(tiny: Tiny) -> None:
    """A setting that the new version has no longer is a question, marked as such; it can be
    dropped.  A conflict can get a third value, which is a number where the others are."""
    tiny.write(timeout=60, colour="blue")
    rendering = tiny.render()
    gone = {one.setting[0]: one.gone for one in rendering.questions}
    assert gone == {"timeout": False, "colour": True}
    configuration = tiny.configuration
    by_name = {one.setting[0]: one for one in rendering.questions}
    configuration.answer(rendering.settings, by_name["colour"], "drop")
    configuration.answer(rendering.settings, by_name["timeout"], "value", "45")
    decided = tiny.render()
    assert decided.questions == ()
    text = tiny.text(decided)
    assert "timeout: 45\n" in text
    assert "colour" not in text


def test_without_the_new_version(tiny: Tiny) -> None:
    """Before it is installed a file is taken whole.  What was had once is known for ever."""
    away = tiny.new.root.rename(tiny.directory / "away")
    assert {one.verdict for one in tiny.render().settings} == {"carried", "rewritten"}
    assert tiny.render().merged == frozenset()
    away.rename(tiny.new.root)
    tiny.write(workers=8)
    assert tiny.render().merged
    tiny.new.root.rename(away)
    assert tiny.render().merged


def test_without_the_old_versions_stock(tiny: Tiny) -> None:
    """Then nobody knows what you changed, and all that differs is asked."""
    (tiny.old.root / "make").write_text("exit 1\n")
    rendering = tiny.render()
    asked = {one.verdict for one in rendering.questions}
    assert asked == {"needs-review"}
    assert {one.setting[0] for one in rendering.questions} == {"timeout", "colour", "cache"}


def test_no_secret_is_shown(tiny: Tiny) -> None:
    """Neither in what is said of settings nor in the file of questions nor in the difference."""
    users = {"planted-Zk8vQ2xw9TtYpL4sR7aD": "us"}
    tiny.write(workers=8, timeout=60, api_token="planted-token", users=users)
    rendering = tiny.render()
    tiny.configuration.ask(rendering.settings)
    said = [str(one.as_json()) for one in rendering.settings]
    for text in (*said, rendering.difference, tiny.decisions.read_text()):
        assert "planted" not in text
    assert "api_token" in tiny.verdicts(rendering)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[decision]\n", "it is no TOML"),
        ("decision = 1\n", "no list of tables"),
        ('[[decision]]\nfile = "x"\n', "lacks file, setting or for"),
    ],
)
def test_a_broken_file_of_decisions(tiny: Tiny, text: str, says: str) -> None:
    """It is named, with what is wrong and the next command."""
    tiny.decisions.parent.mkdir(parents=True)
    tiny.decisions.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        tiny.render()
    assert caught.value.code == "decisions-invalid"
    assert caught.value.where == str(tiny.decisions)
    assert caught.value.next.endswith("then: crossfade config plan")


def test_an_answer_that_is_none(tiny: Tiny) -> None:
    """It is refused, and nothing is chosen."""
    tiny.write(timeout=60, colour=None)
    tiny.configuration.ask(tiny.render().settings)
    tiny.choose("mine")
    with pytest.raises(UsageError, match="timeout has the choice mine, which is none"):
        tiny.render()
