"""The reverse feed: after the switch every write of the new side goes back to the old one.

The new server's binary log is read from a place that is noted while nobody uses the new version
yet, and the old side's tables and columns are changed as the log tells (see ``feed``); a small
process does so after the users are served again.  On the old side the kept fence lets nobody else
write.  Rows that changed are compared by and by, so that going back has little left to prove.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from crossfade.drivers.databases.mysql import backward, behind, counters_back, kept_fence, roundtrip
from crossfade.drivers.databases.mysql.apply import Applier, standing
from crossfade.drivers.databases.mysql.base_copy import session_of
from crossfade.drivers.databases.mysql.binlog import Log, Position, Query, current_position
from crossfade.drivers.databases.mysql.catalog import Catalog, read_catalog
from crossfade.drivers.databases.mysql.connect import Conn, explained
from crossfade.drivers.databases.mysql.feed import Feed, Names
from crossfade.drivers.databases.mysql.fence import Fence, take
from crossfade.drivers.databases.mysql.following import Following
from crossfade.drivers.databases.mysql.proof import Proof
from crossfade.drivers.databases.mysql.reverse_state import look
from crossfade.drivers.databases.mysql.statements import first_words
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Endpoint, Finding
from crossfade.ports import Doing, WayBack

__all__ = ["ReverseFeed"]

_PATIENCE = 3600.0
"""Seconds for what waits in the log when going back; each failing server is given up earlier."""


class ReverseFeed:
    """The way back of one database; ``ways.Back``.

    directory is the upgrade's own; the tag is in the name of what is made on the old server.
    Tables that the recipe calls bookkeeping stay out.  Every method may be called again, and by
    another process."""

    def __init__(self, name: str, old: Endpoint, new: Endpoint, tag: str, directory: Path) -> None:
        self.name, self.old, self.new, self.tag = name, old, new, tag
        self.names = Names.of(tag, old.database)
        self._directory = directory
        self._place = directory / f"back-{self.names.back}"
        self._state = Remembered(self._place / "state")
        self._file = self._place / "follow"
        self._before: Catalog | None = None

    def possible(self) -> str:
        """Why there can be no reverse feed, in a sentence without its stop; empty when there can.

        Before the new database stands only the servers are looked at.  Raises Failed."""
        with self._both() as (old, new):
            reasons = roundtrip.against_servers(old, new)
            after = read_catalog(new, self.new.database)
            if after is not None and after.tables:
                reasons += self._against(old, new, after)
        return "; ".join(reasons[:3])

    def prepare(self) -> list[Finding]:
        """Before the commit point: note the place from which on every write can be brought back.

        Where that cannot be, the finding says why, and holds all the same: going back then costs
        the writes made since, which ``state`` tells."""
        claim = f"every write to the new side of database {self.name} can be brought back"
        since, count = None, 0
        try:
            with self._both() as (old, new):
                why = "; ".join(roundtrip.against_servers(old, new)[:3])
                if not why:
                    after = self._catalog(new, self.new)
                    tables = self._in_common(old, after)
                    why, count = "; ".join(self._against(old, new, after)[:3]), len(tables.tables)
                since = current_position(new)
        except Failed as error:
            why = error.what.rstrip(".")
        if why or since is None:
            why = why or "the new server logs no changes"
            self._state.update(why=why)
            return [Finding(claim, "told before the switch", f"no: {why}", "catalogue", True)]
        self._forget_rest()
        self._state.update(why="", since=str(since))
        seen = f"{count} tables, from {since} of the new server's log on"
        return [Finding(claim, "told before the switch", seen, "the new server", True)]

    def start(self) -> list[Finding]:
        """After the switch: let the old side follow.  Raises Failed; may then be tried again."""
        claim = f"the old side of database {self.name} follows the new one"
        why = self._state.get("why")
        if why is None:
            why = "it was not prepared"
        if why:
            return [Finding(claim, "if it can be", f"it does not: {why}", "catalogue", True)]
        since = Position.parse(self._state["since"])
        Log(self.new, since).probe()
        if not self.standing():
            applier = Applier(self.old, self.names.back)
            with explained("start the reverse feed", self.old):
                applier.prepare(since)
            applier.close()
        backward.start(self._file, self.name, self.old, self.new, self.tag, self._directory)
        return [Finding(claim, "if it can be", "it does", "the old server", True)]

    def state(self) -> WayBack:
        """What going back would cost now.  Cheap; never raises for a server that is away."""
        why = self._state.get("why")
        if why is None:
            return WayBack(False, f"database {self.name} has no reverse feed: it was not prepared")
        if why:
            return WayBack(False, f"database {self.name} has no reverse feed: {why}")
        return look(
            self.name,
            self.old,
            self.new,
            self.names,
            Position.parse(self._state["since"]),
            trouble=backward.given_up(self._file),
            runs=backward.runs(self._file),
        )

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """The new side being stopped: every write of it to the old one; then no fence, and the
        feed is halted.

        Without a feed that can do that, what differs is written below ``to``, and the number of
        rows that stay behind is returned.  When a feed that looked well did not deliver nothing is
        removed, and the new side can go on."""
        whole = self.state().lossless
        with on.timed(f"fence new {self.name}"):
            fence = take(self.new)
        with contextlib.closing(fence):
            if not whole:
                findings, left = self._export(on, to)
            else:
                backward.stop(self._file)
                try:
                    findings, left = self._bring_back(on, fence), 0
                except CrossfadeError:
                    self._go_on()
                    raise
        if all(finding.holds for finding in findings):
            with on.timed(f"lift {self.name}"):
                kept_fence.drop_triggers(self.old)
        elif whole:
            self._go_on()
        return findings, left

    def following(self) -> Following:
        """What follows and compares; for the process, and for going back."""
        catalog = self._tables
        since = Position.parse(self._state["since"])
        proof = Proof(catalog, since, self._place / "rest")
        feed = Feed(
            self.new,
            self.old,
            self.names.back,
            {*catalog.tables, *catalog.sequences},
            take=proof.take,
            ddl=self._look_again,
            since=proof.end,
        )
        return Following(self.new, self.old, feed, proof)

    def standing(self) -> list[str]:
        """What of the feed stands on either server, in words.  Changes nothing.  Raises Failed."""
        with explained("look for the reverse feed", self.old), session_of(self.old) as conn:
            found = standing(conn, self.names.back)
        return [f"{one} on the old side's server" for one in found]

    def let_go(self) -> list[str]:
        """Remove the feed and the kept fence; what was removed, in words.  Raises Failed."""
        backward.stop(self._file)
        with explained("remove the reverse feed from the old side", self.old):
            removed = Applier(self.old, self.names.back).let_go()
        count = kept_fence.drop_triggers(self.old)
        if count:
            removed.append(f"{count} triggers of the fence")
        self._forget_rest()
        self._state.forget()
        return removed

    # Details

    @contextlib.contextmanager
    def _both(self) -> Iterator[tuple[Conn, Conn]]:
        with (
            explained("look at both sides", f"{self.old} and {self.new}"),
            session_of(self.old) as old,
            session_of(self.new) as new,
        ):
            yield old, new

    @cached_property
    def _tables(self) -> Catalog:
        """The old side's tables that get rows back, and the sequences that both sides have."""
        with self._both() as (old, new):
            return self._in_common(old, self._catalog(new, self.new))

    def _in_common(self, old: Conn, after: Catalog) -> Catalog:
        before = self._catalog(old, self.old)
        self._before = before
        without = set(self.old.bookkeeping)
        return replace(
            before,
            tables={n: t for n, t in before.tables.items() if n not in without},
            sequences=tuple(s for s in before.sequences if s in after.sequences),
        )

    def _catalog(self, conn: Conn, endpoint: Endpoint) -> Catalog:
        found = read_catalog(conn, endpoint.database)
        if found is None:
            raise Failed("database-missing", "The database is gone.", where=str(endpoint))
        return found

    def _against(self, old: Conn, new: Conn, after: Catalog) -> list[str]:
        before = self._before or self._catalog(old, self.old)
        return roundtrip.against_tables(old, new, before, after, self.old.bookkeeping)

    def _look_again(self, event: Query) -> None:
        """The new side's schema was changed: go on only when the old tables are none the worse."""
        statement = event.statement.casefold()
        if not any(name.casefold() in statement for name in self._tables.tables):
            return
        with self._both() as (old, new):
            reasons = self._against(old, new, self._catalog(new, self.new))
        if reasons:
            raise Failed(
                "schema-changed",
                f"The new side's schema was changed ({first_words(event.statement)} ...):"
                f" {reasons[0]}.",
                where=f"{self.new}, binary log {event.at}",
            )

    def _bring_back(self, on: Doing, fence: Fence) -> list[Finding]:
        """Every change applied, counters set, all shown equal."""
        if not self.standing():
            with explained("start the reverse feed", self.old):
                applier = Applier(self.old, self.names.back)
                applier.prepare(Position.parse(self._state["since"]))
                applier.close()
        following = self.following()
        try:
            with on.timed(f"last changes back {self.name}"):
                upto = following.reach(patience=_PATIENCE)
            with on.timed(f"proof back {self.name}"):
                wrong = following.compare(upto, patience=60.0)
        finally:
            following.close()
        seen = f"{following.proof.compared} changed rows compared"
        if wrong:
            seen += "; differs in " + ", ".join(str(one) for one in wrong[:5])
        claim = f"both sides of database {self.name} are equal on the old side's columns"
        proven = Finding(claim, "no difference", seen, "rows of both sides", not wrong)
        with on.timed(f"sequences back {self.name}"):
            return [proven, counters_back.advance(self.name, fence, self.old, self._tables)]

    def _go_on(self) -> None:
        with contextlib.suppress(CrossfadeError):
            backward.start(self._file, self.name, self.old, self.new, self.tag, self._directory)

    def _export(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        backward.stop(self._file)
        with on.timed(f"export {self.name}"):
            counts = behind.export(self.old, self.new, to, self.old.bookkeeping)
        rows = sum(counts.values())
        seen = ", ".join(f"{n} of {table}" for table, n in sorted(counts.items())) or "none"
        claim = f"rows that only the new side of database {self.name} has are kept as files"
        return [Finding(claim, "all", seen, str(to), True)], rows

    def _forget_rest(self) -> None:
        (self._place / "rest").unlink(missing_ok=True)
