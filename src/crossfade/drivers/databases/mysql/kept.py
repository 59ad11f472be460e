"""The kept backup: a compressed dump, loaded into a scratch database and compared.

mariadb-dump has a snapshot of its own, which no other session can see.  So one is opened just
before it and one just after: where both stand at the same place of the binary log, the dump does
too.  On a server that never rests between them, a table that changed in between is compared with
either, and if it is neither, by its rows.  All that takes no lock and ends before any feed begins.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from urllib.parse import quote

from crossfade.drivers.databases.mysql import digests, programs
from crossfade.drivers.databases.mysql.base_copy import session_of
from crossfade.drivers.databases.mysql.catalog import Catalog, floats, read_catalog
from crossfade.drivers.databases.mysql.connect import explained, fetch, ident, one, run
from crossfade.drivers.databases.mysql.pacing import pace_of
from crossfade.drivers.databases.mysql.snapshot import Snapshot, snapshot
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.errors import Failed
from crossfade.model import Digest, Endpoint, Finding
from crossfade.ports import Doing, Kept, Progress

__all__ = ["by_hand", "compared", "keep", "let_go", "loaded", "standing"]

_TRIES = 20
_DUMPING = (b"-- Table structure", b"CREATE TABLE", b"-- Dump completed")


class _Moved(Exception):
    """The database was written to between the two snapshots."""


def keep(
    name: str,
    old: Endpoint,
    new: Endpoint,
    to: Path,
    tag: str,
    on: Doing,
    *,
    rate: float | None,
) -> Kept:
    """A dump in the directory ``to``, restored on the new side's server.

    rate is bytes a second for reading, or None: bends to the old side.  Raises Failed."""
    file = to / (quote(name, safe=" ") + ".sql.gz")
    with on.progress(f"backing up database {name}") as bar:
        catalog, before, after = _dump(old, file, rate, bar)
    with on.progress(f"restoring the backup of database {name}"):
        there = loaded(new, f"{tag}_kept", file, catalog)
    with explained("look at the old database", old), session_of(old, old.database) as conn:
        rounded = floats(conn, catalog)
        version = str(one(conn, "select version()"))
    findings = (programs.whole(name, file), compared(name, before, after, there, rounded))
    how = by_hand(old, file.name)
    return Kept(file.name, "mysql", version, before, findings, how)


def loaded(new: Endpoint, scratch: str, file: Path, catalog: Catalog) -> Digest:
    """What a dump holds, read from a scratch database of the new server, which is removed."""
    with explained("read the dump back", new), session_of(new) as conn:
        try:
            run(conn, f"drop database if exists {ident(scratch)}")
            run(conn, f"create database {ident(scratch)} character set {catalog.charset}")
            programs.load_from(new, scratch, file, catalog.name)
            run(conn, f"use {ident(scratch)}")
            return digests.whole([conn], catalog.tables)
        finally:
            run(conn, f"drop database if exists {ident(scratch)}")


def standing(new: Endpoint, tag: str) -> list[str]:
    """The scratch database, if a killed run left it, in words.  Changes nothing.  Raises Failed."""
    query = "select schema_name from information_schema.schemata where schema_name = %s"
    with explained("look for a scratch database", new), session_of(new) as conn:
        found = fetch(conn, query, (f"{tag}_kept",))
    return [f"scratch database {row[0]} on the new side's server" for row in found]


def let_go(new: Endpoint, tag: str) -> list[str]:
    """Remove that; what was removed, in words.  Raises Failed."""
    found = standing(new, tag)
    if found:
        with explained("remove a scratch database", new), session_of(new) as conn:
            run(conn, f"drop database if exists {ident(f'{tag}_kept')}")
    return found


def _dump(
    old: Endpoint, file: Path, rate: float | None, bar: Progress
) -> tuple[Catalog, Digest, Digest]:
    """Write the dump; what stood there before and after its snapshot, the same where nobody wrote
    in between."""
    with explained("keep a backup of the database", old), pace_of(old, rate) as pace:
        for left in range(_TRIES, 0, -1):
            with contextlib.ExitStack() as held, contextlib.suppress(_Moved):
                frame = _Frame(old, held, pace, bar, insists=left > 1)
                programs.dump_to(old, file, frame.taken)
                return frame.seen()
    raise AssertionError("the last try insists on nothing")


class _Frame:
    """Two snapshots of the old database around that of a dump.

    insists says that both must be one, where that can be told: else the dump is ended."""

    def __init__(
        self,
        old: Endpoint,
        held: contextlib.ExitStack,
        pace: Pace,
        bar: Progress,
        *,
        insists: bool,
    ) -> None:
        self._old, self._held, self._pace, self._bar = old, held, pace, bar
        self._insists = insists
        self._before = held.enter_context(snapshot(old, 1))
        self._after: Snapshot | None = None
        self._head = b""
        self._done, self._began = 0, time.monotonic()

    def taken(self, block: bytes) -> None:
        """The dump said this; rest as long as the pace wants.  Raises _Moved."""
        if self._after is None:
            self._close(block)
        self._done += len(block)
        self._bar(self._done, None)
        self._pace.spent(len(block), time.monotonic() - self._began)
        self._began = time.monotonic()

    def _close(self, block: bytes) -> None:
        """Open the second snapshot as soon as the dump's own surely stands."""
        self._head = (self._head + block)[-(1 << 19) :]
        if not any(word in self._head for word in _DUMPING):
            return
        self._after = self._held.enter_context(snapshot(self._old, 1))
        if self._insists and self._before.position and not self._still:
            raise _Moved

    @property
    def _still(self) -> bool:
        place = self._before.position
        return place is not None and self._after is not None and place == self._after.position

    def seen(self) -> tuple[Catalog, Digest, Digest]:
        """What stood in both."""
        (first,) = self._before.sessions
        catalog = read_catalog(first, self._old.database)
        if catalog is None or self._after is None:
            raise Failed("database-missing", "The database is gone.", where=str(self._old))
        before = digests.whole([first], catalog.tables)
        if self._still:
            return catalog, before, before
        return catalog, before, digests.whole(self._after.sessions, catalog.tables)


def compared(name: str, before: Digest, after: Digest, there: Digest, rounded: set[str]) -> Finding:
    """Whether what was restored is what stood before or after the dump's moment.

    rounded are tables whose numbers a dump rounds."""
    differing, by_rows = [], []
    for table in sorted({*before.parts, *after.parts, *there.parts}):
        first, last, found = (d.parts.get(table) for d in (before, after, there))
        if found in (first, last):
            continue
        counts = [part.count for part in (first, last) if part]
        fits = found is not None and bool(counts) and min(counts) <= found.count <= max(counts)
        if fits and (table in rounded or first != last):
            by_rows.append(table)
        else:
            differing.append(table)
    seen = str(there)
    if differing:
        seen += f"; differs in {', '.join(differing[:5])}"
    if by_rows:
        seen += f"; compared by rows only (FLOAT, or in use just then): {', '.join(by_rows[:5])}"
    claim = f"database {name}, restored from its backup, is equal on both sides"
    return Finding(claim, str(before), seen, "loaded and compared", not differing)


def by_hand(old: Endpoint, file: str) -> tuple[tuple[str, ...], ...]:
    """The commands that restore it by hand, into a new database beside the old one."""
    login = (
        "mariadb",
        f"--host={old.address.host}",
        f"--port={old.address.port}",
        f"--user={old.admin}",
        "--password",
    )
    restored = f"{old.database}_restored"
    return (
        (*login, f"--execute=create database {ident(restored)}"),
        ("gunzip", "--keep", file),
        (*login, f"--execute=source {file.removesuffix('.gz')}", restored),
    )
