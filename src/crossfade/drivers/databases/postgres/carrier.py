"""How one PostgreSQL database gets to the new side: by a dump in the pause, or by a stream.

What belongs to an upgrade is found again by any process: on the servers by the tag, on disk in a
directory that has the tag's name, beside those of the attempts.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path

from crossfade.drivers.databases.early import Early
from crossfade.drivers.databases.postgres import (
    fence,
    fence_proof,
    identities,
    kept,
    leaving,
    place,
    preflight,
    stream,
)
from crossfade.drivers.databases.postgres.archive import archive_and_remove
from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import explained
from crossfade.drivers.databases.postgres.dump import DumpWay
from crossfade.drivers.databases.postgres.feed import Names, brief
from crossfade.drivers.databases.postgres.fitting import fit
from crossfade.drivers.databases.postgres.inventory import Inventory, Table
from crossfade.drivers.databases.postgres.preflight import Verdict
from crossfade.drivers.databases.postgres.remembered import Remembered
from crossfade.drivers.databases.postgres.reverse import ReverseFeed
from crossfade.drivers.databases.postgres.snapshot_copy import SnapshotCopy
from crossfade.drivers.databases.postgres.stream import StreamWay
from crossfade.errors import Failed
from crossfade.model import Endpoint, Finding, Problem
from crossfade.ports import Carrying, Doing, Kept, WayBack

__all__ = ["PostgresCarrier"]

_BYTES_A_SECOND = 40_000_000
"""What a dump and its restore took in our measurements on two processors."""


class PostgresCarrier:
    """Implements ``ports.Carrier``.

    directory is the attempt's own; tag is the upgrade's, and the same for all its attempts.
    strategy is what the operator wants (empty: the best that is possible); limit is how many bytes
    of log the old server may keep for the feed; rate is bytes a second for the copy.
    """

    def __init__(
        self,
        name: str,
        old: Endpoint,
        new: Endpoint,
        directory: Path,
        tag: str,
        *,
        strategy: str = "",
        limit: int | None = None,
        rate: float | None = None,
    ) -> None:
        self.name, self.old, self.new = name, old, new
        self.directory, self.tag = directory, tag
        self.wanted, self.limit, self.rate = strategy, limit, rate
        self.names = Names.of(tag, old.database)
        self._place = directory.parent / tag
        self._chosen = Remembered(self._place / f"{self.names.feed}.chosen")
        self._way_back = Early(lambda: self._reverse().prepare())

    def preview(self) -> Carrying:
        """The strategy and why; looks at both servers and changes nothing."""
        try:
            verdict, inventory = self._verdict, self._inventory
        except Failed as error:
            return Carrying("dump", problems=(_problem(error),))
        strategy = self._strategy(verdict)
        streams = strategy == "stream"
        return Carrying(
            strategy,
            why=self._why(verdict, strategy),
            size=inventory.bytes,
            actions=(*self._actions(streams=streams), *verdict.fit.actions),
            touches=self._touches() if streams else (),
            needs={} if streams else {self.directory: inventory.bytes},
            problems=(*inventory.problems, *self._in_the_way(verdict, streams=streams)),
            warnings=tuple(dict.fromkeys(self._warnings(verdict))),
            facts=inventory.facts,
        )

    def keep(self, on: Doing, to: Path) -> Kept:
        """A dump of one snapshot, restored on the new server."""
        old, new, tag, known = self.old, self.new, self.tag, self._inventory
        return kept.keep(self.name, old, new, to, tag, known, on, rate=self.rate)

    def back_up(self, on: Doing) -> list[Finding]:
        """A dump of the old side, or the beginning of its feed."""
        self._chosen.update(strategy=self._strategy(self._verdict))
        if self._streams:
            problems = self._in_the_way(self._verdict, streams=True)
            if problems:
                first = problems[0]
                what = f"{first.finding.claim}: {first.finding.observed}; {first.next}."
                raise Failed(first.code, what, where=f"{self.old} -> {self.new}")
        return self._way.back_up(on)

    def restore(self, on: Doing) -> list[Finding]:
        """The copy stands on the new side, equal to the old side's snapshot."""
        return self._way.restore(on)

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The last changes and the proof."""
        return self._way.bring_last(on, still=still)

    def mark(self) -> str:
        """The fence that holds, and the schema."""
        return fence.mark(self.old)

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
                source = "the slot that tells which rows changed"
                findings.append(Finding.equal(claim, 0, late, source))
            return [*findings, *self._way_back.result()]

    def after_commit(self, on: Doing) -> list[Finding]:
        """The forward feed goes, the reverse feed begins."""
        with on.timed(f"reverse feed {self.name}"):
            removed = self._forward_gone()
            findings = self._reverse().start()
        claim = f"nothing of the feed of database {self.name} is left on the old side"
        seen = ", ".join(removed) or "nothing was there"
        return [Finding(claim, "removed", seen, "old server", True), *findings]

    def way_back(self) -> WayBack:
        """What the reverse feed says."""
        return self._reverse(bare=True).state()

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """By the reverse feed; or what differs, as files below ``to``."""
        return self._reverse().bring_back(on, to)

    def follow_back(self) -> list[Finding]:
        """The reverse feed, which was halted."""
        return self._reverse().start()

    def leavings(self) -> tuple[str, ...]:
        """What of both feeds stands on the servers."""
        back = self._reverse(bare=True).names
        found = leaving.standing(self.old, self.new, self.names)
        found += kept.standing(self.new, self.tag)
        return (*found, *leaving.standing(self.new, self.old, back, sides=("new", "old")))

    def let_go(self) -> list[Finding]:
        """Both feeds are removed from both servers."""
        self._way_back.settle()
        failures: list[Failed] = []
        removed: list[str] = []
        scratch = partial(kept.let_go, self.new, self.tag)
        for remove in (self._forward_gone, self._reverse(bare=True).let_go, scratch):
            try:
                removed += remove()
            except Failed as error:
                failures.append(error)
        if failures:
            raise failures[0]
        claim = f"nothing of the feeds of database {self.name} stands on a server"
        seen = ", ".join(removed) or "nothing was there"
        return [Finding(claim, "removed", seen, "both servers", True)]

    def retire(self, on: Doing, archive: Path) -> list[Finding]:
        """The old database as a file that reads back; then it is dropped."""
        with on.timed(f"archive {self.name}"):
            findings = archive_and_remove(self.name, self.old, archive)
        with explained("hand the new database over", self.new):
            place.unmark(self.new)
        return findings

    @cached_property
    def _inventory(self) -> Inventory:
        with explained("look at the old database", self.old), brief(self.old) as conn:
            return inspect(conn)

    @cached_property
    def _verdict(self) -> Verdict:
        inventory = self._inventory
        with (
            explained("look at both servers", f"{self.old} and {self.new}"),
            brief(self.old) as conn,
            place.maintenance(self.new) as other,
        ):
            version = other.info.server_version
            verdict = preflight.look_at_old(conn, inventory, self.names, version)
            verdict.on_new = preflight.look_at_new(other, self.names)
            verdict.fit = fit(inventory, conn, other, self.old.user, self.new.database)
        if place.look(self.new, self.tag) == "in use":
            verdict.of_place = preflight.in_use(self.new)
        return verdict

    def _strategy(self, verdict: Verdict) -> str:
        return "dump" if verdict.reasons or self.wanted == "dump" else "stream"

    @property
    def _streams(self) -> bool:
        chosen = self._chosen.get("strategy") or self._strategy(self._verdict)
        return bool(chosen == "stream")

    @property
    def _way(self) -> StreamWay | DumpWay:
        return self._stream if self._streams else self._dump

    @cached_property
    def _stream(self) -> StreamWay:
        old, new, tag, inventory = self.old, self.new, self.tag, self._inventory
        base = SnapshotCopy(self.name, old, new, self._place, tag, inventory, rate=self.rate)
        return StreamWay(self.name, old, new, self._place, tag, inventory, base, limit=self.limit)

    @cached_property
    def _dump(self) -> DumpWay:
        return DumpWay(
            self.old,
            self.new,
            self.directory,
            self.tag,
            self._inventory,
            name=self.name,
            rate=self.rate,
        )

    def _reverse(self, *, bare: bool = False) -> ReverseFeed:
        """The reverse feed; bare: only to ask after it or to remove it, so nothing is looked up."""
        tables = () if bare else tuple(filter(self._comes_back, self._inventory.tables))
        sequences = () if bare else self._inventory.sequences
        return ReverseFeed(
            self.old, self.new, self.tag, tables, self._place, sequences=sequences, name=self.name
        )

    def _comes_back(self, table: Table) -> bool:
        return not {table.name, str(table)} & set(self.old.bookkeeping)

    def _forward_gone(self) -> list[str]:
        if "_stream" in self.__dict__:
            return self._stream.let_go()
        return stream.let_go(self.old, self.new, self.names, self._place)

    def _in_the_way(self, verdict: Verdict, *, streams: bool) -> list[Problem]:
        feeding = [*verdict.problems, *verdict.on_new] if streams else []
        of_fence = self._unfenceable
        return list(dict.fromkeys((*verdict.of_place, *verdict.fit.problems, *feeding, *of_fence)))

    @cached_property
    def _unfenceable(self) -> tuple[Problem, ...]:
        """What would keep us from fencing the old database."""
        return fence_proof.problems(self.old, [self._reverse(bare=True).names.feed])

    def _warnings(self, verdict: Verdict) -> list[str]:
        fitting, known = verdict.fit, self._inventory
        warnings = [*known.warnings, *fitting.not_carried, *fitting.warnings, *verdict.warnings]
        why = self._reverse().possible()
        if why:
            warnings.append(f"database {self.name}: going back will lose writes, since {why}")
        if self._inventory.matviews and self._strategy(verdict) == "stream":
            names = ", ".join(self._inventory.matviews[:5])
            warnings.append(
                f"materialized views are filled from the copy, before the pause: {names}"
            )
        return warnings

    def _why(self, verdict: Verdict, strategy: str) -> str:
        if strategy == "stream":
            return ""
        seconds = max(1, round(self._inventory.bytes / _BYTES_A_SECOND))
        reason = "; ".join(verdict.reasons[:3]) or "asked for"
        return f"{reason}; so it is copied inside the pause, about {seconds} s of it"

    def _actions(self, *, streams: bool) -> tuple[str, ...]:
        what = f"database {self.name}"
        if not streams:
            return (f"dump {what}, and load it on the new side",)
        return (
            f"copy {what} from one snapshot while it is in use, and prove it equal",
            f"let the new side follow every change to {what}, and compare what changed",
        )

    def _touches(self) -> tuple[str, ...]:
        feed, keys = self.names.feed, self.names.keys
        return (
            f"role {feed} (may replicate, nothing else)",
            f"publication {feed}",
            f"replication slots {feed} and {keys}",
            *identities.touches(self._inventory.with_data),
        )


def _problem(error: Failed) -> Problem:
    finding = Finding("the databases can be looked at", "yes", error.what, error.where, False)
    return Problem(error.code, finding, "crossfade plan")
