"""Reads during the pause: who can let them, and that the old side still answers them."""

from dataclasses import replace

from crossfade.model import Finding, Problem
from crossfade.ports import Parts, Work

__all__ = ["actions", "answered", "problems"]

_KEY = "traffic.reads_in_pause"


def problems(work: Work) -> list[Problem]:
    """What keeps reads from going on, where the operator wants them to.  What the recipe says of it
    was looked at when the manifest was read."""
    if not work.limits.reads:
        return []
    found = []
    if not work.traffic.traits.passes_reads:
        found.append(_problem("the gate tells reads from writes", "it holds all requests", "gate"))
    for name, database in work.old.databases.items():
        if not database.traits.reads_while_fenced:
            seen = f"{database.traits.fence or 'it is not fenced'}"
            claim = f"database {name} can be read by a program that runs behind its fence"
            found.append(_problem(claim, seen, "the kind of database"))
    return found


def _problem(claim: str, seen: str, source: str) -> Problem:
    finding = Finding(f"{_KEY}: {claim}", "it does", seen, source, False)
    return Problem("reads-cannot-pass", finding, f"crossfade plan   (without {_KEY})")


def actions(work: Work, detail: str) -> tuple[str, ...]:
    """How the old side, which stands as ``detail`` says, comes to be stopped."""
    if not work.limits.reads:
        return (f"stop the old side ({detail})",)
    return (
        "let reads (GET, HEAD, OPTIONS) go on to the old side until the new one is ready",
        f"then hold and drain them too, and stop the old side ({detail})",
    )


def answered(live: Parts) -> Finding:
    """The side that was fenced still answers."""
    claim = f"the {live.installation.side} side answers behind the fence"
    return replace(live.health.run(), claim=claim)
