"""The web server before the gate: led to the gate before a pause, and past it afterwards.

While traffic goes through the gate nothing hangs on the server's being led past it.  So where that
fails it is told, with the command that does it later, and nothing that serves is taken back for it.
"""

from crossfade.errors import CrossfadeError, JournalError
from crossfade.model import Finding, Problem, Side
from crossfade.ports import BY_HAND, Work

__all__ = ["insert", "lead_back", "lead_past", "preview", "take_back"]


def preview(work: Work) -> tuple[tuple[str, ...], tuple[Problem, ...], tuple[str, ...]]:
    """What leading it to the gate touches, what is in its way, and what to know of it."""
    if work.front is None:
        return (), (), ()
    try:
        plan = work.front.plan()
    except CrossfadeError as error:
        claim = f"{work.front.name} can be led to the gate"
        seen = Finding(claim, "it can", f"{error.what} {error.where}", "its configuration", False)
        return (), (Problem(error.code, seen, error.next or "crossfade gate install"),), ()
    touches = tuple(
        f"{place} names the gate ({work.traffic.listen}) until rollback or retire"
        for place in plan.places
    )
    return touches, (), plan.warnings


def insert(work: Work) -> list[Finding]:
    """Lead it to the gate, which runs.  Fine when it was done.  Raises Failed, all put back."""
    if work.front is None:
        return []
    with work.timed("front"):
        return work.front.insert(work, work.label)


def take_back(work: Work) -> list[Finding]:
    """This attempt is taken back: what it inserted is taken out, what was there before stays."""
    try:
        ours = work.front is not None and work.front.inserted_by() == work.label
    except JournalError as error:
        work.tell(f"what was done to the web server cannot be read: {error.what}")
        work.tell("where it leads stays as it is; next: crossfade gate status")
        return []
    return lead_past(work, Side.OLD) if ours else []


def lead_back(work: Work) -> list[Finding]:
    """The old side serves again: what a cutover inserted is taken out.  What an operator led to the
    gate before stays there, as do the web server's files; its reload would cost requests."""
    try:
        stays = work.front is not None and work.front.inserted_by() == BY_HAND
    except JournalError:
        stays = False
    if not stays or work.front is None:
        return lead_past(work, Side.OLD)
    work.tell(
        f"{work.front.name} still leads to the gate, as before the cutover: the old side serves"
    )
    work.tell("to lead it past the gate: crossfade gate remove")
    claim = f"{work.front.name} is led as before the cutover"
    return [Finding(claim, "it is", f"to the gate, by crossfade {BY_HAND}", "journal", True)]


def lead_past(work: Work, to: Side) -> list[Finding]:
    """Lead it past the gate to a side, which serves.  Fine when it was done."""
    front = work.front
    if front is None:
        return []
    try:
        with work.timed("front"):
            return front.take_out(work, to)
    except CrossfadeError as error:
        what = f"{error.what}  {error.where}"
        work.tell(f"{front.name} still leads to the gate, which leads to the {to} side: {what}")
        work.tell("next: crossfade gate remove")
        claim = f"{front.name} leads past the gate"
        return [Finding(claim, "if it can", f"it leads to the gate: {what}", "its files", True)]
