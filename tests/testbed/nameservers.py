"""Real name servers of the tests' own: BIND, Knot DNS and PowerDNS, on loopback addresses.

All servers of a zone have the same port, since a name server's port is not in the DNS.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import secrets
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import dns.flags
import dns.message
import dns.query

from crossfade.testing.free_ports import free_port

__all__ = ["Bind", "Knot", "PowerDns", "Server", "loopback", "running", "zone_text"]

ZONE = "example.test"
_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
_PATIENCE = 60.0


def loopback(*kinds: type[Server]) -> list[str]:
    """A loopback address for each server, which no other test is likely to use.  BIND listens only
    at addresses that an interface has, so there is one BIND of a zone at most."""
    area = f"127.{random.randrange(20, 250)}.{random.randrange(1, 250)}"
    return ["127.0.0.1" if kind is Bind else f"{area}.{n}" for n, kind in enumerate(kinds, 1)]


def zone_text(servers: Sequence[str], *, serial: int = 1, ttl: int = 3600) -> str:
    """The zone that the contract begins with, served at these addresses."""
    lines = [
        f"$ORIGIN {ZONE}.",
        f"$TTL {ttl}",
        f"@ IN SOA ns1.{ZONE}. admin.{ZONE}. {serial} 600 30 86400 5",
        *(f"@ IN NS ns{n}.{ZONE}." for n, _ in enumerate(servers, 1)),
        *(f"ns{n} IN A {address}" for n, address in enumerate(servers, 1)),
        "www IN A 192.0.2.10",
        "www IN AAAA 2001:db8::10",
        'www IN TXT "stays as it is"',
        f"app IN CNAME old.{ZONE}.",
        f"alias IN CNAME www.{ZONE}.",
        "many IN A 192.0.2.10",
        "many IN A 192.0.2.11",
    ]
    return "\n".join(lines) + "\n"


@dataclass
class Server:
    """One process.  primary is the address that a secondary follows; followers are notified."""

    directory: Path
    host: str
    port: int
    text: str = ""
    primary: str = ""
    followers: Sequence[str] = ()
    open: bool = True
    key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    process: subprocess.Popen[bytes] | None = None

    def command(self) -> tuple[str, ...]:
        """Write the configuration; the command to start it with, in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it has the zone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        self.wait(self.ready)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so; fails with the log."""
        until = time.monotonic() + _PATIENCE
        while not condition():
            log = (self.directory / "log").read_text(errors="replace")[-2000:]
            assert self.process is not None
            assert self.process.poll() is None, log
            assert time.monotonic() < until, log
            time.sleep(0.02)

    def ready(self) -> bool:
        """Whether it answers with authority."""
        question = dns.message.make_query(f"{ZONE}.", "SOA")
        with contextlib.suppress(Exception):
            answer = dns.query.udp(question, self.host, 0.5, self.port)
            return bool(answer.flags & dns.flags.AA) and bool(answer.answer)
        return False

    def stop(self) -> None:
        """End it; fine when it has ended."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None


class Bind(Server):
    """named of BIND 9."""

    def command(self) -> tuple[str, ...]:
        """See ``Server``."""
        zone = self.directory / "zone"
        if self.text and not zone.exists():
            zone.write_text(self.text, encoding="ascii")
        others = "".join(f"{host} port {self.port}; " for host in self.followers)
        if self.primary:
            kind = (
                f"type secondary; primaries {{ {self.primary} port {self.port}; }}; "
                "masterfile-format text;"
            )
        else:
            rights = "update-policy { grant cf zonesub A AAAA CNAME TXT; };" if self.open else ""
            kind = f"type primary; {rights} notify explicit; also-notify {{ {others}}};"
        (self.directory / "named.conf").write_text(
            f'key cf {{ algorithm hmac-sha256; secret "{self.key}"; }};\n'
            f'options {{ directory "{self.directory}"; pid-file none; session-keyfile none;\n'
            f"  listen-on port {self.port} {{ {self.host}; }}; listen-on-v6 {{ none; }};\n"
            "  recursion no; dnssec-validation no; allow-transfer { any; }; notify-delay 0;\n"
            f"  notify-source {self.host}; transfer-source {self.host}; }};\n"
            "controls { };\n"
            f'zone "{ZONE}" {{ {kind} file "{zone}"; }};\n',
            encoding="ascii",
        )
        (self.directory / "named.conf").chmod(0o600)
        return ("/usr/sbin/named", "-g", "-n", "1", "-c", str(self.directory / "named.conf"))


class Knot(Server):
    """knotd of Knot DNS."""

    def command(self) -> tuple[str, ...]:
        """See ``Server``."""
        zone = self.directory / "zone"
        if self.text and not zone.exists():
            zone.write_text(self.text, encoding="ascii")
        (self.directory / "db").mkdir(exist_ok=True)
        remotes = {f"r{n}": host for n, host in enumerate(self.followers)}
        if self.primary:
            remotes = {"primary": self.primary}
        acts = "[update, transfer]" if self.open else "[transfer]"
        lines = [
            "server:",
            f"  listen: {self.host}@{self.port}",
            f"  rundir: {self.directory}",
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1",
            f"database:\n  storage: {self.directory}/db",
            f"key:\n  - id: cf\n    algorithm: hmac-sha256\n    secret: {self.key}",
            *(["remote:"] if remotes else []),
            *(
                f"  - id: {name}\n    address: {host}@{self.port}\n    via: {self.host}"
                for name, host in remotes.items()
            ),
            "acl:",
            f"  - id: ours\n    key: cf\n    action: {acts}",
            "  - id: all\n    address: 127.0.0.0/8\n    action: [transfer, notify]",
            "zone:",
            f"  - domain: {ZONE}\n    storage: {self.directory}\n    file: zone",
            "    zonefile-load: difference\n    acl: [ours, all]",
        ]
        if self.primary:
            lines.append("    master: primary")
        elif remotes:
            lines.append(f"    notify: [{', '.join(remotes)}]")
        path = self.directory / "knot.conf"
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        path.chmod(0o600)
        return ("/usr/sbin/knotd", "-c", str(path))


@dataclass
class PowerDns(Server):
    """pdns_server with its SQLite backend, and its API at ``api``, at the same address."""

    key: str = field(default_factory=lambda: secrets.token_hex(16))
    api_port: int = field(default_factory=lambda: free_port())

    @property
    def api(self) -> str:
        """The API's address."""
        return f"http://{self.host}:{self.api_port}"

    def command(self) -> tuple[str, ...]:
        """See ``Server``."""
        database = self.directory / "pdns.sqlite"
        if not database.exists():
            with contextlib.closing(sqlite3.connect(database)) as db:
                db.executescript(_SCHEMA.read_text(encoding="utf-8"))
        backend = {"launch": "gsqlite3", "gsqlite3-database": str(database)}
        if not self.open:  # a backend that reads zone files and cannot write them
            (self.directory / "zone").write_text(self.text, encoding="ascii")
            (self.directory / "zones").write_text(
                f'zone "{ZONE}" {{ type master; file "{self.directory}/zone"; }};\n'
            )
            backend = {"launch": "bind", "bind-config": str(self.directory / "zones")}
        settings = {
            **backend,
            "local-address": self.host,
            "local-port": self.port,
            "query-local-address": self.host,
            "socket-dir": self.directory,
            "primary": "yes",
            "allow-axfr-ips": "127.0.0.0/8",
            "xfr-cycle-interval": 1,
            "cache-ttl": 0,
            "query-cache-ttl": 0,
            "negquery-cache-ttl": 0,
            "zone-cache-refresh-interval": 0,
            "api": "yes",
            "api-key": self.key,
            "webserver": "yes",
            "webserver-address": self.host,
            "webserver-port": self.api_port,
            "webserver-allow-from": "127.0.0.0/8",
            "security-poll-suffix": "",
            "also-notify": ",".join(f"{host}:{self.port}" for host in self.followers),
        }
        path = self.directory / "pdns.conf"
        path.write_text("".join(f"{k}={v}\n" for k, v in settings.items()), encoding="utf-8")
        path.chmod(0o600)
        return ("/usr/sbin/pdns_server", f"--config-dir={self.directory}", "--daemon=no")

    def start(self) -> None:
        """Start it, and make the zone when it is not there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        made = (self.directory / "pdns.sqlite").exists()
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        self.wait(self._answers)
        if self.text and not made:
            self.make_zone()
        self.wait(self.ready)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/api/v1/servers/localhost")[0] == 200
        return False

    def make_zone(self) -> None:
        """The zone, as a primary's, from the text."""
        zone = {"name": f"{ZONE}.", "kind": "Master", "zone": self.text, "soa_edit_api": "INCREASE"}
        status, said = self.ask("POST", "/api/v1/servers/localhost/zones", zone)
        assert status == 201, said

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Ask the API: status and text."""
        connection = HTTPConnection(self.host, self.api_port, timeout=10)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"X-API-Key": self.key})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start them in order; they are ended in the end."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()
