"""Killed between any two acts on a web server: what runs next ends right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fronts.test_story import behind
from tests.testbed import WHOLE
from tests.testbed.fronts import web_server
from tests.testbed.site import Site

POINTS = ["front-files.after-act"]
if WHOLE:
    POINTS += ["front-files.before-act", "front-reload.before-act", "front-reload.after-act"]


def killed(site: Site, point: str, *words: str) -> None:
    """A command that dies at this point."""
    result = site.run(*words, "--yes", env={"CROSSFADE_CRASH_AT": point}, ok=False)
    assert result.code == -9, (point, result.code, result.out, result.err)


def test_by_hand(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """``gate install`` and ``gate remove`` killed anywhere: the next completes, or takes back."""
    site = make_site()
    with web_server("nginx", tmp_path / "nginx", site.old) as server:
        behind(site, server)
        before = server.bytes()

        def through() -> bool:
            total = site.wired().traffic.look()
            site.version(server.address)
            now = site.wired().traffic.look()
            assert total is not None
            assert now is not None
            return now.total > total.total

        for point in POINTS:
            killed(site, f"cutover.gate-install.{point}", "gate", "install")
            assert site.version(server.address) == "1.0"
            site.run("gate", "install", "--yes")
            assert through()
            killed(site, f"cutover.gate-remove.{point}", "gate", "remove")
            assert site.version(server.address) == "1.0"
            site.run("gate", "remove", "--yes")
            assert server.bytes() == before
            assert not through()
            killed(site, f"cutover.gate-install.{point}", "gate", "install")
            site.run("gate", "remove", "--yes")
            assert server.bytes() == before
            assert not through()


@pytest.mark.parametrize(
    "point",
    ["front-files.after-act", pytest.param("front-reload.after-act", marks=pytest.mark.whole)],
)
def test_in_an_upgrade(make_site: Callable[..., Site], tmp_path: Path, point: str) -> None:
    """Cutover, rollback and retire killed beside the web server, and run again."""
    site = make_site()
    with web_server("nginx", tmp_path / "nginx", site.old) as server:
        behind(site, server)
        before = server.bytes()
        site.run("rehearse")
        killed(site, f"cutover.stop.{point}", "cutover")
        assert site.version(server.address) == "1.0"
        site.run("doctor", "--fix")
        assert server.bytes() == before, "settling takes out what the attempt has inserted"
        site.run("cutover", "--yes")
        assert site.version(server.address) == "2.0"
        inside = server.site.read_text()
        assert str(site.gate) in inside
        killed(site, f"rollback.hand-back.{point}", "rollback", "--accept-loss")
        assert site.version(server.address) == "1.0"
        site.run("rollback", "--yes", "--accept-loss")
        assert server.bytes() == before
        site.run("rehearse")
        site.run("cutover", "--yes")
        refused = site.run("gate", "remove", "--yes", ok=False)
        assert (refused.code, "gate-needed" in refused.err) == (4, True)
        killed(site, f"retire.retire.{point}", "retire")
        assert site.version(server.address) == "2.0"
        site.run("retire", "--yes")
        assert server.site.read_text() == inside.replace(str(site.gate), str(site.new))
        assert site.version(server.address) == "2.0"
