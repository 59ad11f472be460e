"""The reverse feed: after the switch every write of the new side goes back to the old one.

The old side's tables and columns only, by the new server's own logical replication.  What makes it
complete, a publication and a slot, is made while nobody uses the new version yet; the old server
begins to follow after the users are served again.  A second slot tells which rows changed, so that
going back can prove them equal; it is given up when it would keep much log, and then everything is
compared.  On the old side the kept fence lets nobody write but the feed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence as Several
from pathlib import Path

from psycopg import sql

from crossfade.drivers.databases.postgres import (
    behind,
    feed,
    reverse_setup,
    reverse_state,
    sequences,
    slots,
    subscription,
    watch,
)
from crossfade.drivers.databases.postgres.connect import Conn, explained, fetch
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.drivers.databases.postgres.fence import Fence, lift
from crossfade.drivers.databases.postgres.inventory import Sequence, Table
from crossfade.drivers.databases.postgres.leaving import leave
from crossfade.drivers.databases.postgres.proof import Proof
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.drivers.databases.postgres.reverse_tables import tables_now
from crossfade.drivers.databases.postgres.roundtrip import Pair
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Endpoint, Finding
from crossfade.ports import Doing, WayBack

__all__ = ["ReverseFeed"]

_KEYS_LIMIT = 256 * 1024**2
"""Bytes of log kept for the proof: as much is read in a few seconds."""
_TRIES = 5
_SMALL = 64 * 1024**2
"""Bytes of a table up to which its rows are counted when going back."""


class ReverseFeed:
    """The way back of one database.

    tables and sequences are the old side's, as its inventory has them, without those that the
    recipe calls bookkeeping.  directory is the upgrade's own; the tag is in the name of everything
    that is made on a server.  Every method may be called again, and by another process.
    """

    def __init__(
        self,
        old: Endpoint,
        new: Endpoint,
        tag: str,
        tables: Several[Table],
        directory: Path,
        *,
        sequences: Several[Sequence] = (),
        name: str = "",
    ) -> None:
        self.old, self.new, self.tables, self.sequences = old, new, tables, sequences
        self.name, self.directory = name or old.database, directory
        base = Names.of(tag, old.database).feed.removesuffix("_feed")
        self.names = Names(f"{base}_back", f"{base}_backkeys")
        self._place = directory / f"back-{self.names.feed}"
        self._state = Remembered(self._place / "state")

    def possible(self) -> str:
        """Why there can be no reverse feed, in a sentence without its stop; empty when there can.

        Before the new database stands only the servers are looked at.  Raises Failed."""
        reasons = reverse_setup.against_servers(self.old, self.new, self.names)
        with contextlib.suppress(_Missing), self._on_new() as conn:
            if tables_now(conn):
                reasons += reverse_setup.plan(self.tables, conn)[1]
        return "; ".join(reasons[:3])

    def prepare(self) -> list[Finding]:
        """Before the commit point: from here on the new server keeps every write for the way back.

        Where that cannot be, the finding says why, and holds all the same: going back then costs
        the writes made since, which ``state`` tells."""
        claim = f"every write to the new side of database {self.name} can be brought back"
        try:
            with self._on_new() as conn, explained("prepare the way back", self.new):
                reasons = self._prepare(conn)
        except Failed as error:
            reasons = [error.what.rstrip(".")]
        if reasons:
            why = "; ".join(reasons[:3])
            with contextlib.suppress(CrossfadeError):
                leave(self.new, self.old, self.names)
            self._state.update(why=why)
            return [Finding(claim, "told before the switch", f"no: {why}", "catalogue", True)]
        if self._state.get("why"):
            self._state.update(why="")
        seen = f"slot {self.names.feed} on the new server, {len(self.tables)} tables"
        return [Finding(claim, "told before the switch", seen, "the new server", True)]

    def start(self) -> list[Finding]:
        """After the switch: let the old server follow.  Raises Failed; may then be tried again."""
        claim = f"the old side of database {self.name} follows the new one"
        if why := self._state.get("why"):
            return [Finding(claim, "if it can be", f"it does not: {why}", "catalogue", True)]
        self._guard()
        with self._on_old() as conn:
            there = subscription.subscribed(conn, self.names)
        if not there:
            password = feed.make_role(self.new, self.names)
            self._subscribe(password)
        with self._on_old() as conn, explained("start the reverse feed", self.old):
            reverse_setup.identities_of_old(conn, self.names, self._pairs())
            subscription.durable(conn, self.names, each=True)
            subscription.enable(conn, self.names)
        return [Finding(claim, "if it can be", "it does", "the old server", True)]

    def state(self) -> WayBack:
        """What going back would cost now.  Cheap; never raises for a server that is away."""
        given_up = watch.given_up(self._place / "watch")
        why = str(self._state.get("why") or given_up)
        if why:
            return WayBack(False, f"database {self.name} has no reverse feed: {why}")
        return reverse_state.look(self.old, self.new, self.names, self.name)

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """The new side being stopped: every write of it to the old one; then no fence.

        Without a feed that can do that, what differs is written below ``to``, and the number of
        rows that stay behind is returned.  Raises Failed when a feed that looked well did not
        deliver: then nothing was removed, and the new side can go on."""
        whole = self.state().lossless
        with on.timed(f"fence new {self.name}"):
            fence = Fence.take(self.new)
        with contextlib.closing(fence):
            if whole:
                findings, left = self._bring_back(on), 0
            else:
                findings, left = self._export(on, to)
        if all(finding.holds for finding in findings):
            with on.timed(f"lift {self.name}"):
                lift(self.old)
        return findings, left

    def let_go(self) -> list[str]:
        """Remove the reverse feed from both sides; what was removed, in words.  Raises Failed."""
        for file in ("watch", "watch-keys"):
            watch.stop(self._place / file)
        removed = leave(self.new, self.old, self.names)
        with contextlib.suppress(_Missing), self._on_old() as conn:
            removed += reverse_setup.give_back(conn, self.names)
        (self._place / "rest").unlink(missing_ok=True)
        self._state.forget()
        return removed

    # Details

    def _on_old(self) -> Conn:
        return _session(self.old)

    def _on_new(self) -> Conn:
        return _session(self.new)

    def _pairs(self) -> list[Pair]:
        with self._on_new() as conn, explained("look at the new side's tables", self.new):
            return reverse_setup.plan(self.tables, conn)[0]

    def _sequences(self, new: Conn) -> list[Sequence]:
        """Those that the new side still has."""
        query = sql.SQL("select pg_catalog.to_regclass(x) is not null from unnest(%s::text[]) x")
        names = [sequence.sql.as_string(new) for sequence in self.sequences]
        there = [known for (known,) in fetch(new, query, (names,))]
        return [sequence for sequence, known in zip(self.sequences, there, strict=True) if known]

    def _prepare(self, conn: Conn) -> list[str]:
        """Publication and slots on the new server; or the reasons why not."""
        pairs, reasons = reverse_setup.plan(self.tables, conn)
        reasons = reverse_setup.against_publisher(conn, self.names) + reasons
        if reasons:
            return reasons
        reverse_setup.publish(conn, self.names, pairs)
        for slot in (self.names.keys, self.names.feed):
            reverse_setup.make_slot(conn, slot)
        return []

    def _guard(self) -> None:
        """Watch the new server's disk, which fills up when the old one does not follow."""
        with self._on_new() as conn, explained("look at the log that slots keep", self.new):
            limit = watch.limit_for(conn)
        keys = min(limit, _KEYS_LIMIT)
        watch.start(self._place / "watch", self.new, (self.names.feed,), limit)
        watch.start(self._place / "watch-keys", self.new, (self.names.keys,), keys)

    def _subscribe(self, password: str) -> None:
        for attempt in range(_TRIES):
            try:
                subscription.subscribe(self.new, self.old, self.names, password)
            except Failed as error:
                if attempt == _TRIES - 1 or not error.code.startswith(("database-", "feed-")):
                    self._state.update(trouble=error.what)
                    text = error.what.partition(": ")[2] or error.what
                    raise Failed(
                        "reverse-feed-refused",
                        f"The old side's server cannot follow the new one: {text}",
                        where=error.where,
                    ) from None
                time.sleep(0.3)
            else:
                self._state.update(trouble="")
                return

    def _bring_back(self, on: Doing) -> list[Finding]:
        """Every change applied, sequences set, all shown equal."""
        with self._on_old() as conn:
            started = subscription.subscribed(conn, self.names)
        if not started:
            self.start()
        with self._on_new() as new, self._on_old() as old:
            watched = subscription.Watched(
                lambda: new, lambda: old, self.names, f"{self.new} -> {self.old}"
            )
            with on.timed(f"last changes back {self.name}"):
                with explained("read the new side's position", self.new):
                    position = subscription.flushed(new)
                watched.wait(position, patience=20.0)
            with on.timed(f"sequences back {self.name}"), explained("set sequences", self.old):
                findings = [sequences.advance(new, old, self._sequences(new), self.name)]
            with on.timed(f"proof back {self.name}"), explained("compare both sides", self.old):
                findings.append(self._prove(old, new, position))
        return findings

    def _prove(self, old: Conn, new: Conn, position: int) -> Finding:
        """The rows that changed since the switch; where that is not known any more, all."""
        pairs = self._pairs()
        claim = f"both sides of database {self.name} are equal on the old side's columns"
        slot = slots.look(new, self.names.keys)
        if slot is None or slot.lost:
            wrong = [str(p.old) for p in pairs if behind.differing(old, new, p.old, p.new)]
            seen = f"{len(pairs)} tables compared whole"
        else:
            tables = {(p.old.schema, p.old.name): p.old for p in pairs}
            proof = Proof(self.names, tables, 0, self._place / "rest")
            wrong = [str(one) for one in proof.round(new, old, position)]
            wrong += [
                str(p.old)
                for p in pairs
                if p.old.kind == "partitioned" and behind.differing(old, new, p.old, p.new)
            ]
            small = [p.old for p in pairs if p.old.kind == "table" and p.new.bytes <= _SMALL]
            wrong += behind.counted_otherwise(old, new, small)
            seen = f"{proof.compared} changed rows compared, {len(small)} tables counted"
        if wrong:
            seen += "; differs in " + ", ".join(dict.fromkeys(wrong[:5]))
        return Finding(claim, "no difference", seen, "rows of both sides", not wrong)

    def _export(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        with on.timed(f"export {self.name}"):
            with self._on_new() as conn, explained("look at the new side's tables", self.new):
                there = tables_now(conn)
            left = behind.export(self.old, self.new, self.tables, there, to)
        rows = sum(one.newer + one.deleted for one in left)
        seen = ", ".join(f"{one.table} {one.newer} (and {one.deleted} deleted)" for one in left[:5])
        claim = f"what only the new side of database {self.name} has is kept"
        told = f"{rows} rows below {to}: {seen}" if left else "nothing: both sides are equal"
        return [Finding(claim, "as files", told, "rows of both sides", True)], rows


class _Missing(Failed):
    """The database does not exist."""


def _session(endpoint: Endpoint) -> Conn:
    try:
        return feed.session(endpoint)
    except Failed as error:
        if error.code == "database-missing":
            raise _Missing(error.code, error.what, where=error.where) from None
        raise
