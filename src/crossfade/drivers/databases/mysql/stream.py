"""Strategy ``stream``: copied from one snapshot while the old side works, then followed.

In the pause remain the last changes, the counters and the proof; so it does not grow with the
data.  What was done stands on the new server and in a small directory of the upgrade, so that
another process can go on, or begin again where the snapshot died with the one before.  On the old
server nothing is made at all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from crossfade.drivers.databases.mysql.apply import Applier, standing
from crossfade.drivers.databases.mysql.base_copy import BaseCopy, session_of
from crossfade.drivers.databases.mysql.binlog import Log, Position, Query, current_position
from crossfade.drivers.databases.mysql.catalog import Catalog, read_catalog
from crossfade.drivers.databases.mysql.connect import explained
from crossfade.drivers.databases.mysql.feed import Feed, Names, count_changes
from crossfade.drivers.databases.mysql.following import Following, Keeper
from crossfade.drivers.databases.mysql.proof import Difference, Proof
from crossfade.drivers.databases.mysql.statements import first_words
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Doing

__all__ = ["StreamWay"]

_FOLLOW_PATIENCE = 60.0
_PAUSE_PATIENCE = 10.0
_SMALL_REST = 500
_TRIES = 5
_SOURCE = "rows on both sides, by the keys that the old side's binary log tells"


class StreamWay:
    """One database's way from the old side to the new one.

    directory is the upgrade's own; the tag is in the name of what is made on the new server."""

    def __init__(self, base: BaseCopy, directory: Path, tag: str) -> None:
        self.name, self.base = base.name, base
        self.old, self.new = base.old, base.new
        self.names = Names.of(tag, base.old.database)
        self._place = directory / f"stream-{self.names.feed}"
        self._state = Remembered(self._place / "state")
        self._snapshot = False
        self._catalog: Catalog | None = None
        self._keeper: Keeper | None = None

    def back_up(self, on: Doing) -> list[Finding]:
        """Open the snapshot, which is kept for ``restore``, and try whether its log can be read."""
        if not self._snapshot and not self._follows():
            with on.timed(f"feed {self.name}"):
                self._begin()
        since = self._state["since"]
        claim = f"changes of database {self.name} can be read since its snapshot"
        return [Finding(claim, "in the binary log", f"from {since} on", "old server", True)]

    def restore(self, on: Doing) -> list[Finding]:
        """Copy the snapshot, prove it, and follow."""
        findings: list[Finding] = []
        if not self._follows():
            if not self._snapshot:
                self._begin()
            findings += self._copy(on)
            if not all(finding.holds for finding in findings):
                return findings
            feed = self._feed(self._proof())
            with explained("begin to follow", self.new):
                feed.applier.prepare(Position.parse(self._state["since"]))
            feed.pause()
            self._state.update(stage="following")
        return [*findings, self._follow(on)]

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The last changes, the proof, the counters; then the new database is on its own."""
        if self._state.get("stage") == "done" and self.written_since() == 0:
            return [Finding.from_json(finding) for finding in self._state["findings"]]
        with self._following() as following:
            with on.timed(f"last changes {self.name}"):
                following.reach(patience=_PAUSE_PATIENCE)
            with on.timed(f"proof {self.name}"):
                findings = [self._prove(following, still=still)]
                if still:
                    findings.append(self._counted(following))
                ended = str(following.proof.end)
        with on.timed(f"sequences {self.name}"):
            findings.append(self.base.advance())
        if all(finding.holds for finding in findings):
            told = [finding.as_json() for finding in findings]
            self._state.update(stage="done", ended=ended, findings=told)
        return findings

    def written_since(self) -> int:
        """Changes that the old side committed since ``bring_last``.  Raises Failed."""
        since = Position.parse(self._state["ended"])
        with explained("look for late writes", self.old), session_of(self.old) as conn:
            now = current_position(conn)
        if now is None:
            raise Failed("binary-log-off", "The server logs no changes.", where=str(self.old))
        return count_changes(self.old, since, now, patience=_PAUSE_PATIENCE)

    def standing(self) -> list[str]:
        """What of the feed stands on either server, in words.  Changes nothing.  Raises Failed."""
        with explained("look for the feed", self.new), session_of(self.new) as conn:
            found = standing(conn, self.names.feed)
        return [f"{one} on the new side's server" for one in found]

    def let_go(self) -> list[str]:
        """Remove the feed; what was removed, in words.  Raises Failed."""
        if self._keeper is not None:
            self._keeper.stop().close()
            self._keeper = None
        self._release()
        self._state.forget()
        (self._place / "rest").unlink(missing_ok=True)
        with explained("remove the feed from the new side", self.new):
            return Applier(self.new, self.names.feed).let_go()

    def _begin(self) -> None:
        """A snapshot and its place in the binary log, which can be read from there on."""
        self.let_go()
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        file, offset = self.base.begin()
        if not file:
            self.base.release()
            raise Failed("binary-log-off", "The server logs no changes.", where=str(self.old))
        since = Position.of(file, offset)
        try:
            Log(self.old, since).probe()
        except BaseException:
            self.base.release()
            raise
        self._snapshot, self._catalog = True, self.base.catalog
        self._state.update(stage="begun", since=str(since))

    def _release(self) -> None:
        self.base.release()
        self._snapshot = False

    def _copy(self, on: Doing) -> list[Finding]:
        """The snapshot's data on the new side, proven equal before anything is fed."""
        base = self.base
        try:
            base.prepare(on)
            base.copy(on)
            with on.timed(f"digest {self.name}"):
                old, new = base.digest_both()
            same = Finding.same(f"the copy of database {self.name} at its snapshot", old, new)
            base.finish(on)
            base.analyze(on)
        finally:
            self._release()
        return [same, *base.said]

    def _follow(self, on: Doing) -> Finding:
        """Catch up, compare what changed until little is left, and keep it so."""
        if self._keeper is not None:
            self._keeper.stop().close()
            self._keeper = None
        following = self._opened()
        try:
            with on.timed(f"catch up {self.name}"):
                following.catch_up(patience=_FOLLOW_PATIENCE)
            with on.timed(f"first proof {self.name}"):
                _compare_until_small(following)
        except BaseException:
            following.close()
            raise
        self._keeper = Keeper(following)
        left, compared = following.proof.rest, following.proof.compared
        return Finding(
            f"database {self.name} follows the old side",
            f"at most {_SMALL_REST} rows left to compare",
            f"{compared} changed rows were compared, {left} are left",
            _SOURCE,
            left <= _SMALL_REST,
        )

    def _prove(self, following: Following, *, still: bool) -> Finding:
        """Compare what changed since the last round: all of it, or what is not in use."""
        differing: list[Difference] = []
        for attempt in range(1 if still else _TRIES):
            time.sleep(0.02 * attempt)
            differing = following.round(patience=_PAUSE_PATIENCE)
            if not differing:
                break
        proof = following.proof
        seen = f"{proof.compared} compared"
        holds = not differing
        if differing and not still:
            seen += f", {proof.rest} in use and left out"
            holds = proof.rest <= max(100, proof.compared // 2)
        if not holds:
            seen += "; differs in " + ", ".join(str(one) for one in differing[:5])
        return Finding(
            f"every row of database {self.name} that changed since the snapshot is equal",
            "all of them" if still else "all that are not in use",
            seen,
            _SOURCE,
            holds,
        )

    def _counted(self, following: Following) -> Finding:
        """Small tables have as many rows on both sides: also what no log tells would show."""
        tables, wrong = following.miscounted()
        seen = f"{tables} tables counted"
        if wrong:
            seen += f"; differs in {', '.join(wrong[:5])}"
        claim = f"small tables of database {self.name} have as many rows on both sides"
        return Finding(claim, "none differs", seen, "count(*) on both sides", not wrong)

    def _follows(self) -> bool:
        """Whether the proven copy follows the old side, also by another process's doing."""
        return self._state.get("stage") == "following" and bool(self.standing())

    @contextlib.contextmanager
    def _following(self) -> Iterator[Following]:
        """What the keeper followed with, or new sessions in another process; closed in the end."""
        following = self._opened() if self._keeper is None else self._keeper.stop()
        self._keeper = None
        try:
            yield following
        finally:
            following.close()

    def _opened(self) -> Following:
        proof = self._proof()
        return Following(self.old, self.new, self._feed(proof), proof)

    def _proof(self) -> Proof:
        since = Position.parse(self._state["since"])
        return Proof(self._old_catalog(), since, self._place / "rest")

    def _feed(self, proof: Proof) -> Feed:
        catalog = self._old_catalog()
        return Feed(
            self.old,
            self.new,
            self.names.feed,
            {*catalog.tables, *catalog.sequences},
            take=proof.take,
            ddl=self._refuse,
            since=proof.end,
        )

    def _refuse(self, event: Query) -> None:
        raise Failed(
            "schema-changed",
            "The old side's schema was changed while it was followed"
            f" ({first_words(event.statement)} ...); begin again.",
            where=f"{self.old}, binary log {event.at}",
        )

    def _old_catalog(self) -> Catalog:
        """What stands in the old database; a change to it since would be refused by the feed."""
        if self._catalog is None:
            with (
                explained("look at the old database", self.old),
                session_of(self.old, self.old.database) as conn,
            ):
                self._catalog = read_catalog(conn, self.old.database)
            if self._catalog is None:
                raise Failed("database-missing", "The database is gone.", where=str(self.old))
        return self._catalog


def _compare_until_small(following: Following) -> None:
    deadline = time.monotonic() + _FOLLOW_PATIENCE
    while True:
        following.round(patience=_FOLLOW_PATIENCE)
        if following.proof.rest <= _SMALL_REST or time.monotonic() > deadline:
            return
        time.sleep(0.1)
