"""A real Synapse that mails, federates, pushes and fetches pages: rehearsed muted, and cut over.

It takes minutes, so only ``make test-whole`` runs it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from tests.testbed.moments import Moments
from tests.testbed.site import eventually

from crossfade.demo.connection import Connection, WrongAnswer
from crossfade.demo.matrix import User, register
from crossfade.demo.place import Place
from crossfade.demo.subject import Ground
from crossfade.demo.synapse import Synapse
from crossfade.engine.work import Silent
from crossfade.model import Address
from crossfade.ports import Teller
from crossfade.testing.free_ports import free_ports

pytestmark = [pytest.mark.whole, pytest.mark.synapse, pytest.mark.timeout(1800)]

OUTSIDE = "127.0.0.3"
SILENT = ("federation_domain_whitelist:", "push:", "  enabled: false", "start_pushers:")
LOUD = """
report_stats_endpoint: http://{outside}:{statistics}/push
email:
  smtp_host: {outside}
  smtp_port: {mail}
  smtp_user: chat
  smtp_pass: planted-smtp-4713
  enable_tls: false
  enable_notifs: true
  notif_from: "Chat <chat@demo.example>"
enable_registration: true
registrations_require_3pid: [email]
public_baseurl: http://demo.example/
ip_range_whitelist: ['{outside}']
federation_ip_range_blacklist: []
url_preview_enabled: true
url_preview_ip_range_blacklist: ['10.0.0.0/8']
url_preview_ip_range_whitelist: ['{outside}']
"""


class Sink:
    """Listens as somebody on the outside does, and notes the directory of each program that
    connects; answers nothing."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._server = socket.create_server((OUTSIDE, self.port), backlog=64)
        self.came_from: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, peer = self._server.accept()
            except OSError:
                return
            self.came_from.append(directory_of(peer))
            connection.close()

    def close(self) -> None:
        """End it."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def directory_of(peer: tuple[str, int]) -> str:
    """Where the program runs that has this end of a connection."""
    packed = int.from_bytes(socket.inet_aton(peer[0]), sys.byteorder)
    end = f"{packed:08X}:{peer[1]:04X}"
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        if (fields := line.split())[1] == end
    }
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for file in (process / "fd").iterdir():
                if str(file.readlink()).removeprefix("socket:[").removesuffix("]") in inodes:
                    return str((process / "cwd").readlink())
    return "unknown"


class Outside:
    """Everybody whom the site talks to."""

    def __init__(self) -> None:
        names = ("mail", "statistics", "push", "federation", "pages")
        self.sinks = {name: Sink() for name in names}

    def count(self, directory: Path) -> dict[str, int]:
        """How often the program that runs there came to each."""
        return {n: sink.came_from.count(str(directory)) for n, sink in self.sinks.items()}

    @property
    def unknown(self) -> int:
        """How many came of whom nobody knows who they are."""
        return sum(sink.came_from.count("unknown") for sink in self.sinks.values())


class LoudSynapse(Synapse):
    """A Synapse as sites have it, with two users."""

    packages = (*Synapse.packages, "lxml")

    def __init__(self, outside: Outside) -> None:
        super().__init__(rate=0)
        self.outside = outside
        self.bob = User("", "")

    def configure(self, ground: Ground) -> None:
        """Nothing is silent, and registering needs an address."""
        super().configure(ground)
        path = ground.data / "homeserver.yaml"
        lines = ground.host.read(path).decode().splitlines()
        text = "\n".join(line for line in lines if not line.startswith(SILENT))
        ports = {name: sink.port for name, sink in self.outside.sinks.items()}
        text = text.replace("report_stats: false", "report_stats: true")
        ground.host.write(path, (text + LOUD.format(outside=OUTSIDE, **ports)).encode())

    def fill(self, ground: Ground, teller: Teller) -> None:
        """Alice is told of new events by a pusher whose gateway answers nobody, so something waits
        for her; the copy has that as well."""
        config = yaml.safe_load(ground.host.read(ground.data / "homeserver.yaml"))
        secret = str(config["registration_shared_secret"])
        on = Connection(ground.address)
        self.user = register(on, secret, "alice", admin=True)
        self.bob = register(on, secret, "bob")
        self.room = self.user.create_room(on, "a room", 3)
        self.known = self.user.send(on, self.room, "known", "this message must survive")
        pusher = {
            "kind": "http",
            "app_id": "net.example.app",
            "pushkey": "alice's",
            "app_display_name": "app",
            "device_display_name": "phone",
            "lang": "en",
            "data": {"url": f"http://{OUTSIDE}:{self._port('push')}/_matrix/push/v1/notify"},
        }
        on.json("POST", "/_matrix/client/v3/pushers/set", pusher, self.user.token)
        self.exercise(ground.address)
        on.close()

    def _port(self, name: str) -> int:
        return self.outside.sinks[name].port

    def exercise(self, at: Address) -> None:
        """Do what makes a server talk to each of them; what it answers does not matter."""
        there = quote(f"#room:{OUTSIDE}:{self._port('federation')}")
        page = quote(f"http://{OUTSIDE}:{self._port('pages')}/")
        mail = {"client_secret": "abcdef", "email": "carol@demo.example", "send_attempt": 1}
        invite = {"invite": [self.user.name]}
        asked: tuple[tuple[str, str, Any, str], ...] = (
            ("POST", "/_matrix/client/v3/register/email/requestToken", mail, ""),
            ("POST", "/_matrix/client/v3/createRoom", invite, self.bob.token),
            ("GET", f"/_matrix/client/v3/directory/room/{there}", None, self.user.token),
            ("GET", f"/_matrix/media/v3/preview_url?url={page}", None, self.user.token),
            ("GET", f"/_matrix/client/v1/media/preview_url?url={page}", None, self.user.token),
        )
        for method, path, body, token in asked:
            on = Connection(at, timeout=120)
            with contextlib.suppress(WrongAnswer, OSError, http.client.HTTPException):
                on.call(method, path, body, token)
            on.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    """Who listens outside."""
    made = Outside()
    yield made
    for sink in made.sinks.values():
        sink.close()


@pytest.fixture
def place(tmp_path: Path, outside: Outside) -> Iterator[Place]:
    """A site that runs and talks to everybody."""
    directory = tmp_path / "site"
    directory.mkdir()
    made = Place(directory, LoudSynapse(outside), "sqlite", Silent())
    try:
        made.build(broken=False)
        yield made
    finally:
        made.end()


def crossfade(place: Place, *words: str, env: dict[str, str] | None = None) -> str:
    """Run a command of ours to its end; what it printed."""
    done = subprocess.run(
        (sys.executable, "-m", "crossfade", *words, "-f", str(place.manifest)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_muted_rehearsed_and_cut_over_with_all_of_it(place: Place, outside: Outside) -> None:
    """The copy opens no connection to anybody, although it is asked to and a push waits; after the
    cutover, which needs no other rehearsal, the new version talks to all of them, and its file has
    the settings of the old one."""
    subject = place.subject
    assert isinstance(subject, LoudSynapse)
    asked = {"mail", "push", "federation", "pages"}

    def came_to(directory: Path) -> set[str]:
        return {name for name, count in outside.count(directory).items() if count}

    eventually(lambda: came_to(place.data) == asked, 60)  # the push is on its way by itself
    copy, new = place.directory / "rehearsal", Path(f"{place.data}-new")
    told: dict[str, str] = {}

    def in_the_copy() -> None:
        subject.exercise(place.rehearsal)
        told["directory"] = str(Path(f"/proc/{pid_at(place.rehearsal)}/cwd").readlink())
        for path in copy.rglob("*"):
            if path.is_file():
                told[path.name] = path.read_text(encoding="latin-1")

    assert "muted in the rehearsal: e-mail: homeserver.yaml email taken out" in crossfade(
        place, "plan"
    )
    with Moments(place.directory, {"rehearsal.check.checks.before-act": in_the_copy}) as moments:
        crossfade(place, "rehearse", env=moments.environment)
    assert told.pop("directory") == str(copy), "so we would see it"
    assert outside.count(copy) == dict.fromkeys(outside.sinks, 0)
    assert "homeserver.yaml" in told
    assert not [name for name, text in told.items() if "planted-smtp" in text]

    crossfade(place, "cutover", "--yes")
    text = (new / "homeserver.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    before = yaml.safe_load((place.data / "homeserver.yaml").read_text(encoding="utf-8"))
    for key in ("email", "report_stats", "report_stats_endpoint", "url_preview_enabled"):
        assert settings[key] == before[key]
    for key in ("enable_registration", "registrations_require_3pid"):
        assert settings[key] == before[key]
    assert settings["email"]["smtp_pass"] == "planted-smtp-4713"
    assert not {"pusher_instances", "federation_domain_whitelist"} & settings.keys()
    subject.exercise(place.gate)
    eventually(lambda: came_to(new) >= asked, 60)
    assert outside.count(copy) == dict.fromkeys(outside.sinks, 0)
    assert outside.unknown == 0

    report = json.loads(crossfade(place, "report", "--json"))
    rehearsal = next(run for run in report["runs"] if run["run"] == "rehearsal")
    findings = [f for step in rehearsal["steps"] for f in step["findings"]]
    (silent,) = [f for f in findings if f["claim"] == "the rehearsal sends nothing out"]
    for effect in ("federation", "push", "e-mail", "statistics", "url-previews"):
        assert f"{effect}: homeserver.yaml" in silent["observed"]
    sealed = [f["claim"] for f in findings if "reads what the old one sealed" in f["claim"]]
    assert len(sealed) == 2
    assert any("takes homeserver.yaml as the cutover will have it" in f["claim"] for f in findings)


def pid_at(address: Address) -> int:
    """Who listens there."""
    from crossfade.drivers.listeners import listening_pids

    (pid,) = listening_pids(address)
    return pid
