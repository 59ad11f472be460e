"""TLS at the gate: the application's own certificate, in front and behind."""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.scratch import PATIENCE, App, GateProcess, receive_until, silent, until
from tests.testbed.certificates import Pair, pair

from crossfade.drivers.checks.http import HttpCheck, HttpQuestion
from crossfade.drivers.traffic.gateway import GatewayTraffic
from crossfade.errors import Refused
from crossfade.manifest import TlsSpec
from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_port
from crossfade.testing.traffic import Front, TrafficContract

RATE = 200


def words(own: Pair, *sides: Side) -> list[str]:
    """How a gate is told."""
    told = ["--certificate", str(own.certificate), "--key", str(own.key)]
    return [*told, *(word for side in sides for word in ("--ask-by-tls", side.value))]


class Place:
    """A gate and two applications that all have one certificate."""

    def __init__(self, directory: Path, opened: ExitStack) -> None:
        self.own = pair(directory / "etc")
        self.old = opened.enter_context(App("old"))
        self.new = opened.enter_context(App("new"))
        for app in (self.old, self.new):
            app.secure(self.own.certificate, self.own.key)
        addresses = (self.old.address, self.new.address)
        more = words(self.own, *Side)
        self.gate = GateProcess(directory, *addresses, "patience_seconds=1", more=more)
        opened.callback(self.gate.close)

    def trusting(self, certificate: Path | None = None) -> ssl.SSLContext:
        """A client that trusts this certificate alone."""
        made = ssl.create_default_context(cafile=certificate or self.own.certificate)
        made.set_alpn_protocols(["h2", "http/1.1"])
        return made

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A connection, its certificate verified."""
        at = self.gate.listen
        plain = socket.create_connection((at.host, at.port), PATIENCE)
        return (context or self.trusting()).wrap_socket(plain, server_hostname="notes.example.org")

    def client(self) -> HTTPSConnection:
        """One that keeps its connection."""
        at = self.gate.listen
        made = HTTPSConnection(at.host, at.port, timeout=PATIENCE)
        made.sock = self.connect()
        return made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """All of it, running."""
    with ExitStack() as opened:
        yield Place(tmp_path, opened)


def ask(client: HTTPSConnection, path: str, body: bytes | None = None) -> dict[str, Any]:
    """One request."""
    client.request("POST" if body else "GET", path, body)
    answer = client.getresponse()
    data = answer.read()
    assert answer.status == 200, (answer.status, data)
    found: dict[str, Any] = json.loads(data)
    return found


def test_cutover(place: Place) -> None:
    """Requests are held, counted and switched on connections that clients keep; HTTP/1.1 is what
    is agreed on; WebSockets pass, and are cut at the switch."""
    gate = place.gate
    with ExitStack() as opened:
        kept = place.client()
        opened.callback(kept.close)
        assert isinstance(kept.sock, ssl.SSLSocket)
        assert kept.sock.selected_alpn_protocol() == "http/1.1"
        first = ask(kept, "/first", b"x" * 300_000)
        assert (first["app"], first["length"]) == ("old", 300_000)
        assert ["x-forwarded-proto", "https"] in first["headers"]
        web = opened.enter_context(place.connect())
        web.sendall(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        receive_until(web, b"hello ")
        web.sendall(b"again")
        receive_until(web, b"again")
        gate.hold()
        assert gate.driver.drain(10).in_flight == 0
        kept.request("POST", "/held", b"y" * 1000)
        until(lambda: gate.status()["waiting"] == 1, "it waits")
        gate.driver.switch(Side.NEW)
        assert not silent(web, PATIENCE)
        assert web.recv(1) == b""
        gate.driver.release()
        answer = json.loads(kept.getresponse().read())
        assert (answer["app"], answer["length"]) == ("new", 1000)
        big = place.client()
        opened.callback(big.close)
        big.request("GET", f"/big?n={4 << 20}")
        assert len(big.getresponse().read()) == 4 << 20
        status = gate.status()
        assert (status["failed"], status["served_after_drain"], status["cut"]) == (0, 0, 0)


def test_renewed(place: Place) -> None:
    """A renewed certificate is for new connections; those that stand go on; a key that does not
    belong is told, and changes nothing.  The application may still have the one before."""
    with ExitStack() as opened:
        kept = place.client()
        opened.callback(kept.close)
        ask(kept, "/before")
        good = place.own.key.read_bytes()
        before = place.own.certificate.read_bytes()
        other = pair(place.own.key.parent / "other")
        place.own.key.write_bytes(other.key.read_bytes())
        until(lambda: "does not belong to the certificate" in place.gate.log(), "it is told")
        place.connect().close()
        place.own.key.write_bytes(good)
        pair(place.own.certificate.parent)
        until(lambda: "was read again" in place.gate.log(), "it is read")
        with place.connect() as fresh:
            shown = fresh.getpeercert(binary_form=True) or b""
        assert ssl.DER_cert_to_PEM_cert(shown) == place.own.certificate.read_text()
        assert place.own.certificate.read_bytes() != before
        at = place.gate.listen
        nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nameless.check_hostname, nameless.verify_mode = False, ssl.CERT_NONE
        plain = opened.enter_context(socket.create_connection((at.host, at.port), PATIENCE))
        with nameless.wrap_socket(plain) as fresh:  # without a name, too
            assert fresh.getpeercert(binary_form=True) == shown
        assert ask(kept, "/after", b"x")["app"] == "old"


def test_stranger(place: Place, tmp_path: Path) -> None:
    """Who has another certificate at the side's address gets no request; nor does a check."""
    tls = TlsSpec(place.own.certificate, place.own.key)
    question = HttpQuestion("/health")
    assert HttpCheck("health", place.old.address, question, tls).run().holds
    with App("stranger") as stranger:
        other = pair(tmp_path / "other")
        stranger.secure(other.certificate, other.key)
        targets = {Side.OLD: stranger.address, Side.NEW: place.new.address}
        place.gate.driver.tls = tls
        place.gate.driver.ensure(targets)
        client = place.client()
        client.request("POST", "/secret", b"x")
        assert client.getresponse().status == 502
        client.close()
        assert stranger.seen == []
        assert "another certificate" in place.gate.log()
        seen = HttpCheck("health", stranger.address, question, tls).run()
        assert (seen.holds, "another certificate" in seen.observed) == (False, True)
        trusting = TlsSpec(tls.certificate, tls.key, tuple(Side), other.certificate, "a.example")
        seen = HttpCheck("health", stranger.address, question, trusting).run()
        assert (seen.holds, "SSLCertVerificationError" in seen.observed) == (False, True)
        trusting = TlsSpec(
            tls.certificate, tls.key, tuple(Side), other.certificate, "notes.example.org"
        )
        assert HttpCheck("health", stranger.address, question, trusting).run().holds


def _local() -> Address:
    return Address("127.0.0.1", free_port())


def test_unusable(tmp_path: Path) -> None:
    """What cannot be used is refused before anything starts, and named."""
    good = pair(tmp_path / "good")
    late = pair(tmp_path / "late", days=-1)
    hidden = pair(tmp_path / "hidden", password=b"x")
    nothing = tmp_path / "none.pem"
    empty = tmp_path / "empty.pem"
    empty.write_text("no PEM\n")
    with App("old") as old:
        targets = dict.fromkeys(Side, old.address)
        for code, said, tls in (
            ("tls-key-mismatch", "does not belong", TlsSpec(good.certificate, late.key)),
            ("tls-certificate-expired", "is expired", TlsSpec(late.certificate, late.key)),
            ("tls-key-encrypted", "password", TlsSpec(hidden.certificate, hidden.key)),
            ("tls-unreadable", "No such file", TlsSpec(good.certificate, nothing)),
            ("tls-certificate-invalid", "no certificate", TlsSpec(empty, good.key)),
            ("tls-certificate-invalid", "cannot be used", TlsSpec(good.certificate, empty)),
            (
                "tls-trust-invalid",
                "none.pem",
                TlsSpec(good.certificate, good.key, tuple(Side), nothing, "a"),
            ),
        ):
            gate = GatewayTraffic(_local(), tmp_path / "gate", tls=tls)
            with pytest.raises(Refused) as refused:
                gate.ensure(targets)
            assert refused.value.code == code
            assert said in refused.value.what
            assert gate.look() is None
        gate = GatewayTraffic(_local(), tmp_path / "gate", tls=TlsSpec(good.certificate, good.key))
        try:
            gate.ensure(targets)
            with pytest.raises(Refused) as refused:
                GatewayTraffic(gate.listen, tmp_path / "gate").ensure(targets)
            assert refused.value.code == "gate-other-tls"
        finally:
            gate.stop()


@pytest.mark.whole
def test_under_load(place: Place) -> None:
    """200 requests a second, half on kept connections, while it is held for 3 s, drained and
    switched: none fails, and none reaches the old side after the drain."""
    gate, old, new = place.gate, place.old, place.new
    at = (gate.listen.host, str(gate.listen.port))
    load = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.gateway.load", *at, str(RATE), "60", "7"),
            str(place.own.certificate),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        until(lambda: len(old.seen) > 2 * RATE, "the load has begun")
        began = time.monotonic()
        gate.hold(lease=20.0, at_most=40.0)
        assert gate.driver.drain(20.0).in_flight == 0
        drained = time.monotonic()
        until(lambda: time.monotonic() - began > 3.0, "the pause has lasted")
        gate.driver.switch(Side.NEW)
        gate.driver.release()
        until(lambda: len(new.seen) > 5 * RATE, "the new side serves")
        load.terminate()
        out, _ = load.communicate(timeout=PATIENCE)
    finally:
        load.kill()
        load.wait()
    result = json.loads(out)
    print(result)  # noqa: T201
    assert result["failures"] == [], result
    assert [one for one in old.seen + old.finished if one[0] > drained] == []
    status = gate.status()
    assert (status["served_after_drain"], status["failed"], status["cut"]) == (0, 0, 0)


class Relay:
    """Takes plain connections and passes them on by TLS."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, suppress(OSError), selectors.DefaultSelector() as both:
            raw = socket.create_connection((self._to.host, self._to.port), PATIENCE)
            with self._context.wrap_socket(raw) as secure:
                for end in (plain, secure):
                    both.register(end, selectors.EVENT_READ)
                while True:
                    for key, _ in both.select():
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        while key.fileobj is secure and secure.pending():
                            data += secure.recv(65536)
                        if not data:
                            return
                        (plain if key.fileobj is secure else secure).sendall(data)

    def close(self) -> None:
        """Take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class _Front(GateProcess):
    """A gate that speaks TLS, behind a relay for clients that do not."""

    tls: TlsSpec

    def start(self) -> None:
        """Again with the addresses that it was told last, not those of its first start."""
        self.driver.tls = self.tls
        if (self.directory / "gate.state").exists():
            self._more = words(Pair(self.tls.certificate, self.tls.key))
        super().start()

    @property
    def traffic(self) -> GatewayTraffic:
        """The driver; its clients come to the relay."""
        return self.driver

    def another(self) -> GatewayTraffic:
        """The same gate, by a driver that knows nothing."""
        return GatewayTraffic(self.driver.listen, self.directory, tls=self.tls)


@pytest.mark.whole
class TestContract(TrafficContract):
    """The gate keeps the contract by TLS as well."""

    @contextmanager
    def front(self, directory: Path, targets: Mapping[Side, Address]) -> Iterator[Front]:
        """A gate in the foreground, and the relay."""
        own = pair(directory / "etc")

        class Mine(_Front):
            tls = TlsSpec(own.certificate, own.key, ())

        made = Mine(directory, targets[Side.OLD], targets[Side.NEW], more=words(own))
        relay = Relay(made.listen)
        made.driver.listen = relay.address
        try:
            yield made
        finally:
            relay.close()
            made.close()
