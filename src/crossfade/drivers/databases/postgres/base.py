"""Copies one snapshot of the old database to the new one: schema, rows, the rest, statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from crossfade.drivers.databases.postgres import place, properties, roles, schema
from crossfade.drivers.databases.postgres.catalog import schema_fingerprint
from crossfade.drivers.databases.postgres.connect import connect, explained, run
from crossfade.drivers.databases.postgres.copying import copy_data, default_jobs
from crossfade.drivers.databases.postgres.digests import digest_tables
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.snapshot import use_snapshot
from crossfade.model import Digest, Endpoint
from crossfade.ports import Doing

__all__ = ["Base", "SnapshotCopy"]

_MEMORY = 256 << 20
"""Bytes that building one index may take on the new side."""


class Base(Protocol):
    """Copies one snapshot of the old database to the new one."""

    def prepare(self, snapshot: str, on: Doing) -> None:
        """The new database stands, is ours and has every table of the old one, but no rows."""

    def copy(self, snapshot: str, on: Doing) -> None:
        """All rows of the snapshot, without indexes and constraints."""

    def finish(self, on: Doing) -> None:
        """Indexes, constraints, triggers and all else that comes after the rows."""

    def digest_old(self, snapshot: str) -> tuple[Digest, str]:
        """All rows of the old side at the snapshot, and its schema's fingerprint then."""

    def digest_new(self) -> Digest:
        """All rows of the new side now."""

    def analyze(self, on: Doing) -> None:
        """Statistics on the new side."""


class SnapshotCopy:
    """Implements ``Base``.  directory is where the dump of the schema is kept."""

    def __init__(
        self,
        name: str,
        old: Endpoint,
        new: Endpoint,
        directory: Path,
        tag: str,
        inventory: Inventory,
        *,
        rate: float | None = None,
    ) -> None:
        self.name, self.old, self.new, self.tag = name, old, new, tag
        self.inventory, self.rate = inventory, rate
        self._dump = directory / f"schema-{name}.dump"
        self._version = 0

    def prepare(self, snapshot: str, on: Doing) -> None:
        """Roles, the database, its tables.  Raises Failed."""
        with on.timed(f"schema {self.name}"):
            schema.dump_schema(self.old, self.inventory.version, self._dump, snapshot=snapshot)
            with explained("read the old side's roles", self.old), connect(self.old) as conn:
                known, members = roles.read_roles(conn, self.inventory.roles)
                whole = properties.read_properties(conn)
            with explained("carry roles over", self.new), place.maintenance(self.new) as conn:
                roles.carry_roles(conn, known, members, self.tag)
                self._version = conn.info.server_version
            place.make_database(self.new, self.inventory, whole.owner, self.tag)
            properties.carry_properties(self.new, whole, self.tag)
            schema.before_rows(self.new, self._version, self._dump, ours=self.tag)

    def copy(self, snapshot: str, on: Doing) -> None:
        """All rows, in parallel.  Raises Failed."""
        done = 0
        whole = sum(table.bytes for table in self.inventory.with_data)
        with on.timed(f"copy {self.name}"), on.progress(f"copying database {self.name}") as bar:

            def told(size: int) -> None:
                nonlocal done
                done += size
                bar(done, whole)

            copy_data(
                self.old,
                self.new,
                self.inventory,
                snapshot,
                new_version=self._version,
                rate=self.rate,
                told=told,
            )

    def finish(self, on: Doing) -> None:
        """Indexes, constraints, triggers, policies.  Raises Failed."""
        with on.timed(f"indexes {self.name}"):
            schema.after_rows(
                self.new,
                self._version,
                self._dump,
                jobs=default_jobs(),
                memory=_MEMORY,
                ours=self.tag,
            )

    def digest_old(self, snapshot: str) -> tuple[Digest, str]:
        """Rows and schema of the old side at the snapshot.  Raises Failed."""
        with explained("read the old side's schema", self.old), connect(self.old) as conn:
            use_snapshot(conn, snapshot)
            fingerprint = schema_fingerprint(conn)
            run(conn, "commit")
        return digest_tables(self.old, self.inventory.with_data, snapshot=snapshot), fingerprint

    def digest_new(self) -> Digest:
        """Rows of the new side.  Raises Failed."""
        return digest_tables(self.new, self.inventory.with_data)

    def analyze(self, on: Doing) -> None:
        """``ANALYZE``.  Raises Failed."""
        with (
            on.timed(f"statistics {self.name}"),
            explained("analyze the new database", self.new),
            connect(self.new) as conn,
        ):
            run(conn, "analyze")
