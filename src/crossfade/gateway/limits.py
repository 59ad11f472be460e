"""Every limit of the gate, in one place.  Sizes are bytes, times are seconds.

The time that a request is held never counts against any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gate puts up with; a command line may change any of it by name."""

    # What a head may be.  Beyond: 414 for the target, 431 for the rest, 502 for an upstream's.
    target_bytes: int = 16_384
    head_bytes: int = 65_536
    header_count: int = 128
    # A line that is neither head nor data: a chunk's size with its extensions, a trailer section.
    chunk_line_bytes: int = 1_024
    trailer_bytes: int = 8_192
    interim_responses: int = 32

    # Back-pressure: above high we stop reading from the other end, below low we go on.
    buffer_high: int = 262_144
    buffer_low: int = 65_536

    # The client: a head once begun, an idle connection, a body or an answer without progress.
    head_seconds: float = 15.0
    idle_seconds: float = 75.0
    farewell_seconds: float = 0.5
    body_stall_seconds: float = 30.0
    answer_stall_seconds: float = 60.0
    # After an early answer: how long and how much of the rest we read only to throw it away.
    linger_seconds: float = 3.0
    linger_bytes: int = 67_108_864

    # A client that has sent its half of the connection and closed it gets its answer so long.
    half_closed_seconds: float = 10.0
    # A write whose client left goes on, so that the drain knows when it ends; at most so long.
    orphan_seconds: float = 30.0

    # The application: one attempt to connect, all attempts together, an answer without progress.
    connect_seconds: float = 5.0
    patience_seconds: float = 60.0
    upstream_stall_seconds: float = 300.0
    tunnel_idle_seconds: float = 3_600.0
    # Connections at another port that wait for a side; further ones are broken off.
    port_waiting: int = 1_024
    # Idle connections to the application are dropped before its own keep-alive limit does it.
    pool_idle_seconds: float = 4.0
    pool_size: int = 256
    replays: int = 3

    # How often a release looks whether more requests may go at once.
    release_look_seconds: float = 1.0
    # Ending: how long requests in flight may take after SIGTERM.
    grace_seconds: float = 10.0
    backlog: int = 4_096

    def changed(self, pairs: Iterable[str]) -> Limits:
        """These limits with ``name=value`` pairs applied.  Raises ValueError with a sentence."""
        kinds = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        values: dict[str, int | float] = {}
        for pair in pairs:
            name, _, text = pair.partition("=")
            if name not in kinds:
                raise ValueError(f"there is no limit named {name!r}")
            try:
                values[name] = kinds[name](text)
            except ValueError:
                raise ValueError(f"the limit {name} needs a number, not {text!r}") from None
            if not values[name] > 0:
                raise ValueError(f"the limit {name} must be above zero, not {text}")
        return replace(self, **values)  # type: ignore[arg-type]
