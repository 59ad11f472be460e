"""Trouble with containers at the command line: four sentences, and the old side serves.

One rehearsed site is shared; each test leaves it with the old side serving."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest
from tests.testbed import WHOLE
from tests.testbed.contained import ContainedSite, contained_site_at
from tests.testbed.engine import LABEL, Engine
from tests.testbed.moments import Moments
from tests.testbed.site import Result, eventually
from tests.trouble.test_at_machines import IN_PAUSE, instead, loaded, rehearsed, told

from crossfade.model import Side

STARTING = "cutover.sync.start.before-act"


@pytest.fixture(scope="module")
def whole_site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainedSite]:
    """A site whose new version has few seconds to become healthy."""
    place = tmp_path_factory.mktemp("trouble") / "site"
    with contained_site_at(place, engine, notes=20, uploads=2) as made:
        text = made.recipe.read_text(encoding="utf-8")
        quick = text.replace("start_timeout: 20", "start_timeout: 10")
        made.recipe.write_text(quick, encoding="utf-8")
        made.run("rehearse")
        yield made


@pytest.fixture
def site(whole_site: ContainedSite) -> Iterator[ContainedSite]:
    """That site, as it was said in the beginning, with the old side serving before and after; and
    nothing else stays at the engine."""
    whole_site.write_manifest()
    before = standing(whole_site)
    yield whole_site
    assert whole_site.version() == "1.0"
    assert standing(whole_site) == before
    assert whole_site.run("doctor", "--json").json["left"] == []


def standing(site: ContainedSite) -> set[str]:
    """What the engine has of the site."""
    docker = site.engine.docker
    names = docker("ps", "--all", "--format", "{{.Names}}").split()
    names += docker("volume", "ls", "--format", "{{.Name}}").split()
    return {name for name in names if site.name in name}


def disturbed(site: ContainedSite, point: str, deed: Callable[[], object]) -> Result:
    """A cutover with something done at a moment of it, in which nobody's request fails."""
    rehearsed(site)
    with loaded(site), Moments(site.directory, {point: deed}) as moments:
        result = site.run("cutover", "--yes", env=moments.environment, ok=False)
        assert site.version() == "1.0"
    return result


def test_image_missing(site: ContainedSite) -> None:
    """An image that the engine does not have is told before anything is done, also when it was
    there for the rehearsal."""
    image, gone = site.images["2.0"], f"notes:gone-{os.getpid()}"
    with instead(site.manifest, image, gone):
        for verb in ("plan", "rehearse"):
            told(site.run(verb, ok=False), "image-missing", 4, next="docker pull")
        site.engine.docker("tag", image, gone)
        try:
            site.run("rehearse")
        finally:
            site.engine.docker("rmi", gone)
        told(site.run("cutover", "--yes", ok=False), "image-missing", 4, next="docker pull")
    site.run("rehearse")


@pytest.mark.whole
def test_engine_missing(site: ContainedSite) -> None:
    """Without an engine there is nothing to begin with."""
    with instead(site.manifest, str(site.engine.socket), "/run/no-such.sock"):
        for verb in ("plan", "rehearse", "doctor"):
            told(site.run(verb, ok=False), "engine-unreachable", 4)


@pytest.mark.parametrize(
    ("broken", "code"), [("start", "service-died"), *([("500", "not-healthy")] if WHOLE else [])]
)
def test_container_that_does_not_live(site: ContainedSite, broken: str, code: str) -> None:
    """A container that dies at once, or runs and answers 500, is found by rehearsing."""
    site.write_manifest(broken=broken)
    with loaded(site):
        result = site.run("rehearse", ok=False)
        told(result, code, 5)
    if broken == "start":
        assert "broken on purpose" in result.err, "its last words"
    told(site.run("cutover", "--yes", ok=False), "not-rehearsed", 4)


@pytest.mark.whole
def test_container_dies_in_the_pause(site: ContainedSite) -> None:
    """Somebody kills it as soon as it runs: the old container serves again."""
    new = ("inspect", "--format", "{{.State.Running}}", site.containers()[Side.NEW])
    docker = site.engine.docker

    def kill() -> None:
        eventually(lambda: docker(*new) == "true\n")
        docker("kill", new[-1])

    result = disturbed(site, STARTING, kill)
    told(result, "service-died", 5)


@pytest.mark.whole
def test_port_of_another_container(site: ContainedSite) -> None:
    """Who has the port is told before anything is done; who takes it in the pause does no harm."""
    rehearsed(site)
    for verb, address in (("rehearse", site.rehearsal), ("cutover", site.new)):
        with _another(site, address.port) as name:
            yes = ("--yes",) if verb == "cutover" else ()
            result = site.run(verb, *yes, ok=False)
            told(result, "port-taken", 4, next="edit crossfade.yaml")
            assert name in result.err
    with contextlib.ExitStack() as stack:
        deed = lambda: stack.enter_context(_another(site, site.new.port))  # noqa: E731
        result = disturbed(site, IN_PAUSE, deed)
    told(result, "service-does-not-start", 5)
    assert str(site.new.port) in result.err


@contextlib.contextmanager
def _another(site: ContainedSite, port: int) -> Iterator[str]:
    """A container of somebody else's that has the port."""
    name = f"another-{os.getpid()}"
    docker = site.engine.docker
    docker(
        *("run", "--detach", "--rm", "--name", name, "--label", LABEL),
        *("--publish", f"127.0.0.1:{port}:80", "--entrypoint", "sleep"),
        *(site.images["1.0"], "600"),
    )
    try:
        yield name
    finally:
        docker("rm", "--force", name)
