"""A Synapse on PostgreSQL 15 that was filled and grown once, with an empty PostgreSQL 17 beside it,
and can be had again and again as it was then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks._growth import grow_postgres
from benchmarks._synapse import WATCH, Filled, Question, Said, asks, wait_until

import crossfade.recipes
from crossfade.demo.place import Place
from crossfade.demo.synapse import Synapse
from crossfade.model import Side
from crossfade.testing.servers import PostgresServer, fetch_majors

__all__ = ["FilledOnPostgres"]

MAJORS = {Side.OLD: 15, Side.NEW: 17}
SETTINGS = {"wal_level": "logical", "shared_buffers": "512MB", "max_wal_size": "4GB"}
TREES = ("synapse-data", "postgres-old", "postgres-new")
OF_A_ROUND = (*TREES, "state", "synapse-data-new", "rehearsal")


class _TwoMajors(Place):
    """The demo's place, whose servers are of two majors."""

    def _make_servers(self) -> None:
        self.servers = {side: self.server(side) for side in Side}
        for server in self.servers.values():
            server.start()
        self.endpoints = {
            Side.OLD: self.servers[Side.OLD].create("synapse", user="synapse"),
            Side.NEW: self.servers[Side.NEW].endpoint("synapse", user="synapse"),
        }

    def server(self, side: Side) -> PostgresServer:
        """A side's server."""
        return PostgresServer(
            self.directory / f"postgres-{side}",
            MAJORS[side],
            settings=SETTINGS,
            durable=True,
            initdb=("--locale=C",),
        )


class FilledOnPostgres(Filled):
    """``Filled``, with its database on a server.  size is the old database's in bytes."""

    place: _TwoMajors

    def __init__(self, directory: Path) -> None:
        self.synapse = Synapse(0)
        self.place = _TwoMajors(directory / "site", self.synapse, "postgres", Said())
        self.kept = directory / "kept"
        self.size = 0

    def build(self, *, rooms: int = 1) -> None:
        """Install, fill, clone the rooms, stop, keep."""
        place = self.place
        fetch_majors(sorted(MAJORS.values()))
        place.clear()
        try:
            place.build(broken=False)
            place.teller.say(f"installing Synapse {self.synapse.new_version}")
            site = place.site()
            site.side(site.manifest.new, Side.NEW).install.install()
            site.side(site.manifest.old, Side.OLD).service.stop(30)
            place.teller.say(f"cloning rooms {rooms} times")
            with place.server(Side.OLD).connect("synapse") as db:
                grow_postgres(db, rooms=rooms)
                self.size = int(db.execute("select pg_database_size('synapse')").fetchall()[0][0])
        finally:
            self.stop()
        check = json.loads(place.manifest.read_text(encoding="utf-8"))["checks"][0]
        self.question = Question(check["path"], self.user.token, check["equals"])
        self.kept.mkdir(mode=0o755)
        for tree in TREES:
            _copy(place.directory / tree, self.kept / tree)

    def hold_starts(self, held: bool) -> None:
        """Whether a recipe of our own has the new version started before the pause."""
        recipe = Path(crossfade.recipes.__file__).with_name("synapse.yaml")
        own = self.place.directory / "synapse.yaml"
        word = f"service:\n  held_start: {str(held).lower()}\n"
        own.write_text(recipe.read_text(encoding="utf-8").replace("service:\n", word, 1), "utf-8")
        manifest = json.loads(self.place.manifest.read_text(encoding="utf-8"))
        manifest["application"] = str(own)
        manifest["limits"]["watch"] = WATCH
        self.place.manifest.write_text(json.dumps(manifest, indent=2), encoding="utf-8")

    def reset(self) -> None:
        """Both servers and the old side's files as they were when full, running."""
        place = self.place
        for name in OF_A_ROUND:
            shutil.rmtree(place.directory / name, ignore_errors=True)
        for tree in TREES:
            _copy(self.kept / tree, place.directory / tree)
        os.sync()  # what was copied here shall not be written out inside somebody's pause
        for side in Side:
            place.server(side).start()
        site = place.site()
        site.side(site.manifest.old, Side.OLD).service.start()
        wait_until(lambda: asks(self.question, place.old), 120)
        site.journal.close()


def _copy(source: Path, target: Path) -> None:
    subprocess.run(("cp", "-a", source, target), check=True)
