"""A site of the Notes application whose sides are on machines of their own, as systemd's units."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.testbed.machines import Machine
from tests.testbed.site import Site, eventually, make_wheel

from crossfade.drivers.hosts.ssh import SshHost
from crossfade.model import Address, Side

__all__ = ["FarSite", "far_site_at"]

UNIT = """\
[Unit]
Description=Notes, as its operator has set it up
After=network.target

[Service]
User=notes
Type=simple
Environment=NOTES_COLOUR=%C
EnvironmentFile=-/srv/notes/old/more.env
ExecStartPre=/usr/bin/test -e /srv/notes/old/notes.yaml
ExecStart=/srv/notes/app1/bin/python -m notes -c /srv/notes/old/notes.yaml
Restart=on-failure
ReadWritePaths=/srv/notes/old

[Install]
WantedBy=multi-user.target
"""
BEATS = "/run/notes-beats"
JOBS = {
    "/etc/systemd/system/notes-beat.timer": "[Timer]\nOnActiveSec=0.3\nOnUnitActiveSec=1\n"
    "AccuracySec=20ms\n[Install]\nWantedBy=timers.target\n",
    "/etc/systemd/system/notes-beat.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\n"
    "Type=oneshot\nExecStart=/bin/sh -c 'echo $$(date +%%s.%%N) /srv/notes/old >>" + BEATS + "'\n",
    "/etc/cron.d/notes-purge": "MAILTO=nobody\n1 4 * * * root /srv/notes/app1/bin/purge\n",
    "/etc/cron.daily/notes-daily": "#!/bin/sh\nls /srv/notes/old >/dev/null\n",
}
DROP_IN = "# more files\n[Service]\nLimitNOFILE=4321\n"
HOME = Path("/srv/notes")
PORT = 8108


class FarSite(Site):
    """As ``Site``; a side without a machine is on this one.  ``called`` makes the name of a data
    directory from its usual one."""

    def __init__(
        self,
        directory: Path,
        old: Machine | None,
        new: Machine | None,
        *,
        called: str = "{}",
        **given: Any,
    ) -> None:
        self.machines = {Side.OLD: old, Side.NEW: new}
        self.called = called
        super().__init__(directory, **given)

    def host(self, side: Side) -> SshHost:
        """The machine of a side, as its operator reaches it."""
        machine = self.machines[side]
        assert machine
        return SshHost(machine.name, config=machine.config)

    def _make_old(self, journal: str, notes: int, uploads: int) -> None:
        for side, port in ((Side.OLD, PORT), (Side.NEW, PORT + 1)):
            if machine := self.machines[side]:
                self._prepare(side)
                there = Address(machine.address, port)
                if side is Side.OLD:
                    self.old, self.data = there, HOME / self.called.format("old")
                else:
                    self.new, self.rehearsal = there, Address(machine.address, port + 1)
        if self.machines[Side.OLD] is None:
            super()._make_old(journal, notes, uploads)
            return
        self._make_far_old(journal, notes, uploads)

    def _prepare(self, side: Side) -> None:
        """The account and what is installed from: what an operator has on a new machine."""
        host = self.host(side)
        if host.run(("id", "notes"), ok=(0, 1)).status:
            host.run(("useradd", "--system", "--user-group", "notes"))
        host.make_directory(HOME, mode=0o755)
        version, root = ("1.0", "app1") if side is Side.OLD else ("2.0", "app2")
        wheel = make_wheel(self.directory / f"{root}-wheel", version)
        host.write(HOME / f"{root}-wheel" / wheel.name, wheel.read_bytes(), mode=0o644)
        host.run(("chmod", "755", str(HOME / f"{root}-wheel")))

    def _make_far_old(self, journal: str, notes: int, uploads: int) -> None:
        host = self.host(Side.OLD)
        host.run(("python3", "-m", "venv", str(HOME / "app1")), timeout=120)
        wheel = HOME / "app1-wheel" / "notes_app-1.0-py3-none-any.whl"
        pip = (str(HOME / "app1/bin/pip"), "install", "-q", "--no-index", str(wheel))
        host.run(pip, timeout=120)
        settings = (
            f"listen: {self.old}\n{self._database_settings(journal)}"
            f"uploads: {self.data}/uploads\nsecret_key: planted-secret-4711\n"
        )
        host.make_directory(self.data, mode=0o755)
        host.write(self.data / "notes.yaml", settings.encode())
        for number in range(uploads):
            name = self.data / "uploads" / f"file-{number}"
            host.write(name, os.urandom(2000 + number), mode=0o644)
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "notes.db"
            with contextlib.closing(sqlite3.connect(file)) as db:
                db.execute("create table note (id text primary key, text text not null)")
                rows = [(f"n{i}", f"text {i}") for i in range(notes)]
                db.executemany("insert into note values (?, ?)", rows)
                db.commit()
            host.write(self.data / "notes.db", file.read_bytes())
        host.run(("chown", "-R", "notes:notes", str(self.data)))
        host.write(Path("/etc/systemd/system/notes.service"), self._unit().encode(), mode=0o644)
        drop_ins = Path("/etc/systemd/system/notes.service.d")
        host.write(drop_ins / "10-more.conf", DROP_IN.encode(), mode=0o644)
        host.run(("systemctl", "daemon-reload"))
        host.run(("systemctl", "enable", "--quiet", "notes.service"))

    def _unit(self) -> str:
        """The unit, with its path as systemd wants it where it is no plain one."""
        if self.called == "{}":
            return UNIT
        word = str(self.data).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        lines = []
        for line in UNIT.splitlines(keepends=True):
            in_command = word.replace("$", "$$") if line.startswith("Exec") else word
            before, found, after = line.partition("/srv/notes/old")
            inside, _, rest = after.partition(" ")
            if found and not line.startswith("EnvironmentFile"):
                line = f'{before}"{in_command}{inside.rstrip()}"' + (f" {rest}" if rest else "\n")
            lines.append(line)
        return "".join(lines)

    def write_manifest(
        self, *, broken: str = "", limits: Mapping[str, float] | None = None, extra: str = ""
    ) -> None:
        """Write crossfade.yaml; ``broken`` is how the new version fails."""
        d = self.directory
        given = {"max_pause": 60, "watch": 0.2, "lease": 4, **(limits or {})}
        environment = {"NOTES_BREAK": broken} if broken else {}
        self.manifest.write_text(
            f"application: {self.recipe}\nstate: {d}/state\n"
            f"old: {json.dumps(self._side(Side.OLD, '1.0', 'app1', 'old', {}))}\n"
            f"new: {json.dumps(self._side(Side.NEW, '2.0', 'app2', 'new', environment))}\n"
            f"traffic: {{listen: '{self.gate}'}}\nlimits: {json.dumps(given)}\n{extra}",
            encoding="utf-8",
        )

    def add_jobs(self) -> None:
        """A timer that writes down each second that it runs, and cron jobs, on the old side."""
        host = self.host(Side.OLD)
        for path, text in JOBS.items():
            mode = 0o755 if "daily" in path else 0o644
            host.write(Path(path), text.encode(), mode=mode)
        host.run(("systemctl", "daemon-reload"))
        host.run(("systemctl", "enable", "--quiet", "--now", "notes-beat.timer"))

    def jobs_on(self, side: Side) -> set[str]:
        """Which of them would run on a machine."""
        look = "systemctl is-active -q notes-beat.timer && "
        look += "systemctl is-enabled -q notes-beat.timer && echo timer; "
        look += "grep -q '^1 4 .* root /srv/notes/app' /etc/cron.d/notes-purge && echo table; "
        look += "[ -x /etc/cron.daily/notes-daily ] && echo script; :"
        return set(
            self.host(side).run(("sh", "-c", f"{{ {look}; }} 2>/dev/null")).out.decode().split()
        )

    def beats(self, side: Side) -> list[tuple[float, str]]:
        """When the timer's job ran on a machine, and for which place."""
        said = self.host(side).run(("sh", "-c", f"cat {BEATS} || :")).out.decode().split()
        return [(float(at), place) for at, place in zip(said[::2], said[1::2], strict=False)]

    def _side(
        self, side: Side, version: str, root: str, data: str, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        machine = self.machines[side]
        home = HOME if machine else self.directory
        said: dict[str, Any] = {
            "version": version,
            "root": str(home / root),
            "data": str(home / self.called.format(data)),
            "address": str(self.old if side is Side.OLD else self.new),
            "service": {"environment": dict(environment)},
        }
        if machine:
            said["host"] = {"ssh": machine.name, "config": str(machine.config)}
        if side is Side.NEW:
            said["rehearsal"] = {
                "address": str(self.rehearsal),
                "data": str(home / self.called.format("try")),
            }
            if machine and self.machines[Side.OLD] is None:
                said["service"]["user"] = "notes"
        return said

    def start(self) -> None:
        """Start the old side and the gate."""
        if self.machines[Side.OLD] is None:
            super().start()
            return
        self.host(Side.OLD).run(("systemctl", "start", "notes.service"))
        eventually(
            lambda: self.wired().side(self.wired().manifest.old, Side.OLD).health.run().holds
        )
        self.run("gate", "start", "--yes")

    def close(self) -> None:
        """End everything that was started here, and what the machines have of it."""
        site = self.wired()
        site.traffic.stop()
        if self.machines[Side.OLD] is None:
            site.side(site.manifest.old, Side.OLD).service.stop(3)
        site.journal.close()
        self._end_watchers()
        for side, machine in self.machines.items():
            if machine:
                self._wipe(side)
        if self.machines[Side.NEW] is None:
            for spec in (site.manifest.new, site.manifest.rehearsal):
                site.side(spec, Side.NEW).service.stop(3)

    def _wipe(self, side: Side) -> None:
        host = self.host(side)
        units = "for u in /etc/systemd/system/notes*.service; do "
        units += '[ -e "$u" ] || continue; n=${u##*/}; systemctl disable --quiet "$n"; '
        units += 'systemctl stop "$n"; rm -rf "$u" "$u.d"; done; systemctl daemon-reload'
        timers = (
            "systemctl disable -q --now notes-beat.timer; rm -f /etc/systemd/system/notes-*.timer "
        )
        timers += f"{BEATS} /etc/cron.d/*notes-* /etc/cron.daily/*notes-*; "
        timers += "rm -f /etc/cron.d/.notes-* /etc/cron.daily/.notes-*; "
        host.run(("sh", "-c", timers + units), ok=(0, 1), timeout=120)
        host.remove(HOME)
        host.close()


@contextlib.contextmanager
def far_site_at(
    directory: Path, old: Machine | None, new: Machine | None, **given: Any
) -> Iterator[FarSite]:
    """A started site that is closed in the end."""
    site = FarSite(directory, old, new, **given)
    try:
        site.start()
        yield site
    finally:
        with contextlib.suppress(FileNotFoundError):
            site.close()
        shutil.rmtree(directory, ignore_errors=True)
