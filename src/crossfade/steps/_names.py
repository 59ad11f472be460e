"""The names in the DNS, around a switch: after it they follow, and before a way back they return.

The gate at the old address serves whoever has not followed, so trouble with names never stops what
is past the commit point; it is told, and finished by ``crossfade dns switch``.
"""

from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Finding, Problem, Side
from crossfade.ports import Work

__all__ = ["WITHOUT_DNS", "lead_names", "names_back", "not_led"]

WITHOUT_DNS = "without-dns"
"""The operator's word that the way back does not wait for the names."""


def lead_names(work: Work, side: Side) -> list[Finding]:
    """Point the names at the side that serves now.  What does not go is told."""
    if work.names is None:
        return []
    with work.timed("names"):
        try:
            return work.names.point(side)
        except CrossfadeError as error:
            work.tell(f"the names do not lead to the {side} side yet: {error.what}")
            work.tell(f"the {side} side serves by the gate; next: crossfade dns switch")
            claim = f"the names lead to the {side} side"
            seen = f"not yet: {error.what}"
            return [Finding(claim, "if they can", seen, error.where.partition("\n")[0], True)]


def names_back(work: Work) -> list[Finding]:
    """Before a way back: everybody comes to the gate again, which passes them on to the new side,
    so that the pause is one for all.  Raises Failed; nothing else was done then."""
    if work.names is None or work.names.complete(Side.OLD):
        return []
    if WITHOUT_DNS in work.accepted:
        return []
    with work.timed("names"):
        try:
            return [*work.names.point(Side.OLD), *work.names.wait()]
        except CrossfadeError as error:
            where = f"{error.where}\nwithout the names, who has followed them finds nobody for now"
            next = "crossfade rollback --without-dns"
            raise Failed(error.code, error.what, where=where, next=next) from None


def not_led(work: Work) -> list[Problem]:
    """What of the names speaks against retiring the old side."""
    names = work.names
    if names is None:
        return []
    if not names.complete(Side.NEW):
        finding = Finding("the names lead to the new side", "all", "not all", "journal", False)
        return [Problem("dns-half-switched", finding, "crossfade dns switch")]
    if names.state()["followed"] is None:
        claim = "every name server leads to the new side, and the old TTL has passed"
        finding = Finding(claim, "yes", "not seen yet", "journal", False)
        return [Problem("dns-not-followed", finding, "crossfade dns wait")]
    return list(names.late_problems())
