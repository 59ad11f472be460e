"""An old database made of a few statements, its copy, and how psql fills it from a file."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.postgres.feeding import TAG, Doing

from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.snapshot import exported_snapshot
from crossfade.drivers.databases.postgres.snapshot_copy import SnapshotCopy
from crossfade.model import Digest, Endpoint
from crossfade.testing.servers import PostgresServer

_numbers = count()


def fill(server: PostgresServer, database: str, file: Path) -> None:
    """Run a file of SQL, each statement in a transaction of its own."""
    subprocess.run(
        [
            str(server.program("psql")),
            "-qX",
            "--set=ON_ERROR_STOP=1",
            f"--host={server.address.host}",
            f"--port={server.address.port}",
            f"--username={server.admin}",
            f"--dbname={database}",
            f"--file={file}",
        ],
        env={"PGPASSWORD": server.password_of(server.admin), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.DEVNULL,
        check=True,
    )


@dataclass
class Copy:
    """An old database, the place of its copy, and how it is copied."""

    old_server: PostgresServer
    new_server: PostgresServer
    directory: Path
    old: Endpoint
    new: Endpoint
    on: Doing = field(default_factory=Doing)

    @classmethod
    def of(
        cls,
        old: PostgresServer,
        new: PostgresServer,
        directory: Path,
        *statements: str,
        options: str = "",
        name: str = "Alt é",
    ) -> Copy:
        """Make the old database and run the statements in it."""
        number = next(_numbers)
        database = f'{name} "{number}'
        quoted = database.replace('"', '""')
        old.sql(f'create database "{quoted}" {options}')
        for statement in statements:
            old.sql(statement, database=database)
        here = old.endpoint(database, user="postgres")
        there = new.endpoint(f"Neu \\ '{number}", user="postgres")
        return cls(old, new, directory, here, there)

    def inventory(self) -> Inventory:
        """What stands in the old database."""
        with connect(self.old) as conn:
            return inspect(conn)

    def base(self, *, jobs: int = 2, rate: float | None = 1e12) -> SnapshotCopy:
        """A copy as each process makes its own."""
        return SnapshotCopy(
            "app", self.old, self.new, self.directory, TAG, self.inventory(), jobs=jobs, rate=rate
        )

    def run(self, *, jobs: int = 2, rate: float | None = 1e12) -> tuple[Digest, Digest]:
        """Copy all of it; the digests of the old side's snapshot and of the new side."""
        base = self.base(jobs=jobs, rate=rate)
        with exported_snapshot(self.old) as snapshot:
            base.prepare(snapshot, self.on)
            base.copy(snapshot, self.on)
            base.finish(self.on)
            base.analyze(self.on)
            return base.digest_old(snapshot)[0], base.digest_new()

    def on_old(self, statement: str) -> list[tuple[object, ...]]:
        """Run SQL on the old side as superuser."""
        return self.old_server.sql(statement, database=self.old.database)

    def on_new(self, statement: str) -> list[tuple[object, ...]]:
        """Run SQL on the new side as superuser."""
        return self.new_server.sql(statement, database=self.new.database)
