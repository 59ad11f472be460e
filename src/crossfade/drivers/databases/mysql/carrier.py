"""How one MariaDB or MySQL database gets to the new side: by a dump in the pause, or by a stream.

What belongs to an upgrade is found again by any process: on the servers by the tag, on disk in a
directory that has the tag's name, beside those of the attempts.
"""

from __future__ import annotations

import contextlib
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.drivers.databases.early import Early
from crossfade.drivers.databases.mysql import kept, marks, preflight, programs, schema
from crossfade.drivers.databases.mysql.archive import archive_and_remove
from crossfade.drivers.databases.mysql.base_copy import BaseCopy, session_of
from crossfade.drivers.databases.mysql.catalog import (
    Catalog,
    definitions,
    fingerprint,
    read_catalog,
)
from crossfade.drivers.databases.mysql.connect import explained
from crossfade.drivers.databases.mysql.database import workers
from crossfade.drivers.databases.mysql.dump import DumpWay
from crossfade.drivers.databases.mysql.preflight import Verdict
from crossfade.drivers.databases.mysql.reverse import ReverseFeed
from crossfade.drivers.databases.mysql.stream import StreamWay
from crossfade.drivers.databases.mysql.ways import Back, Way
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.errors import Failed
from crossfade.model import Finding, Problem
from crossfade.ports import Carrying, Doing, Kept, WayBack

if TYPE_CHECKING:
    from crossfade.drivers.databases.mysql.database import MysqlDatabase

__all__ = ["MysqlCarrier"]

_BYTES_A_SECOND = 30_000_000
"""What a copy inside the pause took in our measurements on two processors, with its proof."""


class MysqlCarrier:
    """Implements ``ports.Carrier``.

    directory is the attempt's own; tag is the upgrade's, and the same for all its attempts.
    strategy is what the operator wants (empty: the best that is possible); rate is bytes a second
    for the copy (None: it bends to the old server's answers).
    """

    def __init__(
        self,
        database: MysqlDatabase,
        new: MysqlDatabase,
        directory: Path,
        tag: str,
        *,
        strategy: str = "",
        rate: float | None = None,
    ) -> None:
        self.name, self.database = database.name, database
        self.old, self.new = database.where, new.where
        self.directory, self.tag = directory, tag
        self.wanted = strategy
        self.base = BaseCopy(
            self.name,
            self.old,
            self.new,
            tag,
            streams=workers(),
            rate=rate,
            fence=lambda: database.held,
        )
        self.place = directory.parent / tag
        self._state = Remembered(self.place / f"{self.name}.mysql")
        self._way_back = Early(lambda: self._back.prepare())

    def preview(self) -> Carrying:
        """The strategy and why; looks at both servers and changes nothing."""
        try:
            verdict, catalog = self._verdict, self._catalog
        except Failed as error:
            seen = Finding("the databases can be looked at", "yes", error.what, error.where, False)
            return Carrying("dump", problems=(Problem(error.code, seen, "crossfade plan"),))
        strategy = self._strategy()
        streams = strategy == "stream"
        warnings = [*verdict.warnings, *(f"not carried: {w}" for w in verdict.not_carried)]
        why_not = self._back.possible()
        if why_not:
            warnings.append(f"database {self.name}: going back will lose writes, since {why_not}")
        return Carrying(
            strategy,
            why="" if streams else self._why(verdict, catalog),
            size=catalog.size,
            actions=self._actions(streams=streams),
            touches=(),
            needs={} if streams else {self.directory: catalog.size},
            problems=(*verdict.problems, *_without_programs()),
            warnings=tuple(warnings),
            facts=self._facts(),
        )

    def keep(self, on: Doing, to: Path) -> Kept:
        """A dump of one moment, restored on the new server."""
        rate = self.base.rate
        return kept.keep(self.name, self.old, self.new, to, self.tag, on, rate=rate)

    def back_up(self, on: Doing) -> list[Finding]:
        """A dump of the old side, or the beginning of its feed."""
        for problem in self._verdict.problems:
            seen = problem.finding
            what = f"{seen.claim}: {seen.observed}; {problem.next}."
            raise Failed(problem.code, what, where=f"{self.old} -> {self.new}")
        self._state.update(strategy=self._strategy())
        return self._way.back_up(on)

    def restore(self, on: Doing) -> list[Finding]:
        """The copy stands on the new side, equal to the old side's snapshot."""
        return self._way.restore(on)

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The last changes and the proof."""
        return self._way.bring_last(on, still=still)

    def mark(self) -> str:
        """The changes to the old database since the fence, and its definitions."""
        return marks.mark(self.database, self._state, self.directory.name)

    def begin_way_back(self) -> None:
        """The reverse feed is prepared in a thread."""
        self._way_back.begin()

    def keep_way_back(self, on: Doing) -> list[Finding]:
        """Nothing was written to the old side since its last change was carried; the new server
        keeps every write from now on."""
        with on.timed(f"way back {self.name}"):
            findings = []
            if self._streams:
                late = self._stream.written_since()
                claim = f"writes to the old side of database {self.name} after the last change"
                findings.append(Finding.equal(claim, 0, late, "the old server's binary log"))
            return [*findings, *self._way_back.result()]

    def after_commit(self, on: Doing) -> list[Finding]:
        """The new side is live: its events run, and the reverse feed begins."""
        with on.timed(f"reverse feed {self.name}"):
            removed = self._stream.let_go()
            findings = self._back.start()
        with (
            explained("enable the new side's events", self.new),
            session_of(self.new, self.new.database) as conn,
        ):
            schema.enable_events(conn, self._catalog)
        claim = f"nothing of the feed of database {self.name} is left on the old side"
        seen = ", ".join(removed) or "nothing was there"
        return [Finding(claim, "removed", seen, "old server", True), *findings]

    def way_back(self) -> WayBack:
        """What the reverse feed says."""
        return self._back.state()

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """By the reverse feed; or what differs, as files below ``to``."""
        return self._back.bring_back(on, to)

    def follow_back(self) -> list[Finding]:
        """The reverse feed, which was halted."""
        return self._back.start()

    def leavings(self) -> tuple[str, ...]:
        """What of both feeds stands on the servers."""
        scratch = kept.standing(self.new, self.tag)
        return (*self._stream.standing(), *self._back.standing(), *scratch)

    def let_go(self) -> list[Finding]:
        """Both feeds are removed from both servers."""
        self._way_back.settle()
        failures: list[Failed] = []
        removed: list[str] = []
        scratch = partial(kept.let_go, self.new, self.tag)
        for remove in (self._stream.let_go, self._back.let_go, scratch):
            try:
                removed += remove()
            except Failed as error:
                if error.code != "database-missing":
                    failures.append(error)
        if failures:
            raise failures[0]
        claim = f"nothing of the feeds of database {self.name} stands on a server"
        seen = ", ".join(removed) or "nothing was there"
        return [Finding(claim, "removed", seen, "both servers", True)]

    def retire(self, on: Doing, archive: Path) -> list[Finding]:
        """The old database as a file that reads back; then it is dropped, and new is its own."""
        findings = archive_and_remove(self.name, self.old, self.new, archive, self.tag, on)
        with explained("hand the new database over", self.new), session_of(self.new) as conn:
            schema.unmark(conn, self.new.database)
        self._state.forget()
        return findings

    @cached_property
    def _catalog(self) -> Catalog:
        with explained("look at the old database", self.old), session_of(self.old) as conn:
            catalog = read_catalog(conn, self.old.database)
        if catalog is None:
            what = f"There is no database {self.old.database} on the old server."
            raise Failed("database-missing", what, where=str(self.old))
        return catalog

    @cached_property
    def _verdict(self) -> Verdict:
        with contextlib.ExitStack() as stack:
            stack.enter_context(explained("look at both servers", f"{self.old} and {self.new}"))
            old = stack.enter_context(session_of(self.old, self.old.database))
            verdict = preflight.look_at_old(old, self.old, self._catalog)
            new = stack.enter_context(session_of(self.new))
            there = preflight.look_at_new(new, old, self.new, self._catalog)
        verdict.problems += there.problems
        verdict.warnings += there.warnings
        return verdict

    def _facts(self) -> dict[str, str]:
        """What must not change between rehearsal and cutover."""
        with (
            explained("look at the old database", self.old),
            session_of(self.old, self.old.database) as conn,
        ):
            made = fingerprint(definitions(conn, self._catalog))
        return {"definitions": made, "old server": self.database.version()}

    def _strategy(self) -> str:
        return "dump" if self._verdict.reasons or self.wanted == "dump" else "stream"

    @property
    def _streams(self) -> bool:
        return bool((self._state.get("strategy") or self._strategy()) == "stream")

    @property
    def _way(self) -> Way:
        return self._stream if self._streams else DumpWay(self.base, self.directory)

    @cached_property
    def _stream(self) -> StreamWay:
        return StreamWay(self.base, self.place, self.tag)

    @cached_property
    def _back(self) -> Back:
        return ReverseFeed(self.name, self.old, self.new, self.tag, self.place)

    def _why(self, verdict: Verdict, catalog: Catalog) -> str:
        seconds = max(1, round(catalog.size / _BYTES_A_SECOND))
        reason = "; ".join(verdict.reasons[:3]) or "asked for"
        return f"{reason}; so it is copied inside the pause, about {seconds} s of it"

    def _actions(self, *, streams: bool) -> tuple[str, ...]:
        what = f"database {self.name}"
        if not streams:
            return (f"dump {what} as a backup, copy it to the new side and prove the copy",)
        return (
            f"copy {what} from one snapshot while it is in use, and prove it equal",
            f"let the new side follow every change to {what}, and compare what changed",
        )


def _without_programs() -> list[Problem]:
    """What the kept backup and the archive are made and read with."""
    try:
        programs.find_program("dump")
        programs.find_program("client")
    except Failed as error:
        seen = Finding("the backup can be made", "yes", error.what, error.where, False)
        return [Problem(error.code, seen, "crossfade plan")]
    return []
