"""Sequences: replication does not carry them, so their values are set in the pause.

On the new side a sequence goes on ``MARGIN`` steps after the old side's last value: a few values
that somebody drew on the old side after we looked, without writing, are not given out twice.  It
is never set back, and never beyond what its limits allow: where the margin does not fit, or the
sequence cycles, the old side's value is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Several
from dataclasses import dataclass

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.inventory import Sequence
from crossfade.model import Finding

__all__ = ["MARGIN", "State", "advance", "read"]

MARGIN = 32
"""Steps.  A server that crashes skips as many of its own accord."""
_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class State:
    """A sequence's last value, and whether it was given out (else it is the next one)."""

    value: int
    called: bool


def read(conn: Conn, sequences: Several[Sequence]) -> dict[str, State]:
    """The states by ``schema.name``.  Raises psycopg.Error when one is missing."""
    states: dict[str, State] = {}
    for few in _chunks(sequences):
        queries = [
            sql.SQL("select {}::int, last_value, is_called from {}").format(number, sequence.sql)
            for number, sequence in enumerate(few)
        ]
        for number, value, called in fetch(conn, sql.SQL(" union all ").join(queries)):
            states[str(few[number])] = State(value, called)
    return states


def target(sequence: Sequence, old: State, margin: int = MARGIN) -> State:
    """What to set on the new side for what the old side has."""
    if sequence.cycle or not old.called:
        return old
    value = old.value + margin * sequence.increment
    return State(value, True) if sequence.minimum <= value <= sequence.maximum else old


def advance(
    old: Conn, new: Conn, sequences: Several[Sequence], name: str, *, margin: int = MARGIN
) -> Finding:
    """Set every sequence of the new side, and read back that none gives a value out again.

    Raises psycopg.Error.
    """
    before, here = read(old, sequences), read(new, sequences)
    for few in _chunks(sequences):
        wanted = [(s, target(s, before[str(s)], margin)) for s in few]
        behind = [(s, state) for s, state in wanted if _behind(s, here[str(s)], state)]
        sets = [
            sql.SQL("pg_catalog.setval({}::pg_catalog.regclass, {}, {})").format(
                sql.Literal(s.sql.as_string(new)), state.value, state.called
            )
            for s, state in behind
        ]
        if sets:
            fetch(new, sql.SQL("select ") + sql.SQL(", ").join(sets))
    after = read(new, sequences)
    late = [s for s in sequences if _behind(s, after[str(s)], before[str(s)])]
    seen = ", ".join(f"{s}: {after[str(s)].value} < {before[str(s)].value}" for s in late[:5])
    return Finding(
        claim=f"no sequence of {name} gives a value out again",
        expected=f"all {len(sequences)} at or beyond the old side's",
        observed=seen or f"all {len(sequences)} at or beyond the old side's",
        source="last_value and is_called of both sides",
        holds=not late,
    )


def _behind(sequence: Sequence, here: State, wanted: State) -> bool:
    """Whether ``here`` would give out again what ``wanted`` has given out.

    A sequence that cycles has no order: there any difference counts."""
    if sequence.cycle:
        return here != wanted
    towards = 1 if sequence.increment > 0 else -1
    return (here.value * towards, here.called) < (wanted.value * towards, wanted.called)


def _chunks(sequences: Several[Sequence]) -> Iterable[Several[Sequence]]:
    for begin in range(0, len(sequences), _AT_ONCE):
        yield sequences[begin : begin + _AT_ONCE]
