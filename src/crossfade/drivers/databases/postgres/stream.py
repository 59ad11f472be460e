"""Strategy ``stream``: copied from one snapshot while the old side works, then followed.

In the pause remain the last changes, the sequences and the proof; so it does not grow with the
data.  What was done stands on the servers and in a small directory of the attempt, so that another
process can go on, or begin again where the snapshot died with the one before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crossfade.drivers.databases.postgres import (
    counts,
    feed,
    identities,
    sequences,
    slots,
    unlogged,
    watch,
)
from crossfade.drivers.databases.postgres.catalog import schema_fingerprint
from crossfade.drivers.databases.postgres.connect import explained
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.drivers.databases.postgres.following import Following
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.leaving import leave
from crossfade.drivers.databases.postgres.living import living
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.drivers.databases.postgres.proof import Difference, Proof
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.drivers.databases.postgres.snapshot_copy import SnapshotCopy
from crossfade.drivers.databases.postgres.subscription import (
    detach,
    enable,
    subscribe,
    subscribed,
)
from crossfade.errors import Failed
from crossfade.model import Digest, Endpoint, Finding
from crossfade.ports import Doing

__all__ = ["StreamWay", "let_go"]

_SLOT_PATIENCE = 60.0
_FOLLOW_PATIENCE = 60.0
_PAUSE_PATIENCE = 10.0
_SMALL_REST = 500
_TRIES = 5
_SOURCE = "rows on both sides, by the keys that the old side's log tells"

_IN_PAUSE = (9, 4)
"""Sessions that the fence, its proof, the marks and the last changes need on the old side; and
those that the last changes and the way back need on the new one."""


class StreamWay:
    """One database's way from the old side to the new one.

    directory is where what the tag stands for is remembered; limit is how many bytes of log the
    old server may keep for us (None: see ``watch.limit_for``).
    """

    def __init__(
        self,
        name: str,
        old: Endpoint,
        new: Endpoint,
        directory: Path,
        tag: str,
        inventory: Inventory,
        base: SnapshotCopy,
        *,
        limit: int | None = None,
    ) -> None:
        self.name, self.old, self.new, self.inventory = name, old, new, inventory
        self.names = Names.of(tag, old.database)
        self.base, self.limit = base, limit
        self.tables = tuple(table for table in inventory.with_data if not table.unlogged)
        self.unlogged = tuple(table for table in inventory.with_data if table.unlogged)
        self._place = _place(directory, self.names)
        self._state = Remembered(self._place / "state")
        self._living = living(self._place)

    def back_up(self, on: Doing) -> list[Finding]:
        """Make the feed on the old side; its snapshot is kept open for ``restore``."""
        if self._living.snapshot is None and not self._follows():
            with on.timed(f"feed {self.name}"):
                self._begin()
        since = slots.words_of(int(self._state["since"]))
        claim = f"changes of database {self.name} are kept since its snapshot"
        return [Finding(claim, "a slot", f"slot {self.names.feed}, {since}", "old server", True)]

    def restore(self, on: Doing) -> list[Finding]:
        """Copy the snapshot, prove it, and follow."""
        findings: list[Finding] = []
        if not self._follows():
            if self._living.snapshot is None:
                self._begin()
            findings += self._copy(on)
            if not _hold(findings):
                return findings
            with (
                feed.brief(self.new) as conn,
                explained("start the feed", self.new),
            ):
                enable(conn, self.names)
            self._state.update(stage="following")
        return [*findings, self._follow(on)]

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The last changes, the sequences, the proof; then the new database is on its own."""
        if self._state.get("stage") == "done" and self._untouched_since():
            return [Finding.from_json(finding) for finding in self._state["findings"]]
        findings: list[Finding] = []
        with self._following() as following, ThreadPoolExecutor(1) as other:
            schema = other.submit(self._same_schema)
            with on.timed(f"last changes {self.name}"):
                following.confirm_quickly()
                following.wait(patience=_PAUSE_PATIENCE)
            apart = self.name, self.old, self.new, self.unlogged, self.inventory.encoding
            with (
                unlogged.carried_beside(*apart) as carried,
                counts.beside(self.name, following, self.tables) as counting,
            ):
                with on.timed(f"proof {self.name}"):
                    findings.append(self._prove(following, still=still))
                with on.timed(f"sequences {self.name}"), explained("set sequences", self.new):
                    two = following.on_old(), following.on_new()
                    findings.append(sequences.advance(*two, self.inventory.sequences, self.name))
                if self.unlogged:
                    with on.timed(f"unlogged {self.name}"):
                        findings += carried.result()
                alone = still and _hold(findings)
                if alone:  # nothing comes any more, and the counting has sessions of its own
                    self._detach(following, on)
                with on.timed(f"counts {self.name}"):
                    findings.append(self._count(counting, still=still))
                findings.append(schema.result())
            if _hold(findings):
                if not alone:
                    self._detach(following, on)
                kept = [finding.as_json() for finding in findings]
                self._state.update(stage="done", findings=kept)
        return findings

    def _detach(self, following: Following, on: Doing) -> None:
        """From here on the new database is on its own.  Raises Failed."""
        with on.timed(f"detach {self.name}"), explained("end the feed", self.new):
            detach(following.on_new(), self.names)
            identities.restore_copy(following.on_new(), self.tables)

    def written_since(self) -> int:
        """Changes that the old side committed since ``bring_last``.

        Nothing is consumed.  Raises Failed."""
        proof = self._proof()
        with (
            feed.brief(self.old) as conn,
            explained("look for late writes", self.old),
        ):
            return proof.waiting(conn)

    def let_go(self) -> list[str]:
        """Remove the feed from both sides; what was removed, in words.  Raises Failed."""
        return let_go(self.old, self.new, self.names, self._place.parent)

    def _begin(self) -> None:
        """Publication, then the slot of changed rows, then the feed's slot and its snapshot."""
        self.let_go()
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        feed.make_role(self.old, self.names)
        with (
            feed.brief(self.old) as conn,
            explained("publish the tables", self.old),
        ):
            feed.publish(conn, self.names, self.tables)
            fingerprint = schema_fingerprint(conn)
            limit = watch.limit_for(conn) if self.limit is None else self.limit
        ours = (self.names.feed, self.names.keys)
        with slots.create(self.old, self.names.keys, export=False, patience=_SLOT_PATIENCE):
            watch.start(self._place / "watch", self.old, ours, limit)
        snapshot = self._living.begin(self.old, self.names.feed, _SLOT_PATIENCE)
        self._state.update(stage="begun", since=snapshot.position, fingerprint=fingerprint)

    def _copy(self, on: Doing) -> list[Finding]:
        """The snapshot's data on the new side, proven equal before anything is fed."""
        if self._living.snapshot is None:
            raise Failed("snapshot-gone", "The feed's snapshot is gone; it has to begin again.")
        snapshot = self._living.snapshot.snapshot
        self.base.prepare(snapshot, on)
        subscribe(self.old, self.new, self.names, feed.make_role(self.old, self.names))
        with self.base.pace() as pace, ThreadPoolExecutor(1) as beside:
            self.base.copy(snapshot, on, pace)
            there = beside.submit(self._old_at, snapshot, pace)
            self.base.finish(on, pace)
            with on.timed(f"digest {self.name}"):
                new = self.base.digest_new(pace)
                old, fingerprint = there.result()
        return [
            Finding.equal(
                f"the schema of database {self.name} is the one that is followed",
                self._state["fingerprint"],
                fingerprint,
                "catalogue of the old side",
            ),
            Finding.same(f"the copy of database {self.name} at its snapshot", old, new),
        ]

    def _old_at(self, snapshot: str, pace: Pace) -> tuple[Digest, str]:
        """Digest and schema of the old side at the snapshot, which is then let go."""
        try:
            return self.base.digest_old(snapshot, pace)
        finally:
            self._living.release()

    def _follow(self, on: Doing) -> Finding:
        """Catch up, compare what changed until little is left, and keep it so."""
        following = self._living.take_over() or self._open()
        try:
            with on.timed(f"catch up {self.name}"):
                following.catch_up(patience=_FOLLOW_PATIENCE)
            self.base.analyze(on)
            if not following.follow_durably(patience=_FOLLOW_PATIENCE):
                on.tell(f"database {self.name}: the new side is slow to make commits durable")
            with on.timed(f"first proof {self.name}"):
                _compare_until_small(following)
            following.aside()
        except BaseException:
            following.close()
            raise
        for side, sessions in zip((self.old, self.new), _IN_PAUSE, strict=True):
            self._living.ready(side, sessions)
        self._living.keep(following)
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

    def _count(self, counting: counts.Counting, *, still: bool) -> Finding:
        with explained("count rows", f"{self.old} and {self.new}"):
            return counting.result(still=still, patience=_PAUSE_PATIENCE)

    def _same_schema(self) -> Finding:
        with explained("read the schema", self.old), feed.brief(self.old) as conn:
            now = schema_fingerprint(conn)
        return Finding.equal(
            f"the old side's schema of database {self.name} is the one that was copied",
            self._state["fingerprint"],
            now,
            "catalogue of the old side",
        )

    def _follows(self) -> bool:
        """Whether the proven copy follows the old side, also by another process's doing."""
        if self._state.get("stage") != "following":
            return False
        with (
            feed.brief(self.old) as old,
            feed.brief(self.new) as new,
        ):
            slot = slots.look(old, self.names.feed)
            return slot is not None and not slot.lost and subscribed(new, self.names)

    def _untouched_since(self) -> bool:
        return self.written_since() == 0

    @contextlib.contextmanager
    def _following(self) -> Iterator[Following]:
        """What the keeper followed with, or new sessions in another process; closed in the end."""
        with self._living.take_over() or self._open() as following:
            yield following

    def _open(self) -> Following:
        given_up = lambda: watch.given_up(self._place / "watch")  # noqa: E731
        return Following(self.old, self.new, self.names, self._proof(), given_up)

    def _proof(self) -> Proof:
        known = {(table.schema, table.name): table for table in self.tables}
        return Proof(self.names, known, int(self._state["since"]), self._place / "rest")


def let_go(old: Endpoint, new: Endpoint, names: Names, directory: Path) -> list[str]:
    """As ``StreamWay.let_go``, also for a feed of another process.  Raises Failed."""
    place = _place(directory, names)
    living(place).close()
    watch.stop(place / "watch")
    for file in ("state", "rest"):
        (place / file).unlink(missing_ok=True)
    return leave(old, new, names)


def _place(directory: Path, names: Names) -> Path:
    return directory / f"stream-{names.feed}"


def _hold(findings: Sequence[Finding]) -> bool:
    return all(finding.holds for finding in findings)


def _compare_until_small(following: Following) -> None:
    deadline = time.monotonic() + _FOLLOW_PATIENCE
    while True:
        following.round(patience=_FOLLOW_PATIENCE)
        if following.proof.rest <= _SMALL_REST or time.monotonic() > deadline:
            return
        time.sleep(0.1)
