"""What all web servers before the gate have in common: look, change, check, reload, read back.

A server's own module says which files belong to its configuration and where upstreams stand in
them, and how it checks and reloads.  The order is always: journal, files, the server's own check,
reload, requests that show which way they go.  What fails is put back and reloaded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from crossfade.drivers.fronts._asked import AskedFront
from crossfade.drivers.fronts._changes import Change, checksum
from crossfade.drivers.fronts._files import connections, keep, read, write
from crossfade.drivers.fronts._planned import PlannedFront, differing
from crossfade.errors import CrossfadeError, Failed, RecoveryFailed
from crossfade.model import Finding, Side
from crossfade.ports import Doing

__all__ = ["ConfiguredFront"]

_PAST = 10.0


class ConfiguredFront(PlannedFront, AskedFront):
    """``ports.Front`` for a server that is told its upstreams by files."""

    def insert(self, on: Doing, by: str) -> list[Finding]:
        """Point it at the gate; see the port."""
        self.must_hold(self.name)
        changes = self.insertion()
        answer = self.answer()
        self.gate_must_pass(answer)
        noted = self.noted()
        files = dict(noted.get("files", {}))
        files |= {str(change.path): change.kept() for change in changes if change.texts}
        for change in changes:
            if change.texts:
                keep(self.directory, checksum(change.base), change.base)
        self.must_be_writable(differing(changes))
        self.memory.note({"state": "in", "by": noted.get("by", by), "files": files})
        try:
            back = self._carry_out(on, changes, answer, through=True)
        except RecoveryFailed:
            raise  # what stands is still known, so it can be taken out later
        except BaseException:
            self.memory.note(noted or {"state": "out"})
            raise
        places = sum(len(change.texts) for change in changes)
        return [self._leads("to", f"{places} places", changes), back, self._past(on)]

    def take_out(self, on: Doing, to: Side) -> list[Finding]:
        """Lead past the gate again; see the port."""
        self.must_hold(self.name)
        changes = self.removal(to)
        if not self.noted() and not differing(changes):
            return []
        try:
            answer: int | None = self.answer()
        except Failed:
            answer = None  # perhaps because the gate does not run: all the more is it to go
        self.must_be_writable(differing(changes))
        back = self._carry_out(on, changes, answer, through=False)
        self.memory.note({"state": "out"})  # not before: the reload may still be to come
        return [self._leads("past", f"at the {to} side", changes), back]

    def _leads(self, way: str, words: str, changes: Sequence[Change]) -> Finding:
        sums = ", ".join(f"{c.path} {checksum(c.after)[:12]}" for c in differing(changes))
        observed = f"{words}; {sums or 'its files were so'}"
        return Finding(f"{self.name} leads {way} the gate", "it does", observed, "its files", True)

    def _past(self, on: Doing) -> Finding:
        """Wait a little for requests that were under way to the old side when we came between."""
        until = time.monotonic() + _PAST
        while (left := connections(self.way.old, self.programs)) and time.monotonic() < until:
            time.sleep(0.1)
        claim = f"connections of {self.title} that still lead past the gate"
        if left:
            on.tell(f"{claim}: {left}; they end when the old side stops, at the latest")
        return Finding(claim, "none, if they end in time", str(left), "kernel", True)

    # Changing.

    def _carry_out(
        self, on: Doing, changes: Sequence[Change], answer: int | None, *, through: bool
    ) -> Finding:
        """Write, check, reload, read back.  Raises Failed after it has put all back."""
        wanted = differing(changes)
        try:
            with on.timed("front files"):
                for change in wanted:
                    write(change.path, change.after)
            with on.timed("front reload"):
                back = None if wanted else self.read_back(through, answer)
                if back is None or not back.holds:  # or an earlier try did not come to the reload
                    self.must_hold(f"{self.name}, changed,")
                    self._reload()
                    back = self.read_back(through, answer)
            if not back.holds:
                raise Failed("front-unproven", f"{back.claim}: {back.observed}.", where=back.source)
        except BaseException as trouble:
            self._put_back(wanted, trouble)
            raise
        return back

    def _reload(self) -> None:
        argv = self.spec.reload or self.usual_reload()
        if not argv:  # a server that watches its files
            return
        try:
            self.run(argv)
        except Failed as failed:
            raise Failed(
                "front-reload-refused",
                f"{self.title} did not read its configuration again.",
                where=failed.where,
                next=" ".join(argv),
            ) from failed

    def _put_back(self, wanted: Sequence[Change], trouble: BaseException) -> None:
        """The files as we found them.  What somebody else wrote over meanwhile stays."""
        try:
            for change in wanted:
                if read(change.path) == change.after:
                    write(change.path, change.before)
        except CrossfadeError as second:
            raise RecoveryFailed(
                "front-not-put-back",
                f"After this failed: {trouble}  putting back failed too: {second}",
                where=f"{self.name}\n{second.where}",
                now="Its files may name the gate in part; the gate runs, and passes requests on.",
                next="crossfade gate remove",
            ) from second
        if wanted:
            with suppress(Failed):  # it runs with what it had
                self._reload()
