"""What follows from the watch: a cutover whose new side is too bad goes back by itself.

Only within the price that the operator accepted: where nothing is lost by it, or where
``cutover --accept-loss`` was said beforehand.  The verdict is in the cutover's evidence, so a run
that was killed meanwhile is heeded by the next ``crossfade cutover``; and it is heeded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from crossfade.engine import history
from crossfade.engine.attempt import run_all
from crossfade.engine.situation import situation
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Failed, NeedsYou
from crossfade.model import Run, Side
from crossfade.planning import make_plan
from crossfade.ports import Journal, Step
from crossfade.steps import handback

__all__ = ["heed", "heeded"]

_HEEDED = "watch-heeded"


class Heeding(Protocol):
    """Of a site, what is needed here."""

    @property
    def journal(self) -> Journal:
        """The record of this upgrade."""

    def begin(self, run: Run) -> AttemptWork:
        """Work for a new attempt."""


def heed(site: Heeding, back: Sequence[Step]) -> None:
    """Go back by the steps ``back`` if the last cutover's watch says so and nobody has done it.

    Raises Failed when the old side serves again, NeedsYou when writes would be lost and nobody has
    accepted that, and whatever a rollback that fails raises."""
    record = _unheeded(site.journal)
    if record is None:
        return
    work = site.begin(Run.ROLLBACK)
    words = "; ".join(_too_bad(record))
    state = work.traffic.look()
    if state is not None and state.side is Side.OLD:  # killed after its commit point
        raise _went_back(site, work, words)
    accepted = "accept-loss" in record.began["payload"].get("accepted", ())
    lost = handback.would_lose(work)
    if not work.limits.heed.go_back or (lost and not accepted):
        heeded(site.journal, "told")
        raise _stays(work, words, lost)
    if lost:
        work.accepted |= {"accept-loss"}
    work.tell(f"✘ watch: {words}; going back")
    try:
        run_all(work, back, make_plan(work, back, {}, None))
    except CrossfadeError:
        heeded(site.journal, "failed")  # not again and again by itself
        raise
    raise _went_back(site, work, words)


def heeded(journal: Journal, how: str) -> None:
    """Somebody has decided what follows from the last cutover's watch; fine when nothing does."""
    record = _unheeded(journal)
    if record is not None:
        journal.append(record.label, "watch", _HEEDED, {"how": how})


def _unheeded(journal: Journal) -> history.Record | None:
    """The last cutover that was done, if its watch asks for going back and that was not heeded."""
    record = history.last(journal, Run.CUTOVER, "done")
    if record is None or not _too_bad(record):
        return None
    if any(entry["kind"] == _HEEDED for entry in record.entries):
        return None
    return record


def _too_bad(record: history.Record) -> Sequence[str]:
    done: Mapping[str, Mapping[str, Sequence[str]]] = record.done("switch") or {"details": {}}
    return done["details"].get("too_bad", ())


def _stays(work: AttemptWork, words: str, lost: str) -> NeedsYou:
    what = "After the switch the new side is worse than the limits of watch allow"
    next = "crossfade rollback"
    if lost:
        what += f", and going back would leave {lost} behind"
        next = "crossfade rollback --accept-loss   (they are exported first)"
    return NeedsYou("watch-limit-passed", f"{what}.", where=words, now=situation(work), next=next)


def _went_back(site: Heeding, work: AttemptWork, words: str) -> Failed:
    heeded(site.journal, "went back")
    return Failed(
        "watch-limit-passed",
        "After the switch the new side was worse than the limits of watch allow, and the cutover "
        "went back.",
        where=words,
        now=situation(work),
        next="crossfade report",
    )
