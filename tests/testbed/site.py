"""A site of the Notes application: two versions, a gate, a manifest, and the command line."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from tests.testbed import servers, traces

from crossfade.drivers import procfs
from crossfade.drivers.installs.python import uv_program
from crossfade.model import Address, Endpoint, Side
from crossfade.testing.free_ports import free_ports
from crossfade.wiring import WiredSite, open_site

__all__ = ["Result", "Site", "recipe_with_defaults", "tree_bytes"]

HERE = Path(__file__).parent

FILL = """
import json, sys, notes
store = notes.App(notes.settings(sys.argv[1])).store
store.commit(*((store.WRITE, row) for row in json.load(sys.stdin)))
"""


@dataclass(frozen=True)
class Result:
    """How a command of ours ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def make_wheel(directory: Path, version: str) -> Path:
    """A wheel of the Notes application."""
    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"notes_app-{version}-py3-none-any.whl"
    info = f"notes_app-{version}.dist-info"
    source = (HERE / "notes.py").read_text(encoding="utf-8").replace("@VERSION@", version)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("notes.py", source)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: notes-app\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        # the databases' own modules, from where our interpreter has them: no network is needed
        archive.writestr("notes_modules.pth", f"{Path(psycopg.__file__).parents[1]}\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def recipe_with_defaults(defaults: Mapping[str, str]) -> str:
    """The Notes application's recipe with ``service.defaults``."""
    recipe = (HERE / "notes.yaml").read_text(encoding="utf-8")
    return recipe.replace("service:\n", f"service:\n  defaults: {json.dumps(defaults)}\n", 1)


@cache
def _old_environment(base: str) -> Path:
    """Version 1.0, installed once for each test process and then copied."""
    root = Path(base) / "prototype"
    uv = uv_program()
    subprocess.run((uv, "venv", "-q", "--python", sys.executable, root), check=True)
    wheel = make_wheel(Path(base) / "prototype-wheel", "1.0")
    python = root / "bin" / "python"
    subprocess.run((uv, "pip", "install", "-q", "--python", python, wheel), check=True)
    return root


class Site:
    """Everything below one directory; ``close`` ends every process of it.

    database is sqlite, postgres or mysql; the latter two are on a pair of servers, those that all
    sites share unless others are given.  On them the old side has a database of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        database: str = "sqlite",
        pair: servers.Pair | None = None,
        journal: str = "wal",
        notes: int = 50,
        uploads: int = 5,
        broken: str = "",
        limits: Mapping[str, float] | None = None,
        recipe: str = "",
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        ports = free_ports(4)
        self.old, self.new, self.rehearsal, self.gate = (Address("127.0.0.1", p) for p in ports)
        self.data = directory / "old"
        self.pair = pair if pair or database == "sqlite" else servers.shared(database)
        self.databases: dict[Side, Endpoint] = self._make_databases() if self.pair else {}
        self.wire: Address | None = None
        self._make_old(journal, notes, uploads)
        make_wheel(directory / "app2-wheel", "2.0")
        self.recipe = directory / "notes.yaml"
        self.recipe.write_text(
            recipe or (HERE / "notes.yaml").read_text(encoding="utf-8"), encoding="utf-8"
        )
        self.manifest = directory / "crossfade.yaml"
        self.write_manifest(broken=broken, limits=limits)

    def _make_old(self, journal: str, notes: int, uploads: int) -> None:
        self.data.mkdir()
        (self.data / "notes.yaml").write_text(
            "# the old side's own settings\n"
            f"listen: {self.old}\n"
            f"{self._database_settings(journal)}"
            f"uploads: {self.data}/uploads\n"
            "secret_key: planted-secret-4711\n",
            encoding="utf-8",
        )
        (self.data / "uploads").mkdir()
        for number in range(uploads):
            (self.data / "uploads" / f"file-{number}").write_bytes(os.urandom(2000 + number))
        root = self.directory / "app1"
        base = self.directory.parent / f"notes-base-{os.getpid()}"
        shutil.copytree(_old_environment(str(base)), root, symlinks=True)
        self._fill(notes)

    def _database_settings(self, journal: str) -> str:
        if not self.pair:
            place = f"{self.data}/notes.db   # kept on the fast disk"
            return f"database: {place}\njournal: {journal}\n"
        there = self.databases[Side.OLD]
        values = {
            "host": there.address.host,
            "port": there.address.port,
            "name": there.database,
            "user": there.user,
            "password": self.pair.old.password_of(there.user),
        }
        lines = (
            f"database_{key}: {json.dumps(value, ensure_ascii=False)}\n"
            for key, value in values.items()
        )
        return "".join((f"engine: {self.pair.kind}\n", *lines))

    def _make_databases(self) -> dict[Side, Endpoint]:
        """The old side's database; the new one's place is only named, Crossfade makes it."""
        assert self.pair
        name = self.pair.new_name()
        old = self.pair.old.create(name, user=name)
        return {Side.OLD: old, Side.NEW: self.pair.new.endpoint(f"{name} 2", user=name)}

    def _fill(self, notes: int) -> None:
        rows = [(f"n{i}", f"text {i}") for i in range(notes)]
        if not self.pair:
            import sqlite3

            with contextlib.closing(sqlite3.connect(self.data / "notes.db")) as db:
                db.execute("create table note (id text primary key, text text not null)")
                db.executemany("insert into note values (?, ?)", rows)
                db.commit()
            return
        subprocess.run(
            (self.directory / "app1" / "bin" / "python", "-c", FILL, self.data / "notes.yaml"),
            input=json.dumps(rows),
            text=True,
            check=True,
        )

    def sql(self, side: Side, query: str) -> list[tuple[Any, ...]]:
        """Run SQL as superuser in a side's database."""
        assert self.pair
        server, database = self.pair.of(side), self.databases[side].database
        return server.sql(query, database=database)

    def stand(self) -> dict[Side, traces.Traces]:
        """What stands in the catalogues of both servers."""
        assert self.pair
        return traces.of_pair(self.pair)

    def account(self) -> tuple[str, ...]:
        """What tells the application's account on MariaDB's new server: it stays there, without a
        right, when the database that it was made for is removed."""
        assert self.pair
        user = self.databases[Side.OLD].user
        return (f"('{user}', '%'",) if self.pair.kind == "mysql" else ()

    def left(self, before: Mapping[Side, traces.Traces], *but: str) -> dict[str, Any]:
        """How both servers' catalogues differ from before; of the new side's without what has one
        of ``but`` in it.

        A process that watches for us may take a moment to end; so this waits a little."""
        until = time.monotonic() + 60
        while True:
            found = traces.differences(before, self.stand(), but=but)
            if not found or time.monotonic() > until:
                return found
            time.sleep(0.3)

    def between(self) -> Address:
        """Where the changes go on their way: PostgreSQL's new server asks the old one for them,
        those of MariaDB are read by Crossfade and written to the new server."""
        assert self.pair
        return self.pair.old.address if self.pair.kind == "postgres" else self.pair.new.address

    def go_through(self, wire: Address) -> None:
        """Say in the manifest that this way leads through a wire."""
        self.wire = wire
        self.write_manifest()

    def _databases_of(self, side: Side, indent: str = "  ") -> str:
        """The manifest's lines for a side's database on a server."""
        if not self.pair:
            return ""
        there = self.databases[side]
        server = next(s for s in (self.pair.old, self.pair.new) if s.address == there.address)
        scheme = "postgresql" if self.pair.kind == "postgres" else "mysql"
        user, name = quote(there.user, safe=""), quote(there.database, safe="")
        values = {
            "url": f"{scheme}://{user}@{there.address}/{name}",
            "admin": server.admin,
            "admin_password": f"file:{server.secret_of(server.admin)}",
        }
        if side is Side.OLD:
            owner = next(
                s for s in (self.pair.old, self.pair.new) if s.secret_of(there.user).exists()
            )
            values["password"] = f"file:{owner.secret_of(there.user)}"
        if self.wire and self.pair.kind == "postgres" and side is Side.OLD:
            values["reached_at"] = str(self.wire)
        if self.wire and self.pair.kind == "mysql" and side is Side.NEW:
            values["url"] = f"{scheme}://{user}@{self.wire}/{name}"
        return f"{indent}databases:\n{indent}  main: {json.dumps(values, ensure_ascii=False)}\n"

    def next_upgrade(self) -> None:
        """From 2.0, which serves and is now the old side, to 3.0."""
        make_wheel(self.directory / "app3-wheel", "3.0")
        self.old, self.data = self.new, self.directory / "new"
        (port,) = free_ports(1)
        self.new = Address("127.0.0.1", port)
        if self.pair:
            now = self.databases[Side.NEW]
            self.pair = servers.Pair(self.pair.kind, old=self.pair.new, new=self.pair.old)
            then = self.pair.new.endpoint(f"{now.user} 3", user=now.user)
            self.databases = {Side.OLD: now, Side.NEW: then}
        text = self.manifest.read_text(encoding="utf-8")
        before, _, after = text.partition("traffic:")
        d = self.directory
        self.manifest.write_text(
            before.partition("old:")[0] + f"old:\n  version: '2.0'\n  root: {d}/app2\n"
            f"  data: {self.data}\n  address: {self.old}\n{self._databases_of(Side.OLD)}"
            f"new:\n  version: '3.0'\n  root: {d}/app3\n  data: {d}/new3\n"
            f"  address: {self.new}\n{self._databases_of(Side.NEW)}"
            f"  rehearsal: {{address: '{self.rehearsal}', data: {d}/try}}\ntraffic:{after}",
            encoding="utf-8",
        )

    def write_manifest(
        self,
        *,
        broken: str = "",
        limits: Mapping[str, float] | None = None,
        extra: str = "",
    ) -> None:
        """Write crossfade.yaml; ``broken`` is how the new version fails."""
        d = self.directory
        given = {"max_pause": 30, "watch": 0.2, "lease": 2, **(limits or {})}
        service = f"  service:\n    environment: {{NOTES_BREAK: '{broken}'}}\n" if broken else ""
        self.manifest.write_text(
            f"application: {self.recipe}\n"
            f"state: {d}/state\n"
            f"old:\n  version: '1.0'\n  root: {d}/app1\n  data: {self.data}\n"
            f"  address: {self.old}\n{self._databases_of(Side.OLD)}"
            f"new:\n  version: '2.0'\n  root: {d}/app2\n  data: {d}/new\n"
            f"  address: {self.new}\n{self._databases_of(Side.NEW)}{service}"
            f"  rehearsal: {{address: '{self.rehearsal}', data: {d}/try}}\n"
            f"traffic: {{listen: '{self.gate}'}}\n"
            f"limits: {json.dumps(given)}\n{extra}",
            encoding="utf-8",
        )

    def check(self, script: str) -> str:
        """A check of the site's own for ``write_manifest(extra=…)``: a shell script whose first
        argument is ``rehearsal`` or ``cutover``, and whose parent is Crossfade itself."""
        path = self.directory / "check.sh"
        path.write_text(
            f'#!/bin/sh\n[ "$1" = {self.rehearsal.port} ] && set rehearsal || set cutover\n'
            f"{script}\n",
            encoding="utf-8",
        )
        path.chmod(0o755)
        return f'checks: [{{name: the site says so, command: [{path}, "{{port}}"]}}]\n'

    def wired(self) -> WiredSite:
        """The site as the command line opens it."""
        return open_site(self.manifest)

    def start(self) -> None:
        """Start the old side and the gate."""
        old = self.wired().side(self.wired().manifest.old, Side.OLD)
        old.service.start()
        eventually(lambda: old.health.run().holds)
        self.run("gate", "start", "--yes")

    def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        ok: bool = True,
        timeout: float = 300,
        before: Sequence[str] = (),
    ) -> Result:
        """Run ``crossfade WORDS`` to its end."""
        process = self.popen(*words, env=env, before=before)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{words} did not end:\n{err}") from None
        result = Result(process.returncode, out, err)
        if ok:
            assert result.code == 0, f"{words} ended with {result.code}:\n{out}\n{err}"
        return result

    def popen(
        self, *words: str, env: Mapping[str, str] | None = None, before: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start ``crossfade WORDS``; ``before`` are words to run it with, such as setpriv's."""
        verb, *rest = words
        return subprocess.Popen(
            (*before, sys.executable, "-m", "crossfade", verb, *rest, "-f", str(self.manifest)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )

    def ask(self, path: str, address: Address | None = None) -> tuple[int, Any]:
        """GET a path from the gate (or another address)."""
        to = address or self.gate
        connection = http.client.HTTPConnection(to.host, to.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def version(self, address: Address | None = None) -> str:
        """The version that answers."""
        status, body = self.ask("/version", address)
        assert status == 200
        return str(body["version"])

    def close(self) -> None:
        """End everything that was started."""
        site = self.wired()
        manifest = site.manifest
        for spec in (manifest.old, manifest.new, manifest.rehearsal):
            site.side(spec, Side.NEW).service.stop(3)  # found by its mark, whichever side it is
        site.traffic.stop()
        site.journal.close()
        self._end_watchers()
        if self.pair:
            traces.sweep(self.pair, self.databases[Side.OLD].user)

    def _end_watchers(self) -> None:
        """End who looks after the feeds, which would go on until the upgrade is retired."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and str(self.directory / "state" / "upgrades") in " ".join(
                procfs.command_of(int(entry.name))
            ):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGTERM)


def tree_bytes(root: Path) -> dict[str, str]:
    """Every file below ``root`` with a digest of its bytes."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def eventually(condition: Any, timeout: float = 60.0) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


@contextlib.contextmanager
def site_at(directory: Path, **given: Any) -> Iterator[Site]:
    """A started site that is closed in the end."""
    site = Site(directory, **given)
    try:
        site.start()
        yield site
    finally:
        site.close()
