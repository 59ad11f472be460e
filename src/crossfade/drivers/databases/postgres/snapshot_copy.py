"""Copies one snapshot of the old database to the new one: the base of every strategy.

``prepare`` begins anew each time, so that it can be repeated after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from psycopg import sql

from crossfade.drivers.databases.postgres import large_objects
from crossfade.drivers.databases.postgres.catalog import schema_fingerprint
from crossfade.drivers.databases.postgres.connect import connect, explained, run
from crossfade.drivers.databases.postgres.copying import Copied, copy_data, default_jobs
from crossfade.drivers.databases.postgres.digests import digest_tables
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.pace import Pace, pace_of
from crossfade.drivers.databases.postgres.place import make_database
from crossfade.drivers.databases.postgres.properties import carry_properties, read_properties
from crossfade.drivers.databases.postgres.roles import carry_roles, read_roles
from crossfade.drivers.databases.postgres.schema import after_rows, before_rows, dump_schema
from crossfade.drivers.databases.postgres.snapshot import use_snapshot
from crossfade.model import Digest, Endpoint
from crossfade.ports import Doing, Progress

__all__ = ["SnapshotCopy"]

_MEMORY = 256 << 20  # bytes for sorting, for each index that is built


class SnapshotCopy:
    """A copy of what ``inventory`` lists, from ``old`` to ``new``.

    directory is the attempt's own place; tag marks what we make on the new server.  jobs is how
    many tables (and indexes) at a time; rate is bytes a second, or None: bends to the old side.
    """

    def __init__(
        self,
        name: str,
        old: Endpoint,
        new: Endpoint,
        directory: Path,
        tag: str,
        inventory: Inventory,
        *,
        jobs: int | None = None,
        rate: float | None = None,
    ) -> None:
        self.name, self.old, self.new = name, old, new
        self.dump = directory / f"{quote(name, safe=' ')}-schema.dump"
        self.tag, self.inventory = tag, inventory
        self.jobs, self.rate = jobs or default_jobs(), rate
        self.copied: Copied | None = None
        self.unknown_settings: tuple[str, ...] = ()

    def prepare(self, snapshot: str | None, on: Doing) -> None:
        """The new database stands, is ours and has every table of the old one, but no rows.

        The schema is that of now, or that of an exported snapshot."""
        with on.timed(f"schema {self.name}"):
            dump_schema(self.old, self.inventory.version, self.dump, snapshot=snapshot)
            self.make_place()
            before_rows(self.new, self.new_version, self.dump, ours=self.tag)

    def pace(self) -> AbstractContextManager[Pace]:
        """How fast to read the old side, watched as long as the context lasts."""
        return pace_of(self.old, self.rate)

    def copy(self, snapshot: str, on: Doing, pace: Pace | None = None) -> None:
        """All rows and large objects of the snapshot, without indexes and constraints.

        Without a pace it has one of its own."""
        total = sum(table.bytes for table in self.inventory.with_data)
        with (
            on.timed(f"copy {self.name}"),
            on.progress(f"copying {self.name}") as progress,
            nullcontext(pace) if pace else self.pace() as reading,
        ):
            self.copied = copy_data(
                self.old,
                self.new,
                self.inventory,
                snapshot,
                reading,
                new_version=self.new_version,
                jobs=self.jobs,
                told=_counted(progress, total),
            )
            if self.inventory.large_objects:
                large_objects.copy(self.old, self.new, self.inventory.version, snapshot)

    def finish(self, on: Doing, pace: Pace | None = None) -> None:
        """Indexes, constraints, triggers; then owner, grants and settings of the database."""
        alone = pace is None or not pace.gentle
        with on.timed(f"indexes {self.name}"):
            after_rows(
                self.new,
                self.new_version,
                self.dump,
                jobs=self.jobs if alone else 1,
                memory=_MEMORY,
                ours=self.tag,
            )
            self.give_properties()

    def make_place(self) -> None:
        """The roles that the new server lacks, and an empty database of ours.  Raises Failed."""
        with connect(self.old) as old, explained("read the roles", self.old):
            roles, memberships = read_roles(old, [*self.inventory.roles, self.old.user])
            properties = read_properties(old)
        with (
            connect(self.new, database="template1") as new,
            explained("make the roles", self.new),
        ):
            carry_roles(new, roles, memberships, self.tag)
        make_database(self.new, self.inventory, properties.owner, self.tag)

    def give_properties(self) -> None:
        """Owner, grants, settings and comment of the database as a whole.  Raises Failed.

        They come last, since a setting could stand in our own way."""
        with connect(self.old) as conn, explained("read the database's settings", self.old):
            properties = read_properties(conn)
        self.unknown_settings = carry_properties(self.new, properties, self.tag)

    def digest_old(self, snapshot: str | None, pace: Pace | None = None) -> tuple[Digest, str]:
        """All rows of the old side, and its schema's fingerprint, at a snapshot (None: now)."""
        with connect(self.old, autocommit=False) as conn, explained("read the schema", self.old):
            use_snapshot(conn, snapshot)
            fingerprint = schema_fingerprint(conn)
        return self._digest(self.old, snapshot, pace), fingerprint

    def digest_new(self, pace: Pace | None = None) -> Digest:
        """All rows of the new side now.  A fixed rate is for reading the old one."""
        return self._digest(self.new, None, pace if pace and pace.rate is None else None)

    def analyze(self, on: Doing) -> None:
        """Statistics on the new side.  Its cache is warm: every row was just read."""
        tables = [t for t in self.inventory.tables if t.kind != "foreign"]
        with on.timed(f"analyze {self.name}"):
            _in_parallel(
                self.new,
                [sql.SQL("analyze {}").format(table.sql) for table in tables]
                + [sql.SQL("analyze {}").format(sql.SQL(name)) for name in self.inventory.matviews],
                self.jobs,
            )

    @cached_property
    def new_version(self) -> int:
        """The new server's version (150018)."""
        with connect(self.new, database="template1") as conn:
            return conn.info.server_version

    def _digest(self, endpoint: Endpoint, snapshot: str | None, pace: Pace | None = None) -> Digest:
        tables = self.inventory.with_data
        digest = digest_tables(endpoint, tables, snapshot=snapshot, jobs=self.jobs, pace=pace)
        if not self.inventory.large_objects:
            return digest
        with connect(endpoint, autocommit=False) as conn:
            use_snapshot(conn, snapshot)
            with explained("compare the large objects", endpoint):
                part = large_objects.digest(conn)
        return Digest({**digest.parts, large_objects.PART: part})


def _counted(progress: Progress, total: int) -> Callable[[int], None]:
    """A counter for several threads that tells the sum."""
    lock, done = threading.Lock(), 0

    def told(size: int) -> None:
        nonlocal done
        with lock:
            done += size
            progress(done, max(total, done))

    return told


def _in_parallel(endpoint: Endpoint, statements: Sequence[sql.Composed], jobs: int) -> None:
    """Run statements, each by itself, in ``jobs`` sessions."""
    if not statements:
        return

    def work(share: Sequence[sql.Composed]) -> None:
        with connect(endpoint) as conn, explained("gather statistics", endpoint):
            for statement in share:
                run(conn, statement)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work, statements[n::jobs]) for n in range(jobs)]:
            future.result()
