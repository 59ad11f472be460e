"""What the old program has in its environment, and nothing that comes over gives the new one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.client import Client
from tests.testbed.site import Site, eventually, recipe_with_defaults

from crossfade.model import Run, Side

SECRET = "planted-secret-0815"
GIVEN = {
    "NOTES_THREADS": "4",
    "NOTES_LIMIT": "70",
    "NOTES_PEPPER": SECRET,
    "NOTES_SHELLS_OWN": "1",
    "NOTES_HOME": "{data}/home",
    "NOTES_COLOUR": "{red}",
    "NOTES_FROM": "env:HOME",
    "LC_ALL": "C.UTF-8",
    "SHLVL": "3",
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose old side somebody has started by hand, from a shell of his own."""
    recipe = recipe_with_defaults({"NOTES_LIMIT": "7", "NOTES_POOL": "5"})
    made = Site(tmp_path / "site", recipe=recipe)
    wired = made.wired()
    old = wired.side(wired.manifest.old, Side.OLD)
    given = {name: value.replace("{data}", str(made.data)) for name, value in GIVEN.items()}
    program, *words = old.service.command()
    by_hand = subprocess.Popen((program, "-u", *words), cwd=made.data, env=given)
    try:
        eventually(lambda: old.health.run().holds)
        made.run("gate", "start", "--yes")
        yield made
    finally:
        by_hand.terminate()
        by_hand.wait()
        made.close()


def test_nothing_of_it_is_lost_silently(site: Site) -> None:
    """Variables that a shell gives everything do not count; the others are asked about, and go to
    the new program as they were, with its paths; but what the recipe has a default of is the old
    program's without a question.  No secret stands where others may read it."""
    assert site.run("rehearse", ok=False).code == 3
    asked = site.run("config", "plan", "--json", ok=False)
    names = {one["setting"][-1] for one in asked.json if one["open"]}
    assert names == {name for name in GIVEN if name.startswith("NOTES_")} - {"NOTES_LIMIT"}
    (limit,) = (one for one in asked.json if one["setting"] == ["NOTES_LIMIT"])
    assert (limit["verdict"], limit["yours"]) == ("carried", "70"), "a default yields to it"
    assert {one["file"] for one in asked.json if one["open"]} == {"the running program"}
    (start,) = (one for one in asked.json if one["setting"] == ["Service", "ExecStart"])
    assert (start["verdict"], " -u -m notes " in start["yours"]) == ("kept-new", True)
    answers = site.directory / "state" / "configuration" / "decisions.toml"
    text = answers.read_text(encoding="utf-8")
    assert SECRET not in asked.out + text
    head, *entries = text.split("[[decision]]")
    chosen = [
        one.replace('choose = ""', f'choose = "{"new" if "SHELLS_OWN" in one else "yours"}"')
        for one in entries
    ]
    answers.write_text("[[decision]]".join([head, *chosen]), encoding="utf-8")
    site.run("rehearse")
    with Client(site.gate) as client:
        site.run("cutover", "--yes")
    assert (client.failures, client.lost(site.gate), site.version()) == ([], set(), "2.0")
    environment = environment_of_new(site)
    data = site.directory / "new"
    assert {name: value for name, value in environment.items() if name.startswith("NOTES_")} == {
        "NOTES_THREADS": "4",
        "NOTES_LIMIT": "70",
        "NOTES_POOL": "5",
        "NOTES_PEPPER": SECRET,
        "NOTES_HOME": f"{data}/home",
        "NOTES_COLOUR": "{red}",
        "NOTES_FROM": "env:HOME",
    }
    holding = [
        path
        for path in (site.directory / "state").rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}
    assert {path.relative_to(answers.parent).parts[0] for path in holding} == {
        "running.json",
        "variables",
    }


def environment_of_new(site: Site) -> dict[str, str]:
    """What the kernel says that the new program has.  That the old one does not run any more
    makes no difference for what it would be given."""
    wired = site.wired()
    work = wired.begin(Run.CUTOVER)
    assert wired.machines.taken["NOTES_THREADS"] == "4"
    (pid, *_) = work.new.service.look().pids
    pairs = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    wired.journal.close()
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs if pair}


def test_files_that_nobody_named(site: Site) -> None:
    """``config plan`` says that they stay behind, and what to do."""
    (site.data / "extra.yaml").write_text("more: 1\n")
    verdicts = {one["file"]: one for one in site.run("config", "plan", "--json", ok=False).json}
    stays = verdicts[str(site.data / "extra.yaml")]
    assert (stays["verdict"], stays["setting"]) == ("out-of-scope", [])
    assert "name it under configuration in crossfade.yaml" in stays["why"]
    shown = site.run("config", "plan", ok=False).out
    assert "OUT OF SCOPE (1)" in shown
    assert f"{site.data}/extra.yaml: it lies in the old side's configuration directory" in shown
