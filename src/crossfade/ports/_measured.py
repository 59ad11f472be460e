"""What a gate has measured of one side: counts, and how long answers took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["BOUNDS", "Measured"]

BOUNDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1),
    *(0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
"""Upper ends of the histogram's buckets, in seconds; one more bucket has everything above."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests that were finished, and how many of them went wrong: answered with 5xx, by the
    application or by the gate for it, or broken off.  times has how many answers began within each
    of ``BOUNDS``, counted from when the request was sent on; those that had waited are left out.
    client_errors were answered with 4xx: as the application sees it the users' own fault."""

    requests: int = 0
    errors: int = 0
    times: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    client_errors: int = 0

    @property
    def error_rate(self) -> float:
        """The part of the requests that went wrong, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def client_error_rate(self) -> float:
        """The part of the requests that were answered with 4xx, 0 to 1."""
        return self.client_errors / self.requests if self.requests else 0.0

    @property
    def timed(self) -> int:
        """How many answers were timed."""
        return sum(self.times)

    def within(self, part: float) -> float:
        """The time in seconds within which this part (0 to 1) of the answers began; 0 when there
        are none.  Within a bucket it is interpolated, as Prometheus' ``histogram_quantile`` does;
        what is above the last bound counts as that bound."""
        left = part * self.timed
        low = 0.0
        for bound, count in zip(BOUNDS, self.times, strict=False):
            if count and count >= left:
                return low + (bound - low) * left / count
            left -= count
            low = bound
        return low if self.timed else 0.0

    def since(self, before: Measured) -> Measured:
        """What came after ``before``."""
        times = tuple(now - then for now, then in zip(self.times, before.times, strict=True))
        return Measured(
            self.requests - before.requests,
            self.errors - before.errors,
            times,
            self.client_errors - before.client_errors,
        )

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "client_errors": self.client_errors,
            "times": list(self.times),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Measured | None:
        """The same again; None when there was nothing, or an older gate has measured it."""
        if data is None or "client_errors" not in data:
            return None
        times: Sequence[int] = data["times"]
        if len(times) != len(BOUNDS) + 1:
            return None
        requests, errors, client = (
            int(data[name]) for name in ("requests", "errors", "client_errors")
        )
        return cls(requests, errors, tuple(int(n) for n in times), client)
