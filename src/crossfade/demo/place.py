"""Everything of a demo below one directory: the old side with its data, a gate before it, the
manifest of its upgrade and, where its database is on a server, one server for each side."""

from __future__ import annotations

import json
import random
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from crossfade.demo.servers import Server, end_servers, manifest_entry, start_servers
from crossfade.demo.subject import Ground, Subject
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.installs.python import PythonInstall
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Address, Endpoint, Side
from crossfade.ports import Teller
from crossfade.wiring import WiredSite, open_site

__all__ = ["Place"]

_BREAK = Path(__file__).with_name("broken")


class Place:
    """A demo's site: a subject whose database is of a kind (sqlite, postgres, mariadb)."""

    def __init__(self, directory: Path, subject: Subject, database: str, teller: Teller) -> None:
        self.directory = directory.resolve()
        self.subject = subject
        self.database = database
        self.teller = teller
        self.manifest = self.directory / "crossfade.yaml"
        self.data = self.directory / f"{subject.application}-data"
        ports = _free_ports(4)
        self.old, self.new, self.rehearsal, self.gate = (Address("127.0.0.1", p) for p in ports)
        self.endpoints: dict[Side, Endpoint] = {}
        self.servers: dict[Side, Server] = {}

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
            self.end()
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)  # the servers run as accounts of their own

    def end(self) -> None:
        """Stop both sides, a rehearsal's copy, the gate, and the servers of this demo."""
        with suppress(CrossfadeError):
            site = self.site()
            for spec in (site.manifest.old, site.manifest.new, site.manifest.rehearsal):
                # found by its mark, whichever side it is
                site.side(spec, Side.NEW).service.stop(10)
            site.traffic.stop()
        with suppress(CrossfadeError):
            end_servers(self.directory)

    def build(self, *, broken: bool) -> None:
        """Install, configure, start and fill the old side; write the manifest; start the gate."""
        subject = self.subject
        self._write_manifest(broken)  # from here on a later demo knows that this is one
        self._install()
        if self.database != "sqlite":
            self._make_servers()
        ground = self._ground()
        subject.configure(ground)
        self._write_manifest(broken)
        site = self.site()
        old = site.side(site.manifest.old, Side.OLD)
        self.teller.say(f"starting {subject.title} {subject.old_version} and filling it")
        old.service.start()
        if not _until(lambda: old.health.run().holds, site.limits().start):
            raise Failed(
                "demo-not-healthy",
                f"{subject.title} {subject.old_version} did not become healthy.",
                where="\n".join(old.service.log_tail(8)),
            )
        subject.fill(ground, self.teller)
        self._write_manifest(broken, subject.checks(self.directory))
        self.site().traffic.ensure({Side.OLD: self.old, Side.NEW: self.new})

    def _root(self, version: str) -> Path:
        return self.directory / f"{self.subject.application}-{version}"

    def _install(self) -> None:
        subject = self.subject
        what = f"installing {subject.title} {subject.old_version}"
        self.teller.say(what)
        # its dependencies as they were in its days; today's do not fit it
        install = PythonInstall(
            LocalHost(),
            self._root(subject.old_version),
            subject.packages,
            exclude_newer=subject.exclude_newer,
        )
        with self.teller.bar(what) as progress:
            install.install(progress)

    def _make_servers(self) -> None:
        name = self.subject.application
        locale = self.subject.locale
        self.servers = start_servers(self.database, self.directory, locale, self.teller)
        self.endpoints = {
            Side.OLD: self.servers[Side.OLD].create(name, user=name),
            # only named: Crossfade makes it, and its role
            Side.NEW: self.servers[Side.NEW].endpoint(name, user=name),
        }

    def _ground(self) -> Ground:
        endpoint, password = self.endpoints.get(Side.OLD), ""
        if endpoint:
            password = self.servers[Side.OLD].password_of(endpoint.user)
        root = self._root(self.subject.old_version)
        return Ground(root, self.data, self.old, endpoint, password)

    def _write_manifest(self, broken: bool, checks: list[Mapping[str, Any]] | None = None) -> None:
        d, subject = self.directory, self.subject
        old: dict[str, Any] = {
            "version": subject.old_version,
            "root": str(self._root(subject.old_version)),
            "data": str(self.data),
            "address": str(self.old),
        }
        new: dict[str, Any] = {
            "version": subject.new_version,
            "root": str(self._root(subject.new_version)),
            "data": f"{self.data}-new",
            "address": str(self.new),
            "rehearsal": {"address": str(self.rehearsal), "data": str(d / "rehearsal")},
        }
        for side, spec in ((Side.OLD, old), (Side.NEW, new)):
            if side in self.endpoints:
                entry = manifest_entry(self.servers[side], self.endpoints[side])
                spec["databases"] = {"main": entry}
        if self.endpoints:
            secret = self.servers[Side.OLD].secret_of(self.endpoints[Side.OLD].user)
            old["databases"]["main"]["password"] = f"file:{secret}"
        if broken:
            # a new version that answers some reads with 500, but not in a rehearsal
            new["service"] = {"environment": {"PYTHONPATH": str(_BREAK)}}
        lines: dict[str, Any] = {
            "application": subject.application,
            "state": str(d / "state"),
            "old": old,
            "new": new,
            "traffic": {"listen": str(self.gate)},
            "limits": {"max_pause": subject.max_pause, "watch": 5},
            "checks": checks or [],
        }
        # JSON is YAML; quoting is safe whatever the paths hold
        self.manifest.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


def _free_ports(count: int) -> list[int]:
    """Ports below the range that systems give to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)  # noqa: S311 - a free port, not a secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _until(holds: Callable[[], bool], timeout: float) -> bool:
    end = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
