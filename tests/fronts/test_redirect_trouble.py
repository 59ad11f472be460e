"""What is in the redirect's way, and being killed beside it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fronts.test_killed import POINTS, killed
from tests.fronts.test_redirect import behind
from tests.testbed.network import own_network, ruleset
from tests.testbed.site import Result, Site

from crossfade.model import Address

NO_RIGHT = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Address]]:
    """One site for all tests here, in a network of its own."""
    with own_network():
        site = Site(tmp_path_factory.mktemp("redirect") / "site")
        public = behind(site)
        try:
            site.start()
            yield site, public
        finally:
            site.close()


def refused(
    site: Site, public: Address, code: str, before: tuple[str, ...] = (), path: str = ""
) -> Result:
    """``gate install`` is refused with four sentences, and everything stays."""
    rules = ruleset()
    env = {"PATH": path} if path else None
    result = site.run("gate", "install", "--yes", ok=False, before=before, env=env)
    assert result.code == 4, (result.out, result.err)
    assert f"error: {code}" in result.err
    assert "The old side (1.0) serves" in result.err
    assert "  next: " in result.err
    assert ruleset() == rules
    assert site.version(public) == "1.0"
    return result


def test_what_is_in_its_way(running: tuple[Site, Address], tmp_path: Path) -> None:
    """No right, no nft, somebody else at the port, and rules that say no."""
    site, public = running
    result = refused(site, public, "redirect-refused", before=NO_RIGHT)
    assert "not permitted" in result.err
    plan = site.run("plan", ok=False, before=NO_RIGHT)
    assert "redirect-refused" in plan.out + plan.err
    bare = [d for d in os.environ["PATH"].split(":") if not (Path(d) / "nft").exists()]
    result = refused(site, public, "redirect-no-program", path=":".join(bare))
    assert "next: apt-get install nftables" in result.err
    text = site.manifest.read_text()
    with closing(socket.create_server(("127.0.0.7", 0))) as foreign:
        port = foreign.getsockname()[1]
        site.manifest.write_text(
            text.replace(f"redirect: '{public}", f"redirect: '127.0.0.7:{port}")
        )
        result = refused(site, public, "redirect-foreign")
        assert f"pid {os.getpid()}" in result.err
        assert str(site.old) in result.err
    site.manifest.write_text(text)


def test_killed(running: tuple[Site, Address]) -> None:
    """Killed beside the kernel's rules: the next command completes, or takes back."""
    site, public = running
    before = ruleset()
    for point in POINTS:
        killed(site, f"cutover.gate-install.{point}", "gate", "install")
        assert site.version(public) == "1.0"
        site.run("gate", "install", "--yes")
        assert "redirect to" in ruleset()
        killed(site, f"cutover.gate-remove.{point}", "gate", "remove")
        assert site.version(public) == "1.0"
        site.run("gate", "remove", "--yes")
        assert ruleset() == before
    site.run("rehearse")
    killed(site, f"cutover.stop.{POINTS[0]}", "cutover")
    assert site.version(public) == "1.0"
    site.run("doctor", "--fix")
    assert ruleset() == before, "settling takes out what the attempt has inserted"


def test_machine_started_again(running: tuple[Site, Address]) -> None:
    """What the kernel has forgotten is put back by ``gate start``."""
    site, public = running
    before = ruleset()
    site.run("gate", "install", "--yes")
    (name,) = {line.split()[2] for line in ruleset().splitlines() if "table inet crossf" in line}
    subprocess.run(("nft", "delete", "table", "inet", name), check=True)
    site.run("gate", "start", "--yes")
    assert "redirect to" in ruleset()
    site.run("gate", "remove", "--yes")
    assert ruleset() == before
    assert site.version(public) == "1.0"
