"""The whole story into a container, from a container, a machine or this one, under a client."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.testbed.client import Client
from tests.testbed.composed import composed_site_at
from tests.testbed.contained import ContainedSite, contained_site_at
from tests.testbed.engine import Engine
from tests.testbed.machines import Machine
from tests.testbed.site import Site, eventually, recipe_with_defaults
from tests.testbed.stocked import stocked_recipe

from crossfade.model import Side


def standing(engine: Engine) -> dict[str, set[str]]:
    """What an engine has."""
    return {
        "containers": set(engine.docker("ps", "--all", "--format", "{{.Names}}").split()),
        "volumes": set(engine.docker("volume", "ls", "--format", "{{.Name}}").split()),
        "networks": set(engine.docker("network", "ls", "--format", "{{.Name}}").split()),
    }


def mine(site: ContainedSite) -> dict[str, set[str]]:
    """Of that, what is this site's."""
    return {
        kind: {name for name in names if site.name in name}
        for kind, names in standing(site.engine).items()
    }


def listed(site: Site) -> dict[str, set[str]]:
    """Of this site, what the report says that stands at the engine."""
    stands = site.run("report", "--json").json["stands"]
    said = [one.split(" at ")[0].split(" ") for one in stands if one.endswith(".sock")]
    return {
        f"{kind}s": {name for k, name in said if k == kind}
        for kind in ("container", "volume", "network")
    }


@pytest.fixture(
    params=["container", "compose", "machine", pytest.param("here", marks=pytest.mark.whole)]
)
def site(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[ContainedSite]:
    """A site whose new side is a container, and the old one is one, or on a machine, or here; with
    Compose both are in a project."""
    if request.param == "compose":
        with composed_site_at(tmp_path / "site", engine) as made:
            yield made
        return
    old: Machine | None = None
    if request.param == "machine":
        old = request.getfixturevalue("machines")[0]
    with contained_site_at(tmp_path / "site", engine, old, here=request.param == "here") as made:
        yield made


def test_forward_back_and_forward_again(site: ContainedSite) -> None:
    """Rehearse, cut over, roll back, cut over again, retire: no request fails, nothing is lost,
    and nothing of ours stays at the engine but what serves."""
    before = mine(site)
    jobs, ending = set[str](), tuple[str, ...]()
    if site.machines[Side.OLD]:
        site.add_jobs()
        jobs, ending = site.jobs_on(Side.OLD), ("--end-jobs",)
        assert jobs
    with Client(site.gate) as client:
        site.run("rehearse")
        assert site.version() == "1.0"
        assert mine(site) == before
        rehearsed = site.manifest.read_text(encoding="utf-8")
        other = rehearsed.replace('"image"', '"mounts": {"/srv/notes/data": "another"}, "image"')
        site.manifest.write_text(other, encoding="utf-8")
        assert "plan-changed" in site.run("cutover", "--yes", *ending, ok=False).err
        site.manifest.write_text(rehearsed, encoding="utf-8")
        if ending:
            refused = site.run("cutover", "--yes", ok=False)
            assert (refused.code, "error: jobs-end" in refused.err) == (4, True), refused.err
            assert site.jobs_on(Side.OLD) == jobs
        first = site.run("cutover", "--yes", "--json", *ending).json
        assert not (ending and site.jobs_on(Side.OLD)), "nobody has them"
        assert (first["outcome"], first["live"], site.version()) == ("done", "new", "2.0")
        assert first["requests"]["served_by_old_after_drain"] == 0
        eventually(lambda: len(client.acknowledged) > 30)
    assert client.failures == []
    assert client.lost(site.gate) == set()
    with Client(site.gate, name="second", stays_behind=True) as client:
        back = site.run("rollback", "--yes", "--accept-loss", "--json").json
        assert (back["outcome"], back["live"], site.version()) == ("rolled-back", "old", "1.0")
    assert client.failures == []
    assert listed(site) == {k: mine(site)[k] - before[k] for k in before}
    assert not ending or site.jobs_on(Side.OLD) == jobs
    with Client(site.gate, name="third") as client:
        site.run("cutover", "--yes", *ending)
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    retired = site.run("retire", "--yes", "--json").json
    assert (retired["outcome"], retired["live"]) == ("retired", "new")
    assert site.version() == "2.0"
    assert mine(site) == site.after_retire()
    assert listed(site) == {k: mine(site)[k] - before[k] for k in before}


def test_in_the_new_versions_text(engine: Engine, tmp_path: Path) -> None:
    """A container's settings go into the text that the new image makes, which nothing of the
    new side has to be there for: ``config plan`` knows it, and leaves nothing at the engine."""
    with contained_site_at(tmp_path / "site", engine, recipe=stocked_recipe()) as site:
        file = f"{site.data}/notes.yaml"
        add = f"printf 'page: 20\\nmotd: ours\\n' >> {file}"
        engine.docker("exec", site.containers()[Side.OLD], "sh", "-c", add)
        before = mine(site)
        told = {
            tuple(v["setting"]): v["verdict"] for v in site.run("config", "plan", "--json").json
        }
        assert (told[("motd",)], told[("page",)]) == ("carried", "kept-new")
        site.run("rehearse")
        assert mine(site) == before
        with Client(site.gate) as client:
            site.run("cutover", "--yes")
        assert (client.failures, client.lost(site.gate)) == ([], set())
        text = engine.docker("exec", site.containers()[Side.NEW], "cat", file)
        assert text.startswith("# Notes, version 2\n")
        settings = yaml.safe_load(text)
        assert (settings["motd"], settings["page"], settings["theme"]) == ("ours", 25, "light")
        assert settings["secret_key"] == "planted-secret-4711"


def test_killed_run_leaves_nothing_unknown(engine: Engine, tmp_path: Path) -> None:
    """A rehearsal that is killed on containers leaves a helper, which doctor names and removes;
    the old side serves throughout, and all that was made goes."""
    with contained_site_at(tmp_path / "site", engine) as site:
        before = mine(site)
        point = "rehearsal.restore.after-act"
        killed = site.run("rehearse", env={"CROSSFADE_CRASH_AT": point}, ok=False)
        assert killed.code == -signal.SIGKILL
        left = mine(site)["containers"] - before["containers"]
        helpers = {name for name in left if "-crossfade-helper-" in name}
        assert helpers
        shown = site.run("doctor", "--json", ok=False)
        assert shown.code == 3
        assert all(any(name in line for line in shown.json["left"]) for name in helpers)
        assert site.run("doctor", "--fix", "--json").json["left"] == []
        assert mine(site) == before
        assert site.version() == "1.0"


@pytest.mark.parametrize(("old", "colour"), [("container", "blue"), ("machine", "/var/cache")])
def test_variables_of_the_old_program(
    request: pytest.FixtureRequest, engine: Engine, tmp_path: Path, old: str, colour: str
) -> None:
    """Those that were set on the container, or by the unit, are the new container's, also where
    the recipe has a default of them, and ``config plan`` says so; of the unit's other settings it
    says that a container has none."""
    there = request.getfixturevalue("machines")[0] if old == "machine" else None
    recipe = recipe_with_defaults({"NOTES_COLOUR": "grey", "NOTES_POOL": "5"})
    with contained_site_at(tmp_path / "site", engine, there, recipe=recipe) as site:
        found = site.run("config", "plan", "--json").json
        said = {one["setting"][-1]: one["verdict"] for one in found if one["setting"]}
        assert said["NOTES_COLOUR"] == "carried"
        assert said.get("LimitNOFILE") == ("out-of-scope" if there else None)
        site.run("rehearse")
        site.run("cutover", "--yes")
        new = site.containers()[Side.NEW]
        printed = engine.docker("exec", new, "printenv", "NOTES_COLOUR", "NOTES_POOL")
        assert printed.split() == [colour, "5"]
