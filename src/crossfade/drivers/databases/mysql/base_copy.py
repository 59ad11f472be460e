"""The new database from one moment of the old one: place, tables, rows, proof, everything else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from crossfade.drivers.databases.mysql import accounts, copying, digests, schema
from crossfade.drivers.databases.mysql.catalog import (
    Catalog,
    Table,
    definitions,
    fingerprint,
    read_catalog,
)
from crossfade.drivers.databases.mysql.connect import (
    Ask,
    Conn,
    connect,
    explained,
    fetch,
    ident,
    quietly_close,
    run,
)
from crossfade.drivers.databases.mysql.counters import (
    advance,
    raise_counters,
    read_counters,
)
from crossfade.drivers.databases.mysql.fence import Fence
from crossfade.drivers.databases.mysql.pacing import pace_of
from crossfade.drivers.databases.mysql.snapshot import Snapshot, snapshot
from crossfade.errors import Failed
from crossfade.model import Digest, Endpoint, Finding, Part
from crossfade.ports import Doing

__all__ = ["BaseCopy", "session_of"]


class BaseCopy:
    """Copies ``old`` to ``new``, in this order: begin, prepare, copy, finish, digests, release.

    tag marks the new database; streams is how many sessions copy; rate is bytes a second, or None.
    fence gives the fence of the old side while one holds.  said has findings of ``finish``."""

    def __init__(
        self,
        name: str,
        old: Endpoint,
        new: Endpoint,
        tag: str,
        *,
        streams: int = 2,
        rate: float | None = None,
        fence: Callable[[], Fence | None] = lambda: None,
    ) -> None:
        self.name, self.old, self.new, self.tag = name, old, new, tag
        self.streams, self.rate, self.fence = streams, rate, fence
        self.said: list[Finding] = []
        self._held = contextlib.ExitStack()
        self._snapshot: Snapshot | None = None
        self._catalog: Catalog | None = None
        self._rows: dict[str, copying.Rows] = {}
        self._compared: dict[str, tuple[Part, Part]] = {}

    def begin(self) -> tuple[str, int]:
        """Open the snapshot: the binary log's file and position that it stands for, if any.

        It is kept open until ``release``; the old side works on."""
        self.release()
        with explained("look at the old database at one moment", self.old):
            self._snapshot = self._held.enter_context(snapshot(self.old, self.streams))
            self._catalog = read_catalog(self._first, self.old.database)
        if self._catalog is None:
            raise Failed("database-missing", "The database is gone.", where=str(self.old))
        place = self._snapshot.position
        return (place.file, place.offset) if place else ("", 0)

    @property
    def catalog(self) -> Catalog:
        """What stood in the old database when the snapshot was opened."""
        if self._catalog is None:
            raise Failed("snapshot-failed", "There is no snapshot to copy.", where=str(self.old))
        return self._catalog

    def prepare(self, on: Doing) -> None:
        """The new database stands, is ours and has every table of the old one, but no rows.

        Raises Failed ``new-place-in-use`` when it holds what is not ours."""
        catalog = self.catalog
        with (
            on.timed(f"tables {self.name}"),
            explained("make the new database", self.new),
            session_of(self.new) as conn,
            self._asking() as ask,
        ):
            clear_place(conn, self.new)
            schema.mark_ours(conn, self.new.database, catalog, self.tag)
            run(conn, f"use {ident(self.new.database)}")
            schema.make_tables(self._first, conn, catalog, ask)

    def copy(self, on: Doing) -> None:
        """All rows of the snapshot."""
        sessions = self._sessions
        with (
            on.timed(f"copy {self.name}"),
            on.progress(f"copying database {self.name}") as progress,
            pace_of(self.old, self.rate) as pace,
            explained("copy the database", f"{self.old} -> {self.new}"),
        ):
            work = copying.pieces(sessions[0], self.catalog)
            self._compared.clear()
            where = sessions, self.new
            self._rows = copying.copy_rows(*where, work, pace, self._compare, progress)

    def finish(self, on: Doing) -> None:
        """All that comes after the rows: views, routines, triggers, events (disabled), accounts."""
        with (
            on.timed(f"definitions {self.name}"),
            explained("finish the new database", self.new),
            session_of(self.new, self.new.database) as conn,
            self._asking() as ask,
        ):
            schema.make_rest(self._first, conn, self.catalog)
            ahead = read_counters(self._first, self.old.database)  # so that the pause need not
            raise_counters(conn, ahead, read_counters(conn, self.new.database))
            known = accounts.read_accounts(self._first, self.old.database)
            refused = accounts.carry_accounts(conn, known, self.old.database, self.new.database)
            alike = self._alike(conn, ask)
        claim = f"accounts and rights of database {self.name} stand on the new server"
        seen = "; ".join(refused[:3]) or f"{len(known.create)} accounts, {len(known.grants)} grants"
        self.said = [Finding(claim, "all", seen, "new server", not refused), alike]

    def _compare(self, old: Conn, new: Conn, table: Table, rows: copying.Rows) -> None:
        """Before both sides are digested: a table for which there was time while copying."""
        there, here = digests.part(old, table, rows.sent), digests.part(new, table, rows.taken)
        self._compared[table.name] = there, here

    def _digest_old(self, tables: Mapping[str, Table]) -> Digest:
        with explained("digest the old database", self.old):
            return digests.whole(self._sessions, tables, {n: r.sent for n, r in self._rows.items()})

    def _digest_new(self, tables: Mapping[str, Table]) -> Digest:
        sessions: list[Conn] = []
        try:
            with explained("digest the new database", self.new):
                sessions.extend(connect(self.new) for _ in range(self.streams))
                return digests.whole(sessions, tables, {n: r.taken for n, r in self._rows.items()})
        finally:
            for session in sessions:
                quietly_close(session)

    def digest_both(self) -> tuple[Digest, Digest]:
        """All rows of the old side at the snapshot, and all of the new side now.  They were counted
        while they were copied."""
        tables = {n: t for n, t in self.catalog.tables.items() if n not in self._compared}
        with ThreadPoolExecutor(1) as other:
            there = other.submit(self._digest_old, tables)
            here = self._digest_new(tables)
            both = there.result(), here
        known = ({n: parts[side] for n, parts in self._compared.items()} for side in (0, 1))
        old, new = (Digest({**one.parts, **more}) for one, more in zip(both, known, strict=True))
        return old, new

    def analyze(self, on: Doing) -> None:
        """Statistics for the new server's planner; the copy has warmed its cache."""
        with (
            on.timed(f"analyze {self.name}"),
            explained("analyze the new database", self.new),
            session_of(self.new, self.new.database) as conn,
        ):
            schema.analyze(conn, self.catalog)

    def advance(self) -> Finding:
        """Set the new side's sequences and counters as the old side's are now."""
        with (
            explained("set sequences and counters", self.new),
            session_of(self.old, self.old.database) as old,
            session_of(self.new, self.new.database) as new,
            self._asking() as ask,
        ):
            catalog = self._catalog or read_catalog(old, self.old.database)
            if catalog is None:
                raise Failed("database-missing", "The database is gone.", where=str(self.old))
            sides = (old, self.old.database, new, self.new.database)
            return advance(self.name, ask, *sides, catalog)

    def release(self) -> None:
        """Close the snapshot; fine when it is closed."""
        self._held.close()
        self._snapshot = None

    @property
    def _sessions(self) -> tuple[Conn, ...]:
        if self._snapshot is None:
            raise Failed("snapshot-failed", "There is no snapshot to copy.", where=str(self.old))
        return self._snapshot.sessions

    @property
    def _first(self) -> Conn:
        return self._sessions[0]

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Ask]:
        """How to ask about sequences: through the fence while it holds, else in a fresh session
        (a snapshot would show them as they were)."""
        fence = self.fence()
        if fence is not None:
            yield fence.read
            return
        with session_of(self.old, self.old.database) as conn:
            yield lambda query: fetch(conn, query)

    def _alike(self, conn: Conn, ask: Ask) -> Finding:
        """Everything is defined alike on both sides."""
        there = read_catalog(conn, self.new.database)
        made = definitions(conn, there) if there else {}
        wanted = definitions(self._first, self.catalog, ask)
        if self.old.database != self.new.database:  # views name it
            names = (self.old.database, self.new.database)
            made = {k: v for k, v in made.items() if k.startswith(("table", "sequence"))}
            wanted = {
                k: schema.asking_own_sequences(v, *names)
                for k, v in wanted.items()
                if k.startswith(("table", "sequence"))
            }
        differing = sorted(n for n in {*made, *wanted} if made.get(n) != wanted.get(n))
        seen = fingerprint(made) + (f"; differs in {', '.join(differing[:5])}" if differing else "")
        claim = f"database {self.name} is defined alike on both sides"
        return Finding(claim, fingerprint(wanted), seen, "SHOW CREATE of everything", not differing)


def clear_place(conn: Conn, new: Endpoint) -> None:
    """Empty the new database if it is ours.  Raises Failed ``new-place-in-use``."""
    found = read_catalog(conn, new.database)
    if found is None or found.empty:
        return
    if not schema.is_ours(found.comment):
        raise Failed(
            "new-place-in-use",
            f"The new database {new.database} holds tables that Crossfade did not make.",
            where=str(new),
        )
    run(conn, f"use {ident(new.database)}")
    schema.drop_everything(conn, found)


@contextlib.contextmanager
def session_of(endpoint: Endpoint, database: str = "") -> Iterator[Conn]:
    """A session that its server does not log; outside of any database unless one is named."""
    conn = connect(endpoint, database=database)
    try:
        run(conn, "set session sql_log_bin = 0")
        yield conn
    finally:
        quietly_close(conn)
