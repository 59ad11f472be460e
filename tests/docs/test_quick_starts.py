"""The quick starts: each manifest and its commands, as they stand on the page, are run for real."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.pages import DOCS, section
from tests.testbed import WHOLE
from tests.testbed.composed import composed_site_at
from tests.testbed.contained import contained_site_at
from tests.testbed.engine import Engine
from tests.testbed.far import FarSite, far_site_at
from tests.testbed.machines import Machine

PAGE = (DOCS / "how-to" / "quick-starts.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OWN = {"root", "data", "address", "listen", "application", "ssh", "docker", "image", "compose"}
"""What has other names on the test's machines than on the page: these values are the site's."""
_MORE = {"state", "limits", "config", "socket"}
"""What the test adds: its engine's socket, its ssh settings, and shorter waits."""

Machines = tuple[Machine, Machine]
Opens = Callable[[Path, Engine, Machines], Any]
HEADINGS: dict[str, Opens] = {
    "From this machine to another one": lambda at, _, two: far_site_at(at, None, two[1]),
    "From one machine to another": lambda at, _, two: far_site_at(at, *two),
    "From a container to a container": lambda at, engine, _: contained_site_at(at, engine),
    "From a Compose project to a second one": lambda at, engine, _: composed_site_at(at, engine),
    "From a machine into a container": lambda at, engine, two: contained_site_at(
        at, engine, two[0]
    ),
}
_ALWAYS = ["From a Compose project to a second one"]


def placed(page: Any, site: Any) -> Any:
    """The page's manifest with the site's own places; what else it says is the page's."""
    if not isinstance(page, dict):
        return page
    made = {}
    for key, value in page.items():
        if key in _OWN:
            assert key in site, f"the site has no {key}"
            made[key] = site[key]
        else:
            made[key] = placed(value, site.get(key, {}))
    return made | {key: site[key] for key in _MORE if key in site}


def commands(text: str) -> list[list[str]]:
    """What stands after the prompts."""
    return [line.split()[2:] for line in text.splitlines() if line.startswith("$ crossfade ")]


@pytest.fixture(params=list(HEADINGS) if WHOLE else _ALWAYS)
def quick_start(
    request: pytest.FixtureRequest, engine: Engine, machines: Machines, tmp_path: Path
) -> Iterator[tuple[FarSite, str]]:
    """A section of the page, and a site that is as it says."""
    opens = HEADINGS[request.param]
    with ExitStack() as stack:
        site = stack.enter_context(opens(tmp_path / "site", engine, machines))
        yield site, section(PAGE, request.param)


def test_every_section_is_known() -> None:
    """No section is left untried by being added."""
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == list(HEADINGS)


def test_quick_start(quick_start: tuple[FarSite, str]) -> None:
    """Planned, rehearsed, cut over and taken back, as the page has it."""
    site, text = quick_start
    (_, manifest), (_, shown) = _FENCE.findall(text)
    written = placed(yaml.safe_load(manifest), yaml.safe_load(site.manifest.read_text()))
    site.manifest.write_text(yaml.safe_dump(written), encoding="utf-8")
    words = commands(shown)
    assert [verb for verb, *_ in words] == ["plan", "rehearse", "cutover", "rollback"]
    for verb, *more in words:
        asked = {"cutover": ["--yes"], "rollback": ["--yes", "--accept-loss"]}.get(verb, [])
        site.run(verb, *more, *asked)
        assert site.version() == ("2.0" if verb == "cutover" else "1.0")
