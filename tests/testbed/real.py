"""Sites of real applications, whose sides are here, on machines or in containers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import yaml
from tests.testbed.engine import GATEWAY, LABEL, Engine
from tests.testbed.machines import Machine
from tests.testbed.site import Site, eventually

from crossfade.demo.servers import manifest_entry
from crossfade.demo.subject import Ground, Subject
from crossfade.drivers.hosts.docker import DockerHost
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.drivers.installs.python import PythonInstall, uv_program
from crossfade.engine.work import Silent
from crossfade.model import Address, Endpoint, Side
from crossfade.testing.free_ports import free_ports
from crossfade.testing.servers import MariadbServer

__all__ = ["APPS", "App", "RealSite", "Where", "app_image", "real_site_at"]

Where = Machine | Literal["here", "container", "compose"]
INSIDE = 8008
"""The port that a program listens at in its container."""


@dataclass(frozen=True, slots=True)
class App:
    """How somebody runs an application: what a unit runs, what a container runs (both begin with a
    program of its environment), and the newer version's requirements, of which an image is made."""

    unit: str
    inside: tuple[str, ...]
    new_packages: tuple[str, ...]


_SYNAPSE = ("python", "-m", "synapse.app.homeserver", "-c")
APPS: Mapping[str, App] = {
    "synapse": App(
        " ".join((*_SYNAPSE, "/srv/synapse/old/homeserver.yaml")),
        (*_SYNAPSE, "/srv/synapse/data/homeserver.yaml"),
        ("matrix-synapse==1.163.2", "psycopg2-binary"),
    ),
    "mlflow": App(
        "",
        ("mlflow", "server", "--host", "0.0.0.0", "--port", str(INSIDE)),
        ("mlflow==3.17.2", "psycopg2-binary", "PyMySQL", "sqlalchemy<2.1"),
    ),
}


_MAKE = """\
set -e
name=$1 root=$2
shift 2
export UV_NO_CACHE=1 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
useradd --system --user-group "$name"
install -d -o "$name" -g "$name" "/srv/$name" "/srv/$name/data"
/mnt/uv venv --quiet --python python3 "$root"
exec /mnt/uv pip install --quiet --compile-bytecode --python "$root/bin/python" "$@"
"""


def app_image(engine: Engine, subject: Subject, side: Side) -> str:
    """An image of one version of an application at /opt/<its name>, made once; a machine's, too."""
    name, app = subject.application, APPS[subject.application]
    version, packages = subject.new_version, app.new_packages
    if side is Side.OLD:
        version = subject.old_version
        packages = ("--exclude-newer", subject.exclude_newer, *subject.packages)
    root = Path("/opt") / name
    program, *rest = app.inside
    entry = json.dumps([f"{root}/bin/{program}", *rest])
    base = engine.machine_image()
    recipe = repr((base, _MAKE, packages, entry))
    tag = f"crossfade-{name}:{version}-{sha256(recipe.encode()).hexdigest()[:12]}"
    if engine.docker("images", "-q", tag).strip():
        return tag
    made = f"{name}-made-{token_hex(4)}"
    mounts = ((uv_program(), "/mnt/uv"), ("/etc/ssl/certs", "/etc/ssl/certs"))
    try:
        engine.docker(
            *("run", "--name", made, "--label", LABEL, "--network=host"),
            *(word for here, there in mounts for word in ("--volume", f"{here}:{there}:ro")),
            *(base, "sh", "-c", _MAKE, "sh", name, str(root), *packages),
        )
        changes = ("--change", f"ENTRYPOINT {entry}", "--change", "CMD []")
        engine.docker("commit", *changes, made, tag)
    finally:
        engine.docker("rm", "--force", made)
    return tag


class _Reachable(MariadbServer):
    """A server where containers reach it; its superuser comes from there as well."""

    def _write_first_words(self, password: str) -> None:
        super()._write_first_words(password)
        more = (
            "create user root@'%' identified via mysql_native_password"
            f" using password('{password}');\n"
            "grant all on *.* to root@'%' with grant option;\n"
        )
        self.write_private(self._first_words, self._first_words.read_text() + more)


class RealSite(Site):
    """A site whose old side runs and has data in it; ``close`` ends and removes all of it.

    A machine is one of an image of the old version."""

    def __init__(
        self, directory: Path, subject: Subject, engine: Engine, old: Where, new: Where
    ) -> None:
        self.directory, self.subject, self.engine = directory, subject, engine
        self.where = {Side.OLD: old, Side.NEW: new}
        self.name = f"{subject.application}-{os.getpid()}-{token_hex(3)}"
        self.home = Path("/srv") / subject.application
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        ports = iter(free_ports(4))
        self.old, self.new, self.rehearsal, self.gate = (
            Address(self._ip(side), next(ports)) for side in ("old", "new", "new", "")
        )
        self.pair, self.manifest = None, directory / "crossfade.yaml"
        self.traffic: dict[str, Any] = {"listen": str(self.gate)}
        self.everywhere = False  # whether the old side listens at every address
        self.workers = 1  # of the old MLflow; each serves one request at a time
        self.new_workers = ""  # of the new one, instead of the recipe's; each loads all of MLflow
        self.servers: dict[Side, _Reachable] = {}
        self.endpoints: dict[Side, Endpoint] = {}
        self.images = {
            side: app_image(engine, subject, side)
            for side, where in self.where.items()
            if where in ("container", "compose")
        }
        if subject.application == "mlflow":
            self._make_servers()

    def _ip(self, side: str) -> str:
        where = self.where[Side(side)] if side else None
        return where.address if isinstance(where, Machine) else "127.0.0.1"

    def _make_servers(self) -> None:
        """A MariaDB server for each side, where containers and this machine reach it."""
        settings = {
            "log_bin": "binlog",
            "binlog_format": "ROW",
            "log_bin_trust_function_creators": "1",
        }
        for side in Side:
            server = _Reachable(self.directory / f"server-{side}", settings=settings)
            server.address = Address(GATEWAY, server.address.port)
            self.servers[side] = server
            server.start()
        self.endpoints = {
            Side.OLD: self.servers[Side.OLD].create("mlflow", user="mlflow"),
            Side.NEW: self.servers[Side.NEW].endpoint("mlflow", user="mlflow"),
        }

    @property
    def containers(self) -> dict[Side, str]:
        """What the containers are called: by Compose of version 1 the old one."""
        if self.where[Side.OLD] == "compose":
            return {Side.OLD: f"{self.name}_web_1", Side.NEW: f"{self.name}-2-web"}
        return {Side.OLD: self.name, Side.NEW: f"{self.name}-2"}

    # -- the old side --

    @property
    def _listens(self) -> Address:
        return Address("0.0.0.0", self.old.port) if self.everywhere else self.old

    def start(self) -> None:
        """Make, start and fill the old side; start the gate."""
        self.write_manifest([])
        ground = self._stand_up()
        old = self.wired().side(self.wired().manifest.old, Side.OLD)
        eventually(lambda: old.health.run().holds, timeout=240)
        self.subject.fill(replace(ground, address=self.old), Silent())
        self.write_manifest(self.subject.checks(self.directory))
        self.run("gate", "install" if "driver" in self.traffic else "start", "--yes")

    def _stand_up(self) -> Ground:
        where, subject = self.where[Side.OLD], self.subject
        if where == "here":
            root, data = self.directory / "app1", self.directory / "old"
            PythonInstall(
                LocalHost(), root, subject.packages, exclude_newer=subject.exclude_newer
            ).install()
            ground = Ground(root, data, self._listens)
            subject.configure(ground)
            self.wired().side(self.wired().manifest.old, Side.OLD).service.start()
            return ground
        if isinstance(where, Machine):
            host = SshHost(where.name, config=where.config)
            ground = Ground(self._root(Side.OLD), self.home / "old", self.old, host=host)
            subject.configure(ground)
            self._start_unit(host)
            return ground
        return self._make_container(compose=where == "compose")

    def _start_unit(self, host: SshHost) -> None:
        name = self.subject.application
        unit = (
            f"[Unit]\nDescription={self.subject.title}\nAfter=network.target\n\n[Service]\n"
            f"User={name}\nWorkingDirectory={self.home}/old\n"
            f"ExecStart={self._root(Side.OLD)}/bin/{APPS[name].unit}\nRestart=on-failure\n\n"
            "[Install]\nWantedBy=multi-user.target\n"
        )
        host.run(("chown", "-R", f"{name}:", str(self.home / "old")))
        host.write(Path(f"/etc/systemd/system/{name}.service"), unit.encode(), mode=0o644)
        host.run(("systemctl", "daemon-reload"))
        host.run(("systemctl", "enable", "--now", "--quiet", f"{name}.service"))

    def _make_container(self, *, compose: bool) -> Ground:
        name, volume, image = self.subject.application, f"{self.name}-data", self.images[Side.OLD]
        docker, data = self.engine.docker, self.home / "data"
        docker("volume", "create", "--label", LABEL, volume)
        mount = ("--volume", f"{volume}:{data}")
        made = f"{self.name}-made"
        docker(
            *("run", "--detach", "--label", LABEL, "--name", made, *mount, "--entrypoint", "sleep"),
            *(image, "600"),
        )
        inside = Address("0.0.0.0", INSIDE)
        host = DockerHost(made, socket=str(self.engine.socket))
        ground = Ground(self._root(Side.OLD), data, inside, host=host)
        self.subject.configure(ground)
        host.close()
        docker("exec", made, "chown", "-R", f"{name}:", str(data))
        docker("rm", "--force", made)
        environment = self._environment()
        old = self.containers[Side.OLD]
        if compose:
            self._compose_up(volume, environment)
        else:
            docker(
                *("run", "--detach", "--label", LABEL, "--name", old, *mount, "--user", name),
                *("--publish", f"{self._listens}:{INSIDE}", "--restart", "unless-stopped"),
                *(
                    word
                    for key, value in environment.items()
                    for word in ("--env", f"{key}={value}")
                ),
                image,
            )
        return replace(ground, host=DockerHost(old, socket=str(self.engine.socket)))

    def _environment(self) -> dict[str, str]:
        """What the old container is told by its operator."""
        if not self.endpoints:
            return {}
        there = self.endpoints[Side.OLD]
        password = self.servers[Side.OLD].password_of(there.user)
        return {
            "PATH": f"{self._root(Side.OLD)}/bin:/usr/local/bin:/usr/bin:/bin",
            "MLFLOW_BACKEND_STORE_URI": (
                f"mysql+pymysql://{there.user}:{password}@{there.address}/{there.database}"
            ),
            "MLFLOW_SERVE_ARTIFACTS": "true",
            "MLFLOW_ARTIFACTS_DESTINATION": f"{self.home}/data/artifacts",
            "MLFLOW_WORKERS": str(self.workers),
        }

    def _compose_up(self, volume: str, environment: Mapping[str, str]) -> None:
        name = self.subject.application
        web = {
            "image": self.images[Side.OLD],
            "labels": {LABEL: ""},
            "user": name,
            "ports": [f"{self.old}:{INSIDE}"],
            "environment": {key: value.replace("$", "$$") for key, value in environment.items()},
            "volumes": [f"data:{self.home}/data"],
            "restart": "unless-stopped",
        }
        volumes = {"data": {"external": True, "name": volume}}
        project = self.directory / "project"
        project.mkdir()
        described = {"version": "2.4", "services": {"web": web}, "volumes": volumes}
        (project / "docker-compose.yml").write_text(yaml.safe_dump(described))
        subprocess.run(
            ("docker-compose", "-p", self.name, "up", "--detach"),
            cwd=project,
            env={**os.environ, "DOCKER_HOST": f"unix://{self.engine.socket}"},
            capture_output=True,
            check=True,
        )

    # -- the manifest --

    def _root(self, side: Side) -> Path:
        if side is Side.OLD or not isinstance(self.where[side], Machine):
            return Path("/opt") / self.subject.application
        return self.home / "app2"

    def write_manifest(self, checks: list[Mapping[str, Any]]) -> None:  # type: ignore[override]
        """Write crossfade.yaml, with the site's own checks."""
        lines = {
            "application": self.subject.application,
            "state": str(self.directory / "state"),
            "old": self._side(Side.OLD),
            "new": self._side(Side.NEW),
            "traffic": self.traffic,
            "limits": {"max_pause": self.subject.max_pause, "watch": 3},
            "checks": checks,
        }
        self.manifest.write_text(json.dumps(lines, indent=2), encoding="utf-8")

    def _side(self, side: Side) -> dict[str, Any]:
        subject, where, new = self.subject, self.where[side], side is Side.NEW
        said: dict[str, Any] = {
            "version": subject.new_version if new else subject.old_version,
            "address": str(self.new if new else self.old),
        }
        rehearsal: dict[str, Any] = {"address": str(self.rehearsal)}
        if where == "here":
            said |= {"root": str(self.directory / "app1"), "data": str(self.directory / "old")}
        elif isinstance(where, Machine):
            said |= {"root": str(self._root(side)), "data": str(self.home / str(side))}
            said["host"] = {"ssh": where.name, "config": str(where.config)}
            rehearsal["data"] = str(self.home / "try")
        else:
            said |= {"root": str(self._root(side)), "data": str(self.home / "data")}
            said["host"] = {
                "docker": self.containers[side],
                "socket": str(self.engine.socket),
                "listens": f"0.0.0.0:{INSIDE}",
            }
        if new:
            said["rehearsal"] = rehearsal
            if where in ("container", "compose"):
                said["host"]["image"] = self.images[side]
            if where == "compose":
                said["host"]["compose"] = f"{self.name}-2"
            if self.where[Side.OLD] == "here" or not isinstance(where, Machine):
                said["service"] = {"user": subject.application}
            if self.new_workers:
                said["service"]["environment"] = {"MLFLOW_WORKERS": self.new_workers}
        if side in self.endpoints:
            said["databases"] = {"main": self._database(side)}
        return said

    def _database(self, side: Side) -> dict[str, Any]:
        entry = manifest_entry(self.servers[side], self.endpoints[side])
        if side is Side.OLD:
            secret = self.servers[side].secret_of(self.endpoints[side].user)
            entry["password"] = f"file:{secret}"
        return entry

    # -- what is there --

    def standing(self) -> dict[str, set[str]]:
        """What the engine has of this site."""
        lists = {
            "containers": ("ps", "--all", "--format", "{{.Names}}"),
            "volumes": ("volume", "ls", "--format", "{{.Name}}"),
            "networks": ("network", "ls", "--format", "{{.Name}}"),
        }
        return {
            kind: {name for name in self.engine.docker(*words).split() if self.name in name}
            for kind, words in lists.items()
        }

    def close(self) -> None:
        """End and remove everything but the machines."""
        if self.manifest.exists():
            site = self.wired()
            site.traffic.stop()
            if self.where[Side.OLD] == "here":
                site.side(site.manifest.old, Side.OLD).service.stop(5)
            site.journal.close()
        self._end_watchers()
        for server in self.servers.values():
            server.close()
        docker, standing = self.engine.docker, self.standing()
        for volume in standing["volumes"]:
            standing["containers"] |= set(
                docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").split()
            )
        for name in standing["containers"]:
            docker("rm", "--force", "--volumes", name, ok=(0, 1))
        for kind in ("volumes", "networks"):
            for name in standing[kind]:
                docker(kind.removesuffix("s"), "rm", name, ok=(0, 1))


@contextlib.contextmanager
def real_site_at(
    directory: Path, subject: Subject, engine: Engine, old: Where, new: Where
) -> Iterator[RealSite]:
    """A site with a filled old side and a gate, closed in the end."""
    site = RealSite(directory, subject, engine, old, new)
    try:
        site.start()
        yield site
    finally:
        site.close()
        shutil.rmtree(directory, ignore_errors=True)
