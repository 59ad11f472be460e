"""Ports besides the one for requests: what the plan says of them, and that the gate has them."""

from crossfade.errors import Failed
from crossfade.model import Side
from crossfade.ports import Work, not_taken

__all__ = ["break_there", "hold_there", "must_be_taken"]


def hold_there(work: Work) -> tuple[str, ...]:
    """What the hold is for them, in words."""
    return tuple(
        f"hold new connections at {port.listen}; those that are open stay until the switch"
        for port in work.traffic.ports
    )


def break_there(work: Work, side: Side) -> tuple[str, ...]:
    """What the switch is for them, in words."""
    return tuple(
        f"point {port.listen} at {port.to(side)}; connections that are open there break"
        for port in work.traffic.ports
    )


def must_be_taken(work: Work) -> None:
    """The gate listens at all of them.  Raises Failed(port-taken); requests go on as before."""
    lacking = not_taken(work.traffic)
    for at, why in lacking.items():
        raise Failed(
            "port-taken",
            f"The gate cannot listen at {at}: {why}.",
            where="\n".join(f"traffic.ports, {at}: {why}" for at, why in lacking.items()),
            next=f"ss -ltnp 'sport = :{at.port}'   (who listens there; then: crossfade gate start)",
        )
