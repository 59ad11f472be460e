"""The names of a site, as ``ports.Names``: every act looks first, compares, and is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossfade.errors import CrossfadeError, Failed
from crossfade.manifest import NameSpec
from crossfade.model import Finding, Problem, Side
from crossfade.naming._record import Record
from crossfade.naming._words import behind, duration, many, moment
from crossfade.ports import DnsRecord, Teller, Traffic, Zone

__all__ = ["Naming"]

_LOOK_AGAIN = 0.5
_TELL_EVERY = 30.0


@dataclass
class Naming:
    """The names of one zone.  ttl is the low one; patience is for servers that have to follow, in
    seconds; quiet is for how long nobody may have come by an old address, in seconds."""

    zone: Zone
    names: Sequence[NameSpec]
    ttl: int
    patience: float
    quiet: float
    traffic: Traffic
    record: Record
    teller: Teller

    # Before the cutover.

    def actions(self) -> tuple[str, ...]:
        """What will be changed and waited for, in words."""
        lines = [
            f"then {name.name} {name.kind}: {many(name.old)} -> {many(name.new)}"
            for name in self.names
        ]
        how = f"by {self.zone.traits.how}, if it is as expected"
        return (
            *(f"{line}, {how}" for line in lines),
            f"wait until every name server of {self.zone.name} says so, and {self.ttl} s more; "
            "the gate serves who still comes to the old address",
        )

    def problems(self) -> tuple[Problem, ...]:
        """What keeps the names from being switched.  Asks the servers, changes nothing."""
        found: list[Problem] = []
        if self.pointed() is Side.NEW:
            return ()
        for spec in self.names:
            try:
                seen = self._seen(spec, Side.OLD)
                self.zone.allowed(seen)
            except CrossfadeError as error:
                claim = f"{spec.name} {spec.kind} can be switched"
                where = error.where.partition("\n")[0]
                finding = Finding(claim, "yes", f"{error.what}  {where}", self.zone.name, False)
                found.append(Problem(error.code, finding, _MEND.get(error.code, "crossfade plan")))
                if error.code == "dns-record-changed":
                    continue
                break  # it would be the same for the others
            found += self._ttl_problems(seen)
        return tuple(found)

    def _ttl_problems(self, seen: DnsRecord) -> Iterator[Problem]:
        claim = f"caches follow {seen.name} {seen.kind} within {duration(self.ttl)}"
        expected = f"a TTL of {duration(self.ttl)}"
        if seen.ttl > self.ttl:
            said = f"its TTL is {duration(seen.ttl)}, so caches may keep the old address that long"
            finding = Finding(claim, expected, said, self.zone.name, False)
            yield Problem("dns-ttl-long", finding, "crossfade dns lower")
            return
        if not self.record.was_lowered(seen):
            return
        until = self.record.cached_until()
        if until is None:
            finding = Finding(claim, expected, "not at every server yet", self.zone.name, False)
            yield Problem("dns-ttl-not-out", finding, "crossfade dns lower")
        elif (left := until - self.record.now()) > 0:
            said = f"caches may have the old TTL until {moment(until)}, for {duration(left)} more"
            finding = Finding(claim, expected, said, self.zone.name, False)
            next = f"crossfade cutover   (after {moment(until)})"
            yield Problem("dns-ttl-not-out", finding, next)

    def lower(self) -> float:
        """Lower the TTLs, and wait until every server says so.  Until when caches may have the
        TTL of before (wall clock).  Fine when it was done.  Raises Failed."""
        changed = False
        for spec in self.names:
            seen = self._seen(spec, Side.OLD)
            if seen.ttl > self.ttl:
                low = replace(seen, ttl=self.ttl)
                self.record.note("lowering", seen, ttl=seen.ttl)
                self.zone.replace(seen, low)
                self.record.note("lowered", low, ttl=low.ttl)
                self.teller.say(f"{seen.name} {seen.kind}: TTL {seen.ttl} s -> {low.ttl} s")
                changed = True
        if changed or self.record.passed("lowered-everywhere") is None:
            wanted = [self._seen(spec, Side.OLD) for spec in self.names]
            self._everywhere(wanted, self.patience, lambda seen, want: seen == want)
            self.record.note("lowered-everywhere")
        return self.record.cached_until() or self.record.now()

    # The switch, and the way back.

    def point(self, side: Side) -> list[Finding]:
        """Let every name lead to ``side``'s address; see the port."""
        findings = []
        if side is Side.NEW:
            self._count_late()
        for spec in self.names:
            away = self._wanted(spec, side.other)
            seen = self.zone.get(spec.name, spec.kind)
            ttl = min(self.ttl, seen.ttl) if seen else self.ttl
            wanted = replace(self._wanted(spec, side), ttl=ttl)
            if not (seen == wanted and self.record.done(wanted, side)):
                changes = seen is None or seen.values != wanted.values
                before = seen.ttl if seen else self.ttl
                self.record.note("pointing", wanted, side=side, ttl=before, changes=changes)
                self.zone.replace(away, wanted)
                self.record.note("pointed", wanted, side=side)
                self.teller.say(f"{wanted.words} (TTL {ttl} s)")
            now = self.zone.get(spec.name, spec.kind)
            claim = f"{spec.name} {spec.kind} leads to"
            shown = many(now.values) if now else "nothing"
            findings.append(Finding.equal(claim, many(wanted.values), shown, self.zone.name))
        if side is Side.OLD:
            self._tell_gate(None)
        return findings

    def pointed(self) -> Side:
        """Where the names lead, by the journal; the new side as soon as one of them was to."""
        sides = {self.record.side_of(self._wanted(spec, Side.OLD)) for spec in self.names}
        return Side.NEW if Side.NEW in sides else Side.OLD

    def complete(self, side: Side) -> bool:
        """Whether every name was seen to lead there, by the journal."""
        wanted = [self._wanted(spec, side) for spec in self.names]
        if side is Side.OLD and all(self.record.untouched(each) for each in wanted):
            return True
        return all(self.record.done(each, side) for each in wanted)

    def past_the_gate(self) -> bool:
        """Whether users may have come to the new side past the gate since the last cutover."""
        return self.record.past_the_gate()

    def wait(self, *, patience: float | None = None) -> list[Finding]:
        """Wait until every authoritative server says so, and then for the TTL; see the port."""
        side = self.pointed()
        if not self.complete(side):
            raise Failed(
                "dns-half-switched",
                f"Not every name leads to the {side} side yet.",
                where=", ".join(f"{name.name} {name.kind}" for name in self.names),
                next="crossfade dns switch",
            )
        servers = "not asked again"
        if self.record.passed("published") is None:
            wanted = [self._wanted(spec, side) for spec in self.names]
            asked = self._everywhere(
                wanted, patience or self.patience, lambda seen, want: seen.values == want.values
            )
            servers = ", ".join(asked)
            self.record.note("published", side=side, servers=asked)
        self._sleep(self.record.followed_by() or 0.0)
        if self.record.passed("followed") is None:
            self.record.note("followed", side=side)
        claim = f"every name server of {self.zone.name} leads to the {side} side, for a TTL"
        return [Finding(claim, "all", "all", servers, True)]

    def restore_ttl(self) -> list[Finding]:
        """Put the TTLs back that the names had before.  Fine when there is nothing to do."""
        findings = []
        for spec in self.names:
            first = self.record.first_ttl(self._wanted(spec, Side.OLD))
            if first is None:
                continue
            claim = f"the TTL of {spec.name} {spec.kind}"
            try:
                seen = self._seen(spec, self.pointed())
            except Failed as error:
                if error.code != "dns-record-changed":
                    raise
                findings.append(Finding(claim, "as before", error.what, self.zone.name, True))
                continue  # it is somebody else's now
            wanted = replace(seen, ttl=first)
            self.zone.replace(seen, wanted)
            self.record.note("restored", wanted, ttl=first)
            now = self.zone.get(spec.name, spec.kind)
            findings.append(Finding.equal(claim, first, now.ttl if now else -1, self.zone.name))
        return findings

    # Who still comes to the old address.

    def _count_late(self) -> None:
        """Whoever comes from the first switch on may be a late comer; those of an earlier upgrade
        are forgotten."""
        state = self.traffic.look()
        if self.pointed() is Side.OLD or (state and not state.late_since):
            self._tell_gate(self.record.now())

    def _tell_gate(self, since: float | None) -> None:
        """A gate that does not count (one of another kind, or an older one that still runs) is no
        reason not to switch: that nobody knows who comes is told when the old side is retired."""
        if not self.traffic.traits.counts_late:
            return
        try:
            self.traffic.count_late(since, [name.name for name in self.names])
        except Failed as error:
            self.teller.say(f"late comers are not counted: {error.what}")

    def late_problems(self) -> tuple[Problem, ...]:
        """What of those who come late speaks against retiring the old side."""
        state, now = self.traffic.look(), self.record.now()
        if state is None or self.pointed() is Side.OLD:
            return ()
        claim = f"nobody came to the old address for {duration(self.quiet)}"
        source = f"gate at {self.traffic.listen}"
        since = now - state.late_since if state.late_since else 0.0
        ours = [late for late in state.late if late.name != late.OTHER]
        recent = [late for late in ours if now - late.last < self.quiet]
        if recent:
            who = "; ".join(
                f"{late.address} asked for {late.name} {late.count} times, "
                f"last {duration(now - late.last)} ago"
                for late in recent[:10]
            )
            more = f"; and {len(recent) - 10} others" if len(recent) > 10 else ""
            finding = Finding(claim, "nobody", who + more, source, False)
            return (Problem("stragglers-come", finding, "crossfade status"),)
        if since < self.quiet:
            said = f"nobody, but they were counted for {duration(since)} only"
            finding = Finding(claim, "nobody", said, source, False)
            return (Problem("stragglers-unknown", finding, "crossfade status"),)
        return ()

    def state(self) -> Mapping[str, Any]:
        """How the names stand, by the journal alone, as plain data."""
        side, record = self.pointed(), self.record
        return {
            "zone": self.zone.name,
            "names": [f"{name.name} {name.kind}" for name in self.names],
            "lead_to": str(side),
            "complete": self.complete(side),
            "published": record.passed("published"),
            "followed": record.passed("followed"),
            "cached_until": record.followed_by(),
            "old_ttl_until": record.cached_until(),
            "stragglers": self.quiet,
        }

    # Parts.

    def _wanted(self, spec: NameSpec, side: Side) -> DnsRecord:
        return DnsRecord(spec.name, spec.kind, spec.new if side is Side.NEW else spec.old, self.ttl)

    def _seen(self, spec: NameSpec, side: Side) -> DnsRecord:
        """The record as it is, which has to lead to this side.  Raises Failed."""
        seen, wanted = self.zone.get(spec.name, spec.kind), self._wanted(spec, side)
        if seen is None or seen.values != wanted.values:
            shown = many(seen.values) if seen else "not there"
            raise Failed(
                "dns-record-changed",
                f"{spec.name} {spec.kind} is {shown}, not {many(wanted.values)} as expected.",
                where=f"zone {self.zone.name}; traffic.dns.names",
            )
        return seen

    def _everywhere(
        self,
        wanted: Sequence[DnsRecord],
        patience: float,
        agrees: Callable[[DnsRecord, DnsRecord], bool],
    ) -> list[str]:
        """Wait until every server says so; the servers.  Raises Failed naming those that do not."""
        until = time.monotonic() + patience
        asked: list[str] = []
        for record in wanted:
            while True:
                answers = self.zone.asked(record.name, record.kind)
                missing = [a for a in answers if not (a.record and agrees(a.record, record))]
                if not missing:
                    break
                if time.monotonic() > until:
                    raise behind(record, answers, missing, patience)
                time.sleep(_LOOK_AGAIN)
            asked = [answer.server for answer in answers]
        return asked

    def _sleep(self, until: float) -> None:
        told = 0.0
        while (left := until - self.record.now()) > 0:
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                self.teller.say(f"… caches may have the old address for {duration(left)} more")
            time.sleep(min(left, 0.5))


_MEND = {
    "dns-key-refused": "edit crossfade.yaml (traffic.dns), then: crossfade plan",
    "dns-read-only": "let the key change the zone, then: crossfade plan",
    "dns-record-changed": "edit crossfade.yaml (traffic.dns.names), then: crossfade plan",
    "dns-lexicon-missing": "install crossfade[lexicon], then: crossfade plan",
}
