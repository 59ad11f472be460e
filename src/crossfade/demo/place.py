"""The demo's old side: a Matrix Synapse with users, rooms, events, media and a customised
configuration, a gate before it, and the manifest of its upgrade."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from crossfade.demo.matrix import Connection, User, register
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.installs.python import PythonInstall
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Address, Side
from crossfade.ports import Teller
from crossfade.wiring import WiredSite, open_site

__all__ = ["NEW", "OLD", "Place"]

OLD, NEW = "1.100.0", "1.163.2"
EVENTS, MEDIA, ROOMS, USERS = 2000, 50, 4, 5
_BREAK = Path(__file__).with_name("broken")
_CUSTOM = """
# --- this site's own settings ---
trusted_key_servers: []
federation_domain_whitelist: []     # this server talks to nobody
push:
  enabled: false
start_pushers: false
max_upload_size: 20M                # our users share photographs
rc_message: {per_second: 10000, burst_count: 10000}
rc_login:
  address: {per_second: 1000, burst_count: 1000}
  account: {per_second: 1000, burst_count: 1000}
"""


class Place:
    """Everything of a demo below one directory."""

    def __init__(self, directory: Path, teller: Teller) -> None:
        self.directory = directory.resolve()
        self.teller = teller
        self.data = self.directory / "synapse-data"
        self.manifest = self.directory / "crossfade.yaml"
        ports = _free_ports(4)
        self.old, self.new, self.rehearsal, self.gate = (Address("127.0.0.1", p) for p in ports)
        self.user = User("", "")
        self.room = ""

    def site(self) -> WiredSite:
        """The site, as the command line opens it."""
        return open_site(self.manifest)

    def clear(self) -> None:
        """End and remove what an earlier demo left here; refuse what is no demo of ours."""
        if self.directory.exists() and any(self.directory.iterdir()):
            if not self.manifest.exists():
                raise Failed(
                    "directory-in-use",
                    f"{self.directory} is not empty and no demo of ours.",
                    next="crossfade demo --directory ANOTHER",
                )
            with suppress(CrossfadeError):
                stop_all(self.site())
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)

    def build(self, *, broken: str | None) -> None:
        """Install, configure, start and fill the old side; write the manifest; start the gate."""
        self._install()
        self._configure()
        self._write_manifest(broken)
        site = self.site()
        old = site.side(site.manifest.old, Side.OLD)
        self.teller.say(f"starting Synapse {OLD} and filling it")
        old.service.start()
        _until(lambda: old.health.run().holds, 120)
        self._fill()
        self._write_manifest(broken)
        site = self.site()
        site.traffic.ensure({Side.OLD: self.old, Side.NEW: self.new})

    def _install(self) -> None:
        root = self.directory / f"synapse-{OLD}"
        self.teller.say(f"installing Synapse {OLD}")
        packages = (f"matrix-synapse=={OLD}", "setuptools<70")
        # its dependencies as they were in its days; today's do not fit it
        install = PythonInstall(LocalHost(), root, packages, exclude_newer="2024-02-15")
        with self.teller.bar(f"installing Synapse {OLD}") as progress:
            install.install(progress)

    def _configure(self) -> None:
        self.data.mkdir()
        python = self.directory / f"synapse-{OLD}" / "bin" / "python"
        config = self.data / "homeserver.yaml"
        LocalHost().run(
            (
                *(str(python), "-m", "synapse.app.homeserver", "--server-name", "demo.example"),
                *("--config-path", str(config), "--data-directory", str(self.data)),
                *("--generate-config", "--report-stats=no"),
            ),
            cwd=self.data,
        )
        text = config.read_text(encoding="utf-8")
        text = text[: text.index("trusted_key_servers:")] + _CUSTOM.lstrip()
        text = text.replace("port: 8008", f"port: {self.old.port}   # behind the gate")
        text = text.replace("['::1', '127.0.0.1']", "['127.0.0.1']")
        config.write_text(text, encoding="utf-8")
        for log in self.data.glob("*.log.config"):  # keep the log with the data
            lines = log.read_text(encoding="utf-8")
            log.write_text(
                lines.replace(f"{self.data.parent}/homeserver.log", f"{self.data}/homeserver.log"),
                encoding="utf-8",
            )

    def _fill(self) -> None:
        secret = _setting(self.data / "homeserver.yaml", "registration_shared_secret")
        on = Connection(self.old)
        self.user = register(on, secret, "alice", admin=True)
        for number in range(1, USERS):
            register(on, secret, f"user{number}")
        with self.teller.bar(f"{EVENTS} events, {MEDIA} media files") as progress:
            share = EVENTS * 8 // 10 // ROOMS
            rooms = []
            for number in range(ROOMS):
                rooms.append(self.user.create_room(on, f"room {number}", share))
                progress((number + 1) * share, EVENTS)
            self.room = rooms[0]
            self._send_messages(rooms, EVENTS - ROOMS * share)
            progress(EVENTS, EVENTS)
            for number in range(MEDIA):
                self.user.upload(on, f"photo{number}.bin", os.urandom(20_000 + 1000 * number))
        self._known = self.user.send(on, self.room, "known", "this message must survive")
        on.close()
        (self.directory / "token").write_text(f"Bearer {self.user.token}", encoding="utf-8")
        (self.directory / "token").chmod(0o600)

    def _send_messages(self, rooms: list[str], count: int) -> None:
        def send(room: str) -> None:
            on = Connection(self.old)
            for number in range(count // len(rooms)):
                self.user.send(on, room, f"fill-{number}", f"fill {number}")
            on.close()

        threads = [threading.Thread(target=send, args=(room,)) for room in rooms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _write_manifest(self, broken: str | None) -> None:
        d = self.directory
        new: dict[str, object] = {
            "version": NEW,
            "root": str(d / f"synapse-{NEW}"),
            "data": str(d / "synapse-data-new"),
            "address": str(self.new),
            "rehearsal": {"address": str(self.rehearsal), "data": str(d / "rehearsal")},
        }
        if broken:
            # a new version that answers reads of messages with 500, but not in a rehearsal
            new["service"] = {"environment": {"PYTHONPATH": str(_BREAK)}}
        lines: dict[str, object] = {
            "application": "synapse",
            "state": str(d / "state"),
            "old": {
                "version": OLD,
                "root": str(d / f"synapse-{OLD}"),
                "data": str(self.data),
                "address": str(self.old),
            },
            "new": new,
            "traffic": {"listen": str(self.gate)},
            "limits": {"max_pause": 60, "watch": 5},
        }
        if self.room:
            lines["checks"] = [
                {
                    "name": "a known message can be read",
                    "path": f"/_matrix/client/v3/rooms/{self.room}/event/{self._known}",
                    "json": "content.body",
                    "equals": "this message must survive",
                    "headers": {"Authorization": f"file:{d / 'token'}"},
                }
            ]
        # JSON is YAML; quoting is safe whatever the paths hold
        self.manifest.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


def stop_all(site: WiredSite) -> None:
    """Stop both sides, a rehearsal's copy, and the gate."""
    manifest = site.manifest
    for spec in (manifest.old, manifest.new, manifest.rehearsal):
        site.side(spec, Side.NEW).service.stop(10)  # found by its mark, whichever side it is
    site.traffic.stop()


def _setting(path: Path, name: str) -> str:
    import yaml

    return str(yaml.safe_load(path.read_text(encoding="utf-8"))[name])


def _free_ports(count: int) -> list[int]:
    """Ports below the range that systems give to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)  # noqa: S311 - a free port, not a secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _until(holds: object, timeout: float) -> None:
    assert callable(holds)  # noqa: S101 - typed loosely for lambdas
    end = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > end:
            raise Failed("demo-not-healthy", f"Synapse {OLD} did not become healthy.")
        time.sleep(0.05)
