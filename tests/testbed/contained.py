"""A site of the Notes application that goes into a container, from one or from a machine."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.testbed.engine import LABEL, Engine
from tests.testbed.far import FarSite
from tests.testbed.machines import Machine
from tests.testbed.site import HERE, eventually

from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_ports

__all__ = ["INSIDE", "ContainedSite", "app_image", "contained_site_at"]

INSIDE = 8008
"""The port that the program listens at in its container."""
DATA = Path("/srv/notes/data")
ROOT = Path("/opt/notes")
_RECIPE = f"""\
FROM {{base}}
COPY notes.py /notes.py
RUN useradd --system --user-group notes && python3 -m venv --without-pip {ROOT} \\
 && mv /notes.py {ROOT}/lib/python3.11/site-packages/notes.py
USER notes
ENTRYPOINT ["{ROOT}/bin/python", "-m", "notes"]
CMD ["-c", "{DATA}/notes.yaml"]
"""


def app_image(engine: Engine, version: str) -> str:
    """An image of a version of the application, as somebody publishes it."""
    tag = f"notes:{version}"
    source = (HERE / "notes.py").read_text(encoding="utf-8").replace("@VERSION@", version)
    files = {"notes.py": source, "Dockerfile": _RECIPE.format(base=engine.machine_image())}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    engine.docker("build", "--quiet", "--tag", tag, "-", stdin=packed.getvalue())
    return tag


class ContainedSite(FarSite):
    """As ``FarSite``; the new side is a container at ``engine``, and so is the old one, unless it
    is on the machine ``old``, or ``here``: on this one."""

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        old: Machine | None,
        *,
        here: bool = False,
        **given: Any,
    ) -> None:
        self.engine, self.contained = engine, old is None and not here
        self.name = f"notes-{os.getpid()}-{directory.name}"
        self.images = {version: app_image(engine, version) for version in ("1.0", "2.0")}
        super().__init__(directory, old, None, **given)

    def _make_old(self, journal: str, notes: int, uploads: int) -> None:
        self.new, self.rehearsal = (Address("127.0.0.1", port) for port in free_ports(2))
        if not self.contained:
            super()._make_old(journal, notes, uploads)
            return
        self.old = Address("127.0.0.1", free_ports(1)[0])
        self.data = DATA
        volume = f"{self.name}-data"
        self.engine.docker("volume", "create", "--label", LABEL, volume)
        self._create(volume)
        settings = (
            f"listen: 0.0.0.0:{INSIDE}\n{self._database_settings(journal)}"
            f"uploads: {DATA}/uploads\nsecret_key: planted-secret-4711\n"
        )
        with tempfile.TemporaryDirectory() as place:
            tree = Path(place)
            (tree / "notes.yaml").write_text(settings)
            (tree / "uploads").mkdir()
            for number in range(uploads):
                (tree / "uploads" / f"file-{number}").write_bytes(os.urandom(2000 + number))
            with contextlib.closing(sqlite3.connect(tree / "notes.db")) as db:
                db.execute("create table note (id text primary key, text text not null)")
                rows = [(f"n{i}", f"text {i}") for i in range(notes)]
                db.executemany("insert into note values (?, ?)", rows)
                db.commit()
            self._into_volume(volume, tree)

    def _create(self, volume: str) -> None:
        """Make the old container, which has the volume."""
        self.engine.docker(
            *("create", "--label", LABEL, "--name", self.name, "--volume", f"{volume}:{DATA}"),
            *("--publish", f"{self.old}:{INSIDE}", "--env", "NOTES_COLOUR=blue"),
            *("--restart", "unless-stopped", "--memory", "512m", self.images["1.0"]),
        )

    def containers(self) -> Mapping[Side, str]:
        """What the containers of both sides are called."""
        return {Side.OLD: self.name, Side.NEW: f"{self.name}-2"}

    def after_retire(self) -> dict[str, set[str]]:
        """What the engine has of this site when the old side is gone."""
        new = self.containers()[Side.NEW]
        kept = f"{self.name}-data" if self.contained else "data"
        return {"containers": {new}, "volumes": {f"{new}-{kept}"}, "networks": set()}

    def _into_volume(self, volume: str, tree: Path) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(tree, ".")
        script = f"tar -x -C {DATA} --no-same-owner && chown -R notes: {DATA}"
        self.engine.docker(
            *("run", "--rm", "-i", "--user", "0", "--volume", f"{volume}:{DATA}"),
            *("--entrypoint", "sh", self.images["1.0"], "-c", script),
            stdin=packed.getvalue(),
        )

    def _side(
        self, side: Side, version: str, root: str, data: str, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        if side is Side.OLD and not self.contained:
            return super()._side(side, version, root, data, environment)
        host: dict[str, Any] = {
            "docker": self.containers()[side],
            "socket": str(self.engine.socket),
            "listens": f"0.0.0.0:{INSIDE}",
        }
        said: dict[str, Any] = {
            "version": version,
            "host": host,
            "root": str(ROOT),
            "data": str(DATA),
            "address": str(self.old if side is Side.OLD else self.new),
            "service": {"environment": dict(environment)},
        }
        if side is Side.NEW:
            host["image"] = self.images[version]
            said["rehearsal"] = {"address": str(self.rehearsal)}
            if not self.contained:
                said["service"]["user"] = "notes"
        return said

    def start(self) -> None:
        """Start the old side and the gate."""
        if not self.contained:
            super().start()
            return
        self.engine.docker("start", self.containers()[Side.OLD])
        eventually(
            lambda: self.wired().side(self.wired().manifest.old, Side.OLD).health.run().holds
        )
        self.run("gate", "start", "--yes")

    def close(self) -> None:
        """End everything that was started here, and remove what the engine has of it."""
        site = self.wired()
        site.traffic.stop()
        if self.machines[Side.OLD]:
            self._wipe(Side.OLD)
        elif not self.contained:
            site.side(site.manifest.old, Side.OLD).service.stop(3)
        site.journal.close()
        self._end_watchers()
        docker = self.engine.docker
        kinds = (("container", ("--force", "--volumes")), ("volume", ("--force",)), ("network", ()))
        for kind, more in kinds:
            mine = ("--format", "{{.Names}}" if kind == "container" else "{{.Name}}")
            every = ("--all",) if kind == "container" else ()
            names = docker(kind, "ls", *every, *mine).split()
            for name in names:
                if self.name in name:
                    # a helper, of a run that was killed
                    having = ("--all", "--quiet", "--filter", f"volume={name}")
                    for user in docker("ps", *having).split() if kind == "volume" else ():
                        docker("rm", "--force", user)
                    docker(kind, "rm", *more, name)


@contextlib.contextmanager
def contained_site_at(
    directory: Path, engine: Engine, old: Machine | None = None, **given: Any
) -> Iterator[ContainedSite]:
    """A started site that is closed in the end."""
    site = ContainedSite(directory, engine, old, **given)
    try:
        site.start()
        yield site
    finally:
        with contextlib.suppress(FileNotFoundError):
            site.close()
        shutil.rmtree(directory, ignore_errors=True)
