"""Each kind of trouble with names, provoked for real, with its four sentences."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.dns.site import NAMES, NEW, OLD, Named, explained, named_site
from tests.testbed.nameservers import Bind, Knot, PowerDns, Server, zone_text
from tests.testbed.site import eventually


def untouched(named: Named) -> None:
    """The old side serves and the names are as before."""
    named.all_say(*OLD)
    assert named.site.version() == "1.0"
    assert named.status()["names"]["lead_to"] == "old"


def test_wrong_key_changed_record_read_only_zone(tmp_path: Path) -> None:
    """Each is found by planning, and refused before anything is changed."""
    with named_site(tmp_path) as named:
        site = named.site
        site.run("rehearse")
        key = (site.directory / "key").read_text()
        (site.directory / "key").write_text(Bind(tmp_path, "", 0).key)
        told = explained(site.run("cutover", "--yes", ok=False), "dns-key-refused", 4)
        assert key.strip() not in told
        (site.directory / "key").write_text("not base64\n")
        explained(site.run("cutover", "--yes", ok=False), "dns-key-refused", 4)
        (site.directory / "key").unlink()
        explained(site.run("cutover", "--yes", ok=False), "secret-missing", 4)
        (site.directory / "key").write_text(key)
        untouched(named)

        other = [{**NAMES[0], "old": "192.0.2.99"}, *NAMES[1:]]
        named.write(names=other)
        told = explained(site.run("cutover", "--yes", ok=False), "dns-record-changed", 4)
        assert "192.0.2.10, not 192.0.2.99" in told
        named.write(names=NAMES)
        untouched(named)

        named.servers[0].stop()
        named.servers[0].open = False
        named.servers[0].start()
        told = explained(site.run("cutover", "--yes", ok=False), "dns-read-only", 4)
        assert "REFUSED" in told
        untouched(named)


@pytest.mark.parametrize(
    "kinds", [pytest.param((Bind, Knot), marks=pytest.mark.whole), (PowerDns, Bind)]
)
def test_ttl_of_a_day(tmp_path: Path, kinds: tuple[type[Server], type[Server]]) -> None:
    """Refused with the time, before and after lowering; the operator may accept it, by name."""
    with named_site(tmp_path, kinds, ttl=86400) as named:
        site = named.site
        site.run("rehearse")
        told = explained(site.run("cutover", "--yes", ok=False), "dns-ttl-long", 4)
        assert "its TTL is 1 day" in told
        lowered = time.time()
        out = site.run("dns", "lower", "--yes").out
        assert "caches may have the old TTL until" in out
        until = named.status()["names"]["old_ttl_until"]
        assert lowered + 86400 <= until <= time.time() + 86400
        told = explained(site.run("cutover", "--yes", ok=False), "dns-ttl-not-out", 4)
        assert time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(until)) in told
        untouched(named)
        site.run("cutover", "--yes", "--accept-ttl", "--no-wait")
        named.all_say(*NEW)
        began = [e["payload"] for e in site.wired().journal.entries(kind="run-began")]
        assert began[-1]["accepted"] == ["accept-ttl"]  # type: ignore[index]
        with site.popen("dns", "wait", "--yes") as waiting:
            eventually(lambda: named.status()["names"]["published"])
            assert named.status()["names"]["cached_until"] == until, "the old TTL still counts"
            waiting.terminate()
            assert waiting.wait(30) == 130
        explained(site.run("retire", "--yes", ok=False), "dns-not-followed", 4)


def test_one_of_three_servers_is_stuck(tmp_path: Path) -> None:
    """It is named with its serial; everybody is served; and when it follows, so does the wait."""
    with named_site(tmp_path, (Bind, Knot, Knot), patience=3) as named:
        site, stuck = named.site, named.servers[2]
        site.run("rehearse")
        stuck.stop()
        primary = stuck.primary
        stuck.primary, stuck.text = "", zone_text([s.host for s in named.servers], ttl=2)
        (stuck.directory / "zone").unlink(missing_ok=True)
        stuck.start()
        told = explained(site.run("cutover", "--yes", ok=False), "dns-server-behind", 3)
        assert "1 of 3 name servers" in told
        assert f"{stuck.host}" in told
        assert "192.0.2.10 (TTL 2 s), serial 1" in told
        assert "next: crossfade dns wait" in told
        assert site.version() == "2.0"
        status = named.status()
        assert (status["outcome"], status["next"]) == ("done", "crossfade dns wait")
        explained(site.run("retire", "--yes", ok=False), "dns-not-followed", 4)
        explained(site.run("dns", "wait", "--yes", ok=False), "dns-server-behind", 3)
        stuck.stop()
        told = explained(site.run("dns", "wait", "--yes", ok=False), "dns-server-behind", 3)
        assert "does not answer" in told
        stuck.primary = primary
        (stuck.directory / "zone").unlink()
        stuck.start()
        site.run("dns", "wait", "--yes")
        named.all_say(*NEW)
        assert named.status()["next"] == "crossfade retire"


class _Api(BaseHTTPRequestHandler):
    """Passes on to the real API, until enough was changed."""

    server: _Front

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Pass it on."""
        self._pass()

    def do_PATCH(self) -> None:
        """Pass it on if it may be."""
        if self.server.left == 0:
            self.server.down = True
        self.server.left -= 1
        self._pass()

    def _pass(self) -> None:
        if self.server.down:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        url = urlsplit(self.server.api)
        connection = HTTPConnection(url.hostname or "", url.port, timeout=10)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {"X-API-Key": self.headers["X-API-Key"]}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Front(ThreadingHTTPServer):
    """Stands before PowerDNS's API and goes down when ``left`` changes were made."""

    def __init__(self, api: str) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.api, self.left, self.down = api, 10**6, False

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was broken off on purpose."""


@contextmanager
def front(api: str) -> Iterator[_Front]:
    """In front of an API, in a thread."""
    server = _Front(api)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        with suppress(OSError):
            server.server_close()


def test_api_down_in_the_middle_of_the_switch(tmp_path: Path) -> None:
    """One of three names is switched.  The new side serves everybody, whichever address they have;
    nothing goes back; and later the rest is switched.  The same on the way back."""
    with named_site(tmp_path, (PowerDns, Bind)) as named, front(named.dns["api"]) as api:
        site = named.site
        named.write(api=f"http://127.0.0.1:{api.server_address[1]}")
        site.run("rehearse")
        api.left = 1
        told = explained(site.run("cutover", "--yes", ok=False), "dns-unreachable", 3)
        assert "The new side (2.0) serves" in told
        assert "next: crossfade dns switch" in told
        eventually(lambda: (r := named.says(1)) and r.values == (NEW[0],))
        assert (r := named.says(1, "app", "CNAME"))
        assert r.values == (OLD[2],)
        assert site.version() == "2.0"
        status = named.status()
        assert (status["outcome"], status["next"]) == ("done", "crossfade dns switch")
        assert status["names"] | {"lead_to": "new", "complete": False} == status["names"]
        explained(site.run("retire", "--yes", ok=False), "dns-half-switched", 4)
        explained(site.run("dns", "switch", "--yes", ok=False), "dns-unreachable", 3)
        explained(site.run("dns", "wait", "--yes", ok=False), "dns-half-switched", 3)

        api.down, api.left = False, 10**6
        site.run("dns", "switch", "--yes")
        site.run("dns", "wait", "--yes")
        named.all_say(*NEW)

        api.left = 1
        told = explained(
            site.run("rollback", "--yes", "--accept-loss", ok=False), "dns-unreachable", 5
        )
        assert "next: crossfade rollback --without-dns" in told
        assert site.version() == "2.0"
        site.run("rollback", "--yes", "--accept-loss", "--without-dns")
        assert site.version() == "1.0"
        assert named.status()["next"] == "crossfade dns switch"
        api.down, api.left = False, 10**6
        site.run("dns", "switch", "--yes")
        site.run("dns", "wait", "--yes")
        named.all_say(*OLD)


def test_no_names_and_no_lexicon(tmp_path: Path) -> None:
    """Verbs about names say so when there are none; a provider that is not there is told."""
    with named_site(tmp_path) as named:
        named.write(driver="lexicon", provider="no_such_provider", options={})
        for key in ("server", "key"):
            named.dns.pop(key)
        named.write()
        told = explained(
            named.site.run("dns", "lower", "--yes", ok=False), "dns-lexicon-missing", 2
        )
        assert "no_such_provider" in told
        named.site.write_manifest()
        explained(named.site.run("dns", "status", ok=False), "dns-not-told", 2)
