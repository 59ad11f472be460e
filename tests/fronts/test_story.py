"""An upgrade behind a web server: its configuration is led to the gate and past it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.fronts import KINDS, WebServer, beyond_reloads, web_server
from tests.testbed.site import Site

Make = Callable[..., Site]


def behind(site: Site, server: WebServer) -> None:
    """Say in the manifest which web server stands before the gate."""
    text = site.manifest.read_text("utf-8")
    traffic = f"traffic: {{listen: '{site.gate}'"
    assert traffic in text
    site.manifest.write_text(text.replace(traffic, f"{traffic}, front: {server.manifest}"), "utf-8")


@pytest.mark.parametrize("kind", KINDS if WHOLE else KINDS[:1])
def test_there_and_back_and_there(make_site: Make, tmp_path: Path, kind: str) -> None:
    """Rehearse, cut over, roll back: byte for byte as before.  Cut over, retire: the new side's
    address alone differs.  A client at the web server sees none of it."""
    site = make_site()
    with web_server(kind, tmp_path / kind, site.old) as server:
        behind(site, server)
        before, text = server.bytes(), server.site.read_text("utf-8")
        with Client(server.address, stays_behind=True, drops_closed=True) as client:
            site.run("rehearse")
            assert server.bytes() == before
            plan = site.run("plan").out
            assert f"{server.site}:" in plan
            assert "names the gate" in plan
            site.run("cutover", "--yes")
            inside = server.site.read_text("utf-8")
            assert str(site.gate) in inside
            assert str(site.old) not in inside.replace(f"# {site.old}", "").replace(
                f"/gone$ http://{site.old}", ""
            )
            assert site.version(server.address) == "2.0"
            site.run("rollback", "--yes", "--accept-loss")
            assert server.bytes() == before
            assert site.version(server.address) == "1.0"
        with Client(server.address, name="second", drops_closed=True) as second:
            site.run("rehearse")
            site.run("cutover", "--yes")
            assert server.site.read_text("utf-8") == inside
            site.run("retire", "--yes")
        expected = inside.replace(str(site.gate), str(site.new))
        assert server.site.read_text("utf-8") == expected
        assert len(expected.splitlines()) == len(text.splitlines())
        site.run("gate", "stop", "--yes", ok=False)
        assert site.version(server.address) == "2.0"
        failures = client.failures + second.failures
        assert beyond_reloads(failures, kind, reloads=4) == []
        assert second.lost(server.address) == set()


def test_led_by_hand(make_site: Make, tmp_path: Path) -> None:
    """What the operator has led to the gate stays there through a cutover and a rollback, so the
    server is not reloaded and nobody's request fails; by hand it comes out again, to the byte."""
    site = make_site()
    with web_server("apache", tmp_path / "apache", site.old) as server:
        behind(site, server)
        before = server.bytes()
        site.run("gate", "start", "--yes")
        site.run("gate", "install", "--yes")
        inside = server.bytes()
        assert inside != before
        with Client(server.address, stays_behind=True, drops_closed=True) as client:
            site.run("rehearse")
            site.run("cutover", "--yes")
            assert site.version(server.address) == "2.0"
            site.run("rollback", "--yes", "--accept-loss")
            assert site.version(server.address) == "1.0"
        assert client.failures == []
        assert server.bytes() == inside
        assert server.log().count("Doing graceful restart") == 1
        site.run("gate", "remove", "--yes")
        assert server.bytes() == before
        assert site.version(server.address) == "1.0"
