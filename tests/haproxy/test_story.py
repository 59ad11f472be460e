"""The whole story with HAProxy in front: install, rehearse, cut over, go back, again, retire."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.haproxy.scratch import Proxy
from tests.testbed.client import Client
from tests.testbed.site import Site, eventually

from crossfade.model import Side

Fronted = tuple[Site, Proxy]


@pytest.fixture
def fronted(tmp_path: Path) -> Iterator[Fronted]:
    """The Notes application behind a HAProxy, without Crossfade's part."""
    site = Site(tmp_path / "site")
    proxy = Proxy(tmp_path, site.old, listen=site.gate)
    plain = site.manifest.read_text()
    traffic = {
        "driver": "haproxy",
        "listen": str(site.gate),
        "backend": "notes",
        "config": str(proxy.config),
        "socket": str(proxy.socket),
        "place": str(proxy.place),
        "reload": ["sh", "-c", f"kill -USR2 {proxy.process.pid}"],
    }
    text = plain.replace(f"{{listen: '{site.gate}'}}", json.dumps(traffic))
    assert text != plain
    site.manifest.write_text(text)
    try:
        old = site.wired().side(site.wired().manifest.old, Side.OLD)
        old.service.start()
        eventually(lambda: old.health.run().holds)
        yield site, proxy
    finally:
        site.manifest.write_text(plain)  # the site ends a gate of its own, but no HAProxy
        site.close()
        proxy.close()


def test_killed_in_the_hold(fronted: Fronted) -> None:
    """A cutover that is killed before its commit: the old side serves again by itself; after it:
    the new one.  No request fails, no write is lost."""
    site, proxy = fronted
    site.run("gate", "install", "--yes")
    site.run("rehearse")
    for point, serves in (
        ("cutover.stop.fence.after-act", "1.0"),
        ("cutover.switch.commit.after-act", "2.0"),
    ):
        with Client(site.gate, name=point) as client:
            killed = site.run("cutover", "--yes", env={"CROSSFADE_CRASH_AT": point}, ok=False)
            assert killed.code == -signal.SIGKILL, killed.err
            began = time.monotonic()
            assert site.version() == serves  # a request that waits, and is then answered
            assert time.monotonic() - began < 20
            state = proxy.traffic.look()
            assert state is not None
            assert (state.held, state.served_after_drain) == (False, 0)
            time.sleep(0.5)
        assert client.failures == [], point
        assert client.lost(site.gate) == set(), point
    site.run("cutover", "--yes")  # what is left to be done after the commit
    assert site.run("status", "--json").json["outcome"] == "done"
    assert site.version() == "2.0"


def test_restarted_in_the_hold(fronted: Fronted) -> None:
    """HAProxy dies and comes back in the middle of a cutover: it holds again, and one side serves
    in the end, with every acknowledged write; what its clients had open with it is broken."""
    site, proxy = fronted
    here, back = site.directory / "in-the-hold", site.directory / "back"
    wait = f"[ $1 = rehearsal ] || {{ : >{here}; while [ ! -e {back} ]; do sleep 0.05; done; }}"
    site.manifest.write_text(site.manifest.read_text() + site.check(wait))
    site.run("gate", "install", "--yes")
    site.run("rehearse")
    with Client(site.gate) as client:
        eventually(lambda: len(client.acknowledged) > 20)
        cutover = site.popen("cutover", "--yes")
        eventually(here.exists, timeout=60)
        proxy.kill()
        proxy.start()
        state = proxy.traffic.look()
        assert state is not None
        assert state.held
        back.touch()
        _, err = cutover.communicate(timeout=120)
        serves = {0: "2.0", 5: "1.0"}[cutover.returncode]
        if cutover.returncode:
            for sentence in ("  now:  ", "  next: "):
                assert sentence in err, err
        assert site.version() == serves
        count = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > count + 20)
    assert client.lost(site.gate) == set()
    state = proxy.traffic.look()
    assert state is not None
    assert (state.held, state.served_after_drain) == (False, 0)


def test_trouble_is_told_in_four_sentences(fronted: Fronted) -> None:
    """A configuration that does not parse or names another address, a reload that is refused, a
    HAProxy that is gone: what, where, now and next; and the old side serves."""
    site, proxy = fronted
    text = site.manifest.read_text()

    def told(code: str, status: int, *words: str) -> None:
        result = site.run(*words, ok=False)
        assert (result.code, f"error: {code}\n" in result.err) == (status, True), result.err
        for sentence in ("  now:  ", "  next: "):
            assert sentence in result.err, result.err

    for old, new, code in (
        ("option forwardfor", "option nonsense", "haproxy-config-invalid"),
        (f"server app {site.old}", "server app 127.0.0.9:1", "haproxy-old-side-missing"),
    ):
        changed = proxy.original.replace(old, new)
        proxy.config.write_text(changed)
        told(code, 4, "gate", "install", "--yes")
        assert proxy.config.read_text() == changed
    proxy.config.write_text(proxy.original)
    site.manifest.write_text(text.replace("kill -USR2", "false"))
    told("haproxy-reload-refused", 5, "gate", "install", "--yes")
    site.manifest.write_text(text)
    assert proxy.config.read_text() == proxy.original
    told("gate-not-running", 4, "gate", "remove", "--yes")
    assert site.version() == "1.0"
    site.run("gate", "install", "--yes")
    told("gate-not-ours", 4, "gate", "stop", "--yes")
    proxy.kill()
    told("gate-not-running", 4, "cutover", "--yes")
    proxy.start()
    assert site.version() == "1.0"


def test_forward_back_and_forward_again(fronted: Fronted) -> None:
    """Nothing fails and nothing is lost; after going back the configuration is as before to the
    byte, after retiring it differs in the address alone."""
    site, proxy = fronted
    refused = site.run("cutover", "--yes", ok=False)
    assert refused.code == 4, refused.err
    assert "gate-not-running" in refused.err
    preview = site.run("gate", "install", "--dry-run").out
    assert "+    http-request lua.crossfade.notes" in preview
    assert proxy.config.read_text() == proxy.original
    unsaid = site.run("gate", "install", "--no-input", ok=False)
    assert "crossfade gate install --yes" in unsaid.err
    with Client(site.gate) as client:
        assert "\ntotal " in site.run("gate", "install", "--yes").out
        assert site.version() == "1.0"
        site.run("rehearse")
        first = site.run("cutover", "--yes", "--json").json
        assert (first["outcome"], first["live"], site.version()) == ("done", "new", "2.0")
        gate = site.run("gate", "status", "--json").json
        assert (gate["served_after_drain"], gate["failed"], gate["held"]) == (0, 0, False)
    assert client.failures == []
    assert client.lost(site.gate) == set()
    status = site.run("status", "--json").json
    assert "writes" in status["going_back"]
    assert site.run("rollback", "--yes", ok=False).code == 4
    back = site.run("rollback", "--yes", "--accept-loss", "--json").json
    assert (back["outcome"], back["live"], site.version()) == ("rolled-back", "old", "1.0")
    site.run("gate", "remove", "--yes")
    assert proxy.config.read_text() == proxy.original
    assert site.version() == "1.0"
    site.run("gate", "install", "--yes")
    with Client(site.gate, name="second") as client:
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
        retired = site.run("retire", "--yes", "--json").json
        assert (retired["outcome"], retired["live"]) == ("retired", "new")
        eventually(lambda: len(client.acknowledged) > 20)
    assert client.failures == []
    assert client.lost(site.gate) == set()
    expected = proxy.original.replace(str(site.old), str(site.new))
    assert proxy.config.read_text() == expected
    assert site.version() == "2.0"
