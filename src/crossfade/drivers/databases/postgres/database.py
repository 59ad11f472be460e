"""One PostgreSQL database of one side; implements ``crossfade.ports.Database``."""

from __future__ import annotations

from pathlib import Path

from crossfade.drivers.databases.postgres import fence as fences
from crossfade.drivers.databases.postgres import fence_proof, large_objects
from crossfade.drivers.databases.postgres.carrier import PostgresCarrier
from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import connect, explained, fetch, one
from crossfade.drivers.databases.postgres.digests import digest_tables
from crossfade.drivers.databases.postgres.place import remove_database
from crossfade.drivers.databases.postgres.portable import schema_part
from crossfade.drivers.databases.postgres.snapshot import exported_snapshot, use_snapshot
from crossfade.model import Digest, Endpoint, Finding
from crossfade.ports import DatabaseTraits

__all__ = ["SCHEMA", "PostgresDatabase"]

SCHEMA = "schema"
"""The name of the schema's part in a digest."""


class PostgresDatabase:
    """The PostgreSQL database at ``where``.  strategy, limit and rate are the carrier's."""

    traits = DatabaseTraits(
        strategy="stream",
        online_copy=True,
        fence="locks on all tables, held by one session of the runner",
        keeps_fence=True,
        reads_while_fenced=True,
    )

    def __init__(
        self,
        name: str,
        where: Endpoint,
        *,
        strategy: str = "",
        limit: int | None = None,
        rate: float | None = None,
    ) -> None:
        self.name, self.where = name, where
        self.strategy, self.limit, self.rate = strategy, limit, rate
        self._fence: fences.Fence | None = None

    def describe(self) -> str:
        """Kind, version and place."""
        return f"PostgreSQL {self.version()} database {self.where.database} at {self.where.address}"

    def version(self) -> str:
        """Version of the server."""
        with explained("ask for the version", self.where), connect(self.where) as conn:
            return str(one(conn, "show server_version")).split()[0]

    def size(self) -> int:
        """Bytes of tables and indexes."""
        with explained("ask for the size", self.where), connect(self.where) as conn:
            return int(one(conn, "select pg_database_size(current_database())"))

    def digest(self) -> Digest:
        """Rows and checksum of every table, of the large objects and of the schema, now."""
        with exported_snapshot(self.where) as snapshot:
            with connect(self.where, autocommit=False) as conn, explained("digest", self.where):
                use_snapshot(conn, snapshot)
                inventory = inspect(conn)
                parts = {SCHEMA: schema_part(conn)}
                if inventory.large_objects:
                    parts[large_objects.PART] = large_objects.digest(conn)
            rows = digest_tables(self.where, inventory.with_data, snapshot=snapshot)
        return Digest({**rows.parts, **parts})

    def sound(self) -> Finding:
        """What the server itself found: pages whose checksum is wrong, and broken indexes.

        It reads nothing anew; indexes that were never finished are told, but do not fail it."""
        with explained("ask for failures", self.where), connect(self.where) as conn:
            failures, indexes = fetch(conn, _FAILURES)[0]
        checked = "no page checksums" if failures is None else f"{failures} bad pages"
        return Finding(
            claim=f"{self.name} is a sound PostgreSQL database",
            expected="0 bad pages",
            observed=f"{checked}; unfinished indexes: {indexes}",
            source=f"pg_stat_database and pg_index at {self.where.address}",
            holds=not failures,
        )

    def position(self) -> str:
        """The next transaction number of the server: it changes with every commit that wrote.

        It also changes with writes to other databases of the server."""
        with explained("ask for the position", self.where), connect(self.where) as conn:
            return str(one(conn, "select txid_snapshot_xmax(txid_current_snapshot())"))

    def fence(self) -> fences.Fence:
        """Refuse writes from everybody until closed; the fence that holds, if one does."""
        if self._fence is None or not self._fence.holds:
            self._fence = fences.Fence.take(self.where)
        return self._fence

    def prove_fence(self) -> Finding:
        """Try to write to every table, as superuser and as the application's role."""
        return fence_proof.prove(self.where)

    def lift(self) -> None:
        """Remove a fence that was kept."""
        fences.lift(self.where)

    def remove(self) -> None:
        """Drop the database, if an upgrade made it, with the roles made for it."""
        remove_database(self.where)

    def carrier(self, new: PostgresDatabase, directory: Path, tag: str) -> PostgresCarrier:
        """The means to carry this database to ``new``."""
        return PostgresCarrier(
            self.name,
            self.where,
            new.where,
            directory,
            tag,
            strategy=self.strategy,
            limit=self.limit,
            rate=self.rate,
        )


_FAILURES = """
select (select checksum_failures from pg_stat_database where datname = current_database()),
    (select count(*) from pg_index where not indisvalid and indrelid >= 16384)
"""
