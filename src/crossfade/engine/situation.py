"""How things stand now, in one sentence: the third of every error, computed in one place."""

from __future__ import annotations

from crossfade.model import Side
from crossfade.ports import Work

__all__ = ["situation"]


def situation(work: Work) -> str:
    """Who serves, read back from the gate and from the applications themselves."""
    state = work.traffic.look()
    if state is None:
        health = work.old.health.run()
        runs = "answers" if health.holds else "does not answer"
        who = f"the old side ({work.old.installation.version})"
        return f"No gate runs at {work.traffic.listen}; {who} {runs} at its own address."
    parts = work.old if state.side is Side.OLD else work.new
    who = f"the {state.side} side ({parts.installation.version})"
    if state.held:
        return f"Requests at {work.traffic.listen} are held; {who} will serve them."
    if not parts.health.run().holds:
        return f"Traffic at {work.traffic.listen} goes to {who}, which does not answer."
    kept = " The old side was not harmed." if state.side is Side.OLD else ""
    return f"{who.capitalize()} serves at {work.traffic.listen}.{kept}"
