"""MariaDB and MySQL: one database of a server, behind ``crossfade.ports.Database``."""

from __future__ import annotations

import os
from pathlib import Path

from crossfade.drivers.databases.mysql import digests, fence_proof, kept_fence
from crossfade.drivers.databases.mysql.accounts import withdraw_rights
from crossfade.drivers.databases.mysql.binlog import current_position
from crossfade.drivers.databases.mysql.catalog import (
    Catalog,
    definitions,
    fingerprint,
    read_catalog,
)
from crossfade.drivers.databases.mysql.connect import (
    Conn,
    connect,
    explained,
    fetch,
    ident,
    one,
    quietly_close,
    run,
)
from crossfade.drivers.databases.mysql.fence import Fence, take
from crossfade.drivers.databases.mysql.schema import is_ours
from crossfade.drivers.databases.mysql.snapshot import snapshot
from crossfade.errors import Failed
from crossfade.model import Digest, Endpoint, Finding, Part
from crossfade.ports import Carrier, DatabaseTraits

__all__ = ["MysqlDatabase", "workers"]


def workers() -> int:
    """How many streams read a database at once: as many as there are processors, 2 to 4."""
    return min(4, max(2, os.cpu_count() or 2))


class MysqlDatabase:
    """The database that ``where`` names.  Making the object connects to nothing.

    strategy and rate are the carrier's."""

    traits = DatabaseTraits(
        strategy="stream",
        online_copy=True,
        fence="table locks of a session of ours, afterwards triggers that refuse every write",
        keeps_fence=True,
        reads_while_fenced=True,
    )

    def __init__(
        self, name: str, where: Endpoint, *, strategy: str = "", rate: float | None = None
    ) -> None:
        self.name = name
        self.strategy, self.rate = strategy, rate
        self.where = where
        self._fence: Fence | None = None

    @property
    def held(self) -> Fence | None:
        """The fence that this object took, while it holds by locks."""
        held = self._fence is not None and not self._fence.kept and self._fence.holds
        return self._fence if held else None

    def describe(self) -> str:
        """Kind, place and mode in a few words."""
        return f"{self.version()}, database {self.where.database} at {self.where.address}"

    def version(self) -> str:
        """Product and version of the server."""
        with explained("read the server's version", self.where):
            conn = connect(self.where, database="")
            try:
                number = str(one(conn, "select version()"))
            finally:
                quietly_close(conn)
        product = "MariaDB" if "mariadb" in number.lower() else "MySQL"
        return f"{product} {number.partition('-')[0]}"

    def size(self) -> int:
        """Bytes of its tables and indexes, as the server counts them; 0 when it is not there."""
        with explained("read the database's size", self.where):
            conn = connect(self.where, database="")
            try:
                size = one(
                    conn,
                    "select coalesce(sum(data_length + index_length), 0)"
                    " from information_schema.tables where table_schema = %s",
                    (self.where.database,),
                )
            finally:
                quietly_close(conn)
        return int(size)

    def digest(self) -> Digest:
        """Rows and checksum of every table at one moment, and the fingerprint of the schema."""
        with explained("digest the database", self.where), snapshot(self.where, workers()) as seen:
            catalog = self.catalog(seen.sessions[0])
            ask = self.held.read if self.held else None
            made = definitions(seen.sessions[0], catalog, ask)
            parts = digests.whole(seen.sessions, catalog.tables).parts
        return Digest({**parts, "(schema)": Part(len(made), fingerprint(made))})

    def catalog(self, conn: Conn) -> Catalog:
        """What stands in it.  Raises Failed when it is gone."""
        found = read_catalog(conn, self.where.database)
        if found is None:
            raise Failed("database-missing", "The database is gone.", where=str(self.where))
        return found

    def sound(self) -> Finding:
        """The server's quick check of every table."""
        with explained("check the database", self.where):
            conn = connect(self.where)
            try:
                bad = [
                    f"{row[0]}: {row[3]}"
                    for name in self.catalog(conn).tables
                    for row in fetch(conn, f"check table {ident(name)} quick")
                    if str(row[2]) in ("error", "warning")
                    or (row[2] == "status" and row[3] != "OK")
                ]
            finally:
                quietly_close(conn)
        return Finding(
            claim=f"{self.name} is a sound database",
            expected="OK",
            observed="OK" if not bad else "; ".join(bad[:3]),
            source=f"CHECK TABLE QUICK of every table of {self.where.database}",
            holds=not bad,
        )

    def position(self) -> str:
        """The place in the server's binary log, or InnoDB's log; others' writes change it too."""
        with explained("read the database's position", self.where):
            conn = connect(self.where, database="")
            try:
                place = current_position(conn)
                if place is not None:
                    return str(place)
                rows = fetch(conn, "show global status like 'innodb_lsn_current'")
                return f"lsn {rows[0][1]}" if rows else "unknown"
            finally:
                quietly_close(conn)

    def fence(self) -> Fence:
        """Refuse writes from everybody until closed.  Raises Failed if somebody still writes."""
        if self._fence is None or not self._fence.holds:
            self._fence = take(self.where)
        return self._fence

    def prove_fence(self) -> Finding:
        """Try to write to every table, as administrator and as the application."""
        return fence_proof.prove(self.where)

    def lift(self) -> None:
        """Remove the triggers of a fence that was kept; fine when there are none."""
        if self._fence is not None and self._fence.kept:
            self._fence = None
        try:
            kept_fence.drop_triggers(self.where)
        except Failed as error:
            if error.code != "database-missing":
                raise

    def remove(self) -> None:
        """Drop the database if it is ours or empty (new side only); fine when it is gone."""
        with explained("remove the database", self.where):
            conn = connect(self.where, database="")
            try:
                found = read_catalog(conn, self.where.database)
                if found is None:
                    return
                if not is_ours(found.comment):
                    if found.empty:
                        return
                    raise Failed(
                        "new-place-in-use",
                        f"The database {self.where.database} was not made by Crossfade.",
                        where=str(self.where),
                    )
                run(conn, "set session sql_log_bin = 0, lock_wait_timeout = 60")
                withdraw_rights(conn, self.where.database)
                run(conn, f"drop database {ident(self.where.database)}")
            finally:
                quietly_close(conn)

    def carrier(self, new: MysqlDatabase, directory: Path, tag: str) -> Carrier:
        """The means to carry this database to ``new``."""
        from crossfade.drivers.databases.mysql.carrier import MysqlCarrier

        return MysqlCarrier(self, new, directory, tag, strategy=self.strategy, rate=self.rate)
