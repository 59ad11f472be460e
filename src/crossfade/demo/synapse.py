"""The demo's Matrix Synapse: users, rooms, events, media and a customised configuration."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from crossfade.demo.connection import Connection
from crossfade.demo.load import pick, reads, same
from crossfade.demo.matrix import User, register
from crossfade.demo.subject import Act, Client, Ground
from crossfade.ports import Teller

__all__ = ["Synapse"]

EVENTS, MEDIA, ROOMS, USERS = 2000, 50, 4, 5
_SETTLED, _AT_MOST = 5.0, 180.0
"""Seconds without a background update after which there is none left; and the longest wait."""
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


class Synapse:
    """``subject.Subject``: Matrix Synapse, on SQLite or on PostgreSQL."""

    application = "synapse"
    title = "Matrix Synapse"
    old_version = "1.100.0"
    new_version = "1.163.2"
    packages: tuple[str, ...] = ("matrix-synapse==1.100.0", "psycopg2-binary", "setuptools<70")
    exclude_newer = "2024-02-15"
    max_pause = 60
    locale = "C"  # Synapse refuses databases that order text otherwise

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.user = User("", "")
        self.room = self.known = ""

    def configure(self, ground: Ground) -> None:
        """Have Synapse make its configuration, then change it as a site would."""
        host, config = ground.host, ground.data / "homeserver.yaml"
        host.make_directory(ground.data, mode=0o755)
        host.run(
            (
                str(ground.root / "bin" / "python"),
                *("-m", "synapse.app.homeserver", "--server-name", "demo.example"),
                *("--config-path", str(config), "--data-directory", str(ground.data)),
                *("--generate-config", "--report-stats=no"),
            ),
            cwd=ground.data,
        )
        text = host.read(config).decode()
        text = text[: text.index("trusted_key_servers:")] + _CUSTOM.lstrip()
        text = text.replace("port: 8008", f"port: {ground.address.port}   # behind the gate")
        text = text.replace("['::1', '127.0.0.1']", f"['{ground.address.host}']")
        if ground.database:
            before = f"  name: sqlite3\n  args:\n    database: {ground.data}/homeserver.db\n"
            text = text.replace(before, _database(ground))
        host.write(config, text.encode())
        log = ground.data / "demo.example.log.config"  # keep the log with the data
        lines = host.read(log).decode()
        away, here = (f"{place}/homeserver.log" for place in (ground.data.parent, ground.data))
        host.write(log, lines.replace(away, here).encode(), mode=0o644)

    def fill(self, ground: Ground, teller: Teller) -> None:
        """Users, rooms, events and media, over HTTP."""
        config = yaml.safe_load(ground.host.read(ground.data / "homeserver.yaml"))
        secret = str(config["registration_shared_secret"])
        on = Connection(ground.address)
        self.user = register(on, secret, "alice", admin=True)
        for number in range(1, USERS):
            register(on, secret, f"user{number}")
        with teller.bar(f"{EVENTS} events, {MEDIA} media files") as progress:
            share = EVENTS * 8 // 10 // ROOMS
            rooms = []
            for number in range(ROOMS):
                rooms.append(self.user.create_room(on, f"room {number}", share))
                progress((number + 1) * share, EVENTS)
            self.room = rooms[0]
            self._send_messages(ground, rooms, EVENTS - ROOMS * share)
            progress(EVENTS, EVENTS)
            for number in range(MEDIA):
                self.user.upload(on, f"photo{number}.bin", os.urandom(20_000 + 1000 * number))
        self.known = self.user.send(on, self.room, "known", "this message must survive")
        if ground.database:
            self._let_it_settle(on, teller)
        on.close()

    def _let_it_settle(self, on: Connection, teller: Teller) -> None:
        """A new Synapse goes on to build indexes in the background.  A rehearsal before their end
        would be of another schema than the cutover finds."""
        teller.say("waiting for its background updates")
        began = quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < _SETTLED and time.monotonic() - began < _AT_MOST:
            path = "/_synapse/admin/v1/background_updates/status"
            if on.json("GET", path, token=self.user.token)["current_updates"]:
                quiet_since = time.monotonic()
            time.sleep(0.1)

    def _send_messages(self, ground: Ground, rooms: Sequence[str], count: int) -> None:
        def send(room: str) -> None:
            on = Connection(ground.address)
            for number in range(count // len(rooms)):
                self.user.send(on, room, f"fill-{number}", f"fill {number}")
            on.close()

        threads = [threading.Thread(target=send, args=(room,)) for room in rooms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def checks(self, directory: Path) -> list[Mapping[str, Any]]:
        """A message that was sent is there, for its sender."""
        token = directory / "token"
        token.touch(mode=0o600)
        token.write_text(f"Bearer {self.user.token}", encoding="utf-8")
        return [
            {
                "name": "a known message can be read",
                "path": f"/_matrix/client/v3/rooms/{self.room}/event/{self.known}",
                "json": "content.body",
                "equals": "this message must survive",
                "headers": {"Authorization": f"file:{token}"},
            }
        ]

    def client(self) -> Client:
        """Half writes (messages, account data, media), half reads of what was written."""
        return _Client(self.user, self.room)


def _database(ground: Ground) -> str:
    assert ground.database  # noqa: S101 - asked before
    values = {
        "user": ground.database.user,
        "password": ground.password,
        "dbname": ground.database.database,
        "host": ground.database.address.host,
        "port": ground.database.address.port,
        "cp_min": 5,
        "cp_max": 10,
    }
    lines = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in values.items())
    return f"  name: psycopg2\n  args:                             # our database server\n{lines}"


class _Client:
    def __init__(self, user: User, room: str) -> None:
        self.user, self.room = user, room
        self.sent: dict[str, str] = {}
        self.data: dict[str, str] = {}
        self.media: dict[str, bytes] = {}
        self.acts: Sequence[Act] = (
            *([self._send] * 8 + [self._put] * 15 + [self._upload] * 2),
            *([self._read_event] * 12 + [self._read_data] * 13),
        )

    @property
    def acknowledged(self) -> int:
        return len(self.sent) + len(self.data) + len(self.media)

    def _send(self, on: Connection, number: str) -> None:
        event = self.user.send(on, self.room, f"crossfade-{number}", f"message {number}")
        self.sent[event] = f"message {number}"

    def _put(self, on: Connection, number: str) -> None:
        self.user.put_data(on, f"net.example.{number}", f"value {number}")
        self.data[f"net.example.{number}"] = f"value {number}"

    def _upload(self, on: Connection, number: str) -> None:
        content = f"file {number}\n".encode() * 200
        self.media[self.user.upload(on, f"{number}.txt", content)] = content

    def _read_event(self, on: Connection, number: str) -> None:
        if picked := pick(self.sent):
            same(self.user.event(on, self.room, picked[0]), picked[1])

    def _read_data(self, on: Connection, number: str) -> None:
        if picked := pick(self.data):
            same(self.user.get_data(on, picked[0]), picked[1])

    def found(self, on: Connection) -> int:
        there = self.user.messages(on, self.room)
        found = sum(there.get(event) == text for event, text in self.sent.items())
        for kind, value in self.data.items():
            found += reads(partial(self.user.get_data, on, kind), value)
        for uri, content in self.media.items():
            found += reads(partial(self.user.download, on, uri), content)
        return found
