"""One attempt from its first step to its end, and settling an attempt that has no end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from crossfade.engine import history
from crossfade.engine.runner import do, note, prove, take_back
from crossfade.engine.situation import situation
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError, Failed, Interrupted, NeedsYou, RecoveryFailed
from crossfade.model import Plan, Run
from crossfade.ports import Committing, Journal, Step

__all__ = ["VERBS", "finished", "run_all", "settle"]

Story = Mapping[Run, Sequence[Step]]
VERBS = {
    Run.REHEARSAL: "rehearse",
    Run.CUTOVER: "cutover",
    Run.ROLLBACK: "rollback --accept-loss",
    Run.RETIRE: "retire",
}


def run_all(
    work: AttemptWork,
    steps: Sequence[Step],
    plan: Plan,
    *,
    world: Callable[[], Mapping[str, str]] = lambda: {},
) -> None:
    """Run the steps; before the commit point any trouble takes all of them back.

    Raises Failed (taken back), Interrupted (taken back), or RecoveryFailed."""
    began = {"run": work.run, "unmuted": work.unmuted, "plan": plan.as_json()}
    began["accepted"] = sorted(work.accepted)
    work.journal.append(work.label, work.run, "run-began", began)
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            do(work, step)
        ended = {"outcome": "done", "world": dict(world())}
        work.journal.append(work.label, work.run, "run-ended", ended)
    except BaseException as trouble:
        with _undisturbed():
            if work.dead_man.state() == "committed":
                return _go_on(work, begun[-1], trouble)
            _go_back(work, begun, trouble)
        raise _explained(work, trouble) from trouble


def _go_back(work: AttemptWork, begun: Sequence[Step], trouble: BaseException) -> None:
    work.tell(f"✘ {work.step}: {_words(trouble)}; going back")
    for step in reversed(begun):
        try:
            take_back(work, step)
        except Exception as second:
            failure = _recovery_failed(work, trouble, second)
            note(work, work.run, "run-ended", {"outcome": "failed", "error": failure.as_json()})
            raise failure from second
    explained = _explained(work, trouble)
    error = explained.as_json() if isinstance(explained, CrossfadeError) else None
    outcome = "failed" if work.run is Run.REHEARSAL else "went-back"
    if isinstance(explained, Interrupted):
        outcome = "interrupted"
    note(work, work.run, "run-ended", {"outcome": outcome, "error": error})


def _explained(work: AttemptWork, trouble: BaseException) -> BaseException:
    """The trouble with its third and fourth sentence; a bug of ours stays what it is."""
    if isinstance(trouble, KeyboardInterrupt):
        trouble = Interrupted("interrupted", f"Stopped by you in step {work.step}.")
    if isinstance(trouble, CrossfadeError):
        asks = isinstance(trouble, NeedsYou) and work.run is Run.REHEARSAL  # its copy is gone
        known = asks or isinstance(trouble, Interrupted)
        if not known and trouble.exit_code != Failed.exit_code:
            # refused is no longer true once something was done and taken back
            trouble = Failed(trouble.code, trouble.what, where=trouble.where, next=trouble.next)
        trouble.now = trouble.now or _now(work)
        trouble.next = trouble.next or f"crossfade {VERBS[work.run]}"
    return trouble


def _words(trouble: BaseException) -> str:
    return str(trouble) or type(trouble).__name__


def _now(work: AttemptWork) -> str:
    try:
        return situation(work)
    except CrossfadeError as error:
        return f"Who serves could not be read back: {error.what}"


def _recovery_failed(work: AttemptWork, first: BaseException, second: Exception) -> RecoveryFailed:
    where = getattr(second, "where", "")
    return RecoveryFailed(
        "recovery-failed",
        f"After this failed: {first}  going back failed too: {second}",
        where=f"step {work.step}\n{where}",
        now=_now(work),
        next=f"crossfade {VERBS[work.run]}   (tries to settle it again)",
    )


def _go_on(work: AttemptWork, last: Step, trouble: BaseException) -> None:
    """Trouble after the commit point: there is only forward."""
    work.tell(f"✘ {work.step}: {_words(trouble)}; past the commit point, going on")
    _finish(work, last)


def settle(journal: Journal, again: Callable[[str], AttemptWork], story: Story) -> Run | None:
    """Bring an unfinished attempt to an end: forward after its commit point, else back.

    Returns the run when it was finished forward; None when there was nothing or it went back."""
    record = history.unfinished(journal)
    if record is None or record.run is Run.RETIRE:
        return None  # retiring is repeatable: its steps look first
    work = again(record.label)
    work.tell(f"settling {record.label}, which was interrupted")
    with _undisturbed():
        if work.dead_man.state() == "committed":
            _finish(work, story[record.run][-1])
            return record.run
        for step in reversed(story[record.run]):
            take_back(work, step)
        note(work, record.run, "run-ended", {"outcome": "interrupted", "error": None})
    finished(work)
    return None


def _finish(work: AttemptWork, last: Step) -> None:
    """Go on from the commit point to the end.  Raises RecoveryFailed; then it is still to be
    done, and the next run goes on with it."""
    try:
        if not isinstance(last, Committing):
            raise Failed("not-finished", f"Step {last.name} has no commit point.")
        prove(work, last, lambda: last.finish(work))
        work.journal.append(work.label, work.run, "run-ended", {"outcome": "done"})
    except Exception as trouble:
        raise RecoveryFailed(
            "not-finished",
            f"The commit point was passed, but the rest failed: {trouble}",
            where=f"step {work.step}\n{getattr(trouble, 'where', '')}",
            now=_now(work),
            next=f"crossfade {VERBS[work.run]}   (goes on from here)",
        ) from trouble
    finished(work)


def finished(work: AttemptWork) -> None:
    """End the record of requests; a gate that is gone has no record to end."""
    with suppress(CrossfadeError):
        work.traffic.record(None)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Going back, and going forward after the commit, are not interrupted by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
