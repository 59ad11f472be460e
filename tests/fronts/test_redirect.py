"""No web server: the kernel leads users from the application's own port to the gate."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.fronts.place import On
from tests.gateway.scratch import App, GateProcess, receive_until, until
from tests.gateway.test_tls import words
from tests.testbed.certificates import Pair, pair
from tests.testbed.client import Client
from tests.testbed.network import outside, own_network, ruleset
from tests.testbed.site import Site

from crossfade.drivers.fronts._kept import Watched
from crossfade.drivers.fronts.redirect import RedirectFront
from crossfade.drivers.fronts.way import Way
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.sockdiag import Connection, connected, end
from crossfade.engine.front_notes import FrontNotes
from crossfade.engine.journal import SqliteJournal
from crossfade.errors import Failed
from crossfade.manifest import FrontSpec
from crossfade.model import Address, Side

OTHERS = """table ip theirs {
  chain in { type filter hook input priority 0; policy accept; tcp dport 9 drop; }
  chain nat { type nat hook prerouting priority -100; tcp dport 9 redirect to :10; }
}
"""
RATE = 100
ANYWHERE = "0.0.0.0"


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """Each test has its own, with somebody's rules in it."""
    with own_network():
        subprocess.run(("nft", "-f", "-"), input=OTHERS, text=True, check=True)
        yield


class Place:
    """An application at every address, its gate, and the driver; with ``own`` all by TLS."""

    def __init__(self, directory: Path, opened: ExitStack, own: Pair | None = None) -> None:
        self.own = own
        self.old = opened.enter_context(App("old", host=ANYWHERE))
        self.new = opened.enter_context(App("new", host=ANYWHERE))
        addresses, more = (self.old.address, self.new.address), list[str]()
        if own:
            self.old.secure(own.certificate, own.key)
            more = words(own, *Side)
        self.gate = GateProcess(directory, *addresses, host=ANYWHERE, more=more)
        opened.callback(self.gate.close)
        self.public = Address("127.0.0.5", self.old.address.port)
        self.journal = SqliteJournal(directory / "journal.db", "one")
        opened.callback(self.journal.close)
        self.on = On()
        self.directory = directory

    def front(self) -> RedirectFront:
        """As a new process of ours would make it."""
        everywhere = Address(ANYWHERE, self.public.port)
        scheme = "https" if self.own else "http"
        url = f"{scheme}://{self.public}/health"
        way = Way(
            {Side.OLD: self.old.address, Side.NEW: self.new.address},
            Address("127.0.0.1", self.gate.listen.port),
            self.gate.driver.expect,
            (scheme, scheme),
            farewell=self.gate.driver.farewell,
        )
        file = Path(str(everywhere))
        spec = FrontSpec("redirect", file, url, public=everywhere)
        notes = FrontNotes(self.journal, file)
        return RedirectFront(spec, way, LocalHost(), self.directory / "front", notes)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """All of it, running."""
    with ExitStack() as opened:
        yield Place(tmp_path, opened)


def total(place: Place) -> int:
    """How many requests came to the gate."""
    return int(place.gate.status()["total"])


def post(at: HTTPConnection, path: str) -> bytes:
    """A request on a connection that is kept; the answer."""
    at.request("POST", path, b"x")
    return at.getresponse().read()


def test_in_and_out(place: Place) -> None:
    """New connections of everybody go through the gate, those from before are ended between two
    requests; out again none is broken, and the ruleset is what it was."""
    before, public = ruleset(), place.public
    connections = [HTTPConnection(host, public.port, timeout=10) for host in ("127.0.0.5",) * 2]
    kept, mine = connections
    with ExitStack() as opened:
        for connection in connections:
            opened.callback(connection.close)
        post(kept, "/kept?sleep=0.05")
        findings = place.front().insert(place.on, "cutover-1")
        assert all(finding.holds for finding in findings), findings
        assert "1 were ended" in findings[1].observed
        assert place.front().inserted_by() == "cutover-1"
        with pytest.raises(ConnectionResetError):
            kept.sock.recv(1)
        seen = total(place)
        post(mine, "/mine")
        assert total(place) == seen + 1
        there = opened.enter_context(outside())
        curl = ("curl", "-sS", "-d", "x", f"http://{there.here}:{public.port}/theirs")
        there.run(*curl)
        assert total(place) == seen + 2
        direct = HTTPConnection(place.old.address.host, public.port, timeout=10)
        opened.callback(direct.close)
        post(direct, "/past")
        assert total(place) == seen + 2, "the side's own address leads to the side"
        assert place.front().plan().difference == ""
        findings = place.front().take_out(place.on, Side.OLD)
        assert all(finding.holds for finding in findings), findings
        there.run(*curl)
        assert ruleset() == before
        assert place.front().inserted_by() == ""


def test_new_side_at_the_same_port(place: Place) -> None:
    """At retire the redirect goes if the new side listens at the public address, and else stays."""
    before, public = ruleset(), place.public
    place.front().insert(place.on, "cutover-1")
    place.gate.hold()
    place.gate.driver.drain(10)
    place.gate.driver.switch(Side.NEW)
    place.gate.driver.release()
    place.old.close()
    with pytest.raises(Failed) as failed:
        place.front().take_out(place.on, Side.NEW)
    assert failed.value.code == "redirect-needed"
    assert "there is nobody" in failed.value.what
    assert "redirect to" in ruleset()
    with App("again", port=public.port, host=ANYWHERE) as again:
        findings = place.front().take_out(place.on, Side.NEW)
        assert all(finding.holds for finding in findings), findings
        assert ruleset() == before
        seen = len(again.seen)
        at = HTTPConnection(public.host, public.port, timeout=10)
        assert b'"again"' in post(at, "/x")
        at.close()
        assert len(again.seen) == seen + 1


def test_with_tls(tmp_path: Path) -> None:
    """The application has the port and TLS: both are at the gate meanwhile."""
    own = pair(tmp_path / "etc", name="localhost")
    with ExitStack() as opened:
        place = Place(tmp_path, opened, own)
        findings = place.front().insert(place.on, "cutover-1")
        assert all(finding.holds for finding in findings), findings
        with own_trust(own).wrap_socket(
            socket.create_connection((place.public.host, place.public.port), 10),
            server_hostname="localhost",
        ) as secure:
            seen = total(place)
            secure.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'"old"' in receive_until(secure, b"}")
            assert total(place) == seen + 1
        findings = place.front().take_out(place.on, Side.OLD)
        assert all(finding.holds for finding in findings), findings
        assert "crossfade" not in ruleset()


def own_trust(own: Pair) -> ssl.SSLContext:
    """A client that trusts this certificate."""
    return ssl.create_default_context(cafile=own.certificate)


@pytest.mark.whole
def test_under_load(place: Place) -> None:
    """From another machine, half on kept connections: led to the gate, held for 3 s, switched; no
    request fails, and the old side gets none after the drain."""
    gate, old, new = place.gate, place.old, place.new
    with outside() as there:
        words = (sys.executable, "-m", "tests.gateway.load", there.here, str(place.public.port))
        load = subprocess.Popen(
            there.command((*words, str(RATE), "60", "7")),
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            until(lambda: len(old.seen) > RATE, "the load has begun")
            findings = place.front().insert(place.on, "cutover-1")
            assert all(finding.holds for finding in findings), findings
            began = time.monotonic()
            gate.hold(lease=20.0, at_most=40.0)
            assert gate.driver.drain(20.0).in_flight == 0
            drained = time.monotonic()
            until(lambda: time.monotonic() - began > 3.0, "the pause has lasted")
            gate.driver.switch(Side.NEW)
            gate.driver.release()
            until(lambda: len(new.seen) > 3 * RATE, "the new side serves")
            load.terminate()
            out, _ = load.communicate(timeout=60)
        finally:
            load.kill()
            load.wait()
    result = json.loads(out)
    print(findings, result)  # noqa: T201
    assert result["failures"] == [], result
    assert [one for one in old.seen + old.finished if one[0] > drained] == []
    status = gate.status()
    assert (status["served_after_drain"], status["failed"], status["cut"]) == (0, 0, 0)


def behind(site: Site) -> Address:
    """The application listens at every address; users come to one of them, Crossfade to another.
    Returns where users come."""
    settings = site.data / "notes.yaml"
    text = settings.read_text()
    settings.write_text(text.replace(f"listen: {site.old}", f"listen: {ANYWHERE}:{site.old.port}"))
    public = Address("127.0.0.5", site.old.port)
    front = f"{{redirect: '127.0.0.5:{public.port}', url: 'http://{public}/health'}}"
    text = site.manifest.read_text()
    traffic = f"traffic: {{listen: '{site.gate}'"
    assert traffic in text
    site.manifest.write_text(text.replace(traffic, f"{traffic}, front: {front}"))
    return public


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, Address]]:
    """A site whose application has the public port itself."""
    site = Site(tmp_path / "site")
    public = behind(site)
    try:
        site.start()
        yield site, public
    finally:
        site.close()


def test_there_and_back(site: tuple[Site, Address]) -> None:
    """Rehearse, cut over, roll back: the ruleset as before, and a client that keeps its connections
    sees none of it."""
    it, public = site
    before = ruleset()
    with Client(public, stays_behind=True, drops_closed=True) as client:
        it.run("rehearse")
        assert ruleset() == before
        assert "table inet crossfade_" in it.run("plan").out
        it.run("cutover", "--yes")
        assert it.version(public) == "2.0"
        assert "redirect to" in ruleset()
        it.run("rollback", "--yes", "--accept-loss")
        assert it.version(public) == "1.0"
    it.run("gate", "remove", "--yes")
    assert ruleset() == before
    assert client.failures == []


@pytest.mark.whole
def test_to_the_end(site: tuple[Site, Address]) -> None:
    """Cut over, retire: the redirect stays, for the new side has another address, and the report
    says so."""
    it, public = site
    with Client(public, drops_closed=True) as client:
        it.run("rehearse")
        it.run("cutover", "--yes")
        told = it.run("retire", "--yes")
        assert "does not listen at" in told.out + told.err
        assert "crossfade gate remove" in told.out + told.err
    assert it.run("gate", "stop", "--yes", ok=False).code == 4
    assert it.version(public) == "2.0"
    assert client.failures == []
    assert client.lost(public) == set()


def test_what_rests() -> None:
    """Between two requests, and never while one is worked on or an answer may go on."""

    def seen(came: int, went: int, sent: float, received: float, pending: int = 0) -> Connection:
        here = ip_address("127.0.0.1")
        return Connection(here, 80, here, 81, pending, sent, received, came, went, 2, b"key")

    assert Watched.first(seen(0, 0, 1.0, 1.0)).rests(1.0), "nothing was ever asked"
    assert not Watched.first(seen(1, 0, 9.0, 9.0)).rests(1.0), "the first request is worked on"
    assert not Watched.first(seen(3, 2, 9.0, 9.0)).rests(1.0), "in one tick: nobody knows"
    assert Watched.first(seen(3, 3, 0.6, 0.9)).rests(1.0), "answered, and idle for long"
    one = Watched.first(seen(10, 10, 0.3, 0.9))
    for cycle in range(4):
        at = 1.0 + cycle * 0.05
        one.look(seen(11 + cycle, 10 + cycle, 0.04, 0.0), at)
        assert not one.rests(at + 0.02), "asked"
        one.look(seen(11 + cycle, 11 + cycle, 0.0, 0.01), at + 0.01)
    assert [one.rests(1.16 + rest) for rest in (0.002, 0.015, 0.03)] == [False, True, False]
    one.look(seen(14, 14, 0.015, 0.025, pending=3), 1.175)
    assert not one.rests(1.175), "the client has not received it"
    one.look(seen(16, 15, 0.0, 0.0), 1.2)
    assert not one.rests(1.21), "two segments and an answer: the second may be worked on"
    one.look(seen(16, 16, 0.0, 0.0), 1.25)
    one.look(seen(16, 17, 0.0, 0.05), 1.3)
    assert not one.rests(1.31), "answers in parts: there may be more to come"


def test_not_ended_when_more_came() -> None:
    """What came between the look and the end is not thrown away."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as opened:
        port = server.getsockname()[1]
        client = opened.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        served = opened.enter_context(server.accept()[0])

        def look() -> Connection:
            (seen,) = connected(port)
            return seen

        before = look()
        client.sendall(b"asked")
        assert not end(before)
        assert served.recv(9) == b"asked"
        assert end(look())
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert not end(before)


@pytest.mark.whole
def test_clients_that_never_rest(site: tuple[Site, Address]) -> None:
    """Who asks again at once stays on a connection past the gate until the old side stops: that
    breaks, once for each connection at most, and no acknowledged write is lost."""
    it, public = site
    with Client(public, pause=0.0, drops_closed=True) as client:
        it.run("rehearse")
        it.run("cutover", "--yes")
    assert len(client.failures) <= client.threads, client.failures
    assert client.lost(public) == set()
    print(client.requests, client.failures)  # noqa: T201
